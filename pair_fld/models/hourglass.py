"""Stacked hourglass (Newell et al., ECCV 2016) with anisotropic attention: a teacher that trains from scratch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from pair_fld.models.heads import NUM_CURVES, AttentionHead, Net, Outputs
from pair_fld.models.layers import Residual, conv_bn
from pair_fld.runtime.scheme import NUM_POINTS


class Hourglass(nn.Module):
    """`depth` halvings and doublings with a skip at every size; all maps have `width` channels."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.skip, self.down = Residual(width, width), Residual(width, width, stride=2)
        self.inner = Hourglass(depth - 1, width) if depth > 1 else Residual(width, width)
        self.up = Residual(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.up(self.inner(self.down(x)))
        return self.skip(x) + F.interpolate(inner, scale_factor=2.0, mode="nearest")


class HourglassNet(Net):
    """A stem to stride 4 and `stacks` hourglasses there, each with an `AttentionHead`; the last one's answer counts.

    Each later stack sees the maps of the one before; all are trained (intermediate supervision).

    Args:
        width: channels throughout. depth: halvings of an hourglass.
    """

    output_kind = "heatmap"

    def __init__(self, input_size: int, stacks: int = 1, width: int = 128, depth: int = 4) -> None:
        super().__init__()
        if stacks < 1 or depth < 1:
            raise TypeError(f"stacks {stacks} and depth {depth} must be 1 or more")
        if input_size % (4 << depth):
            raise TypeError(f"input_size {input_size} is no multiple of {4 << depth}, as depth {depth} needs")
        self.feature_channels = width
        self.stem = nn.Sequential(conv_bn(3, width // 2, 3, 2), Residual(width // 2, width, stride=2))
        self.glasses = nn.ModuleList(
            nn.Sequential(Hourglass(depth, width), Residual(width, width)) for _ in range(stacks)
        )
        self.heads = nn.ModuleList(AttentionHead(width) for _ in range(stacks - 1))
        maps = 2 * NUM_POINTS + NUM_CURVES
        self.back = nn.ModuleList(conv_bn(width + maps, width, 1) for _ in range(stacks - 1))
        self.head = AttentionHead(width)

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        return self._run(x)[0]

    def _run(self, x: torch.Tensor) -> tuple[torch.Tensor, list[tuple[torch.Tensor, ...]]]:
        """The last hourglass's map and the maps of the heads before the last."""
        x, earlier = self.stem(x), []
        for glass, head, back in zip(self.glasses, self.heads, self.back, strict=False):
            feature = glass(x)
            earlier.append(head.maps(feature))  # type: ignore[operator]
            x = x + back(torch.cat([feature, *earlier[-1]], dim=1))
        return self.glasses[-1](x), earlier

    def outputs(self, x: torch.Tensor) -> Outputs:
        feature, maps = self._run(x)
        maps.append(self.head.maps(feature))  # type: ignore[operator]
        fused, points, edges = (torch.stack(kind, dim=1) for kind in zip(*maps, strict=True))
        return Outputs(fused[:, -1], feature, fused, points, edges)
