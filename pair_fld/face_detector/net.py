"""The project's own face detector: convolutions, ReLU, additions, nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from pair_fld.models.layers import Residual, conv_bn
from pair_fld.runtime.centre_detector import KEY_POINTS

STRIDE = 8
CHANNELS = 5 + 2 * len(KEY_POINTS)  # score logit, box, key points; see runtime.centre_detector
_RARE = -3.5  # the scores' first guess: few cells hold a face
# Of all outputs but the score: they are of ten to twenty, which small steps of the weights reach late.
_GAIN = 8.0


class DetectorNet(nn.Module):
    """(B, 3, S, S) normalised BGR -> (B, 15, S/8, S/8): encoder to stride 32, and back to stride 8 by two additions.

    Dense 3x3 convolutions: per multiply-add they train several times faster on a CPU than depthwise ones.

    Args:
        widths: channels at strides 2, 4, 8, 16, 32.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        w2, w4, w8, w16, w32 = widths
        self.stem = nn.Sequential(conv_bn(3, w2, 3, 2), conv_bn(w2, w4, 3, 2), conv_bn(w4, w8, 3, 2))
        self.fine = Residual(w8, w8)
        self.middle = Residual(w8, w16, 2)
        self.coarse = nn.Sequential(Residual(w16, w32, 2), Residual(w32, w32))
        self.from_coarse, self.from_middle = conv_bn(w32, w16, 1, relu=False), conv_bn(w16, w8, 1, relu=False)
        self.merge = conv_bn(w8, w8, 3)
        self.head = nn.Conv2d(w8, CHANNELS, 1)
        with torch.no_grad():
            assert self.head.bias is not None
            self.head.bias[0] = _RARE
        gain = torch.full((CHANNELS,), _GAIN)
        gain[0] = 1
        self.register_buffer("gain", gain, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.fine(self.stem(x))
        middle = self.middle(fine)
        up = F.interpolate(self.from_coarse(self.coarse(middle)), scale_factor=2.0, mode="nearest")
        middle = torch.relu(middle + up)
        fine = torch.relu(fine + F.interpolate(self.from_middle(middle), scale_factor=2.0, mode="nearest"))
        assert isinstance(self.gain, torch.Tensor)
        assert self.head.bias is not None
        return F.conv2d(self.merge(fine), self.head.weight * self.gain.view(-1, 1, 1, 1), self.head.bias * self.gain)
