"""The student of the contest's published solution: timm's MobileViTv2 with a heatmap head."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from pair_fld.models import library
from pair_fld.models.layers import conv_bn
from pair_fld.runtime.scheme import NUM_POINTS

_STRIDES = (8, 16, 32)


class BroadcastAttention(library.LinearSelfAttention):
    """Separable self-attention (Mehta and Rastegari, MobileViTv2, 2022), its product left to broadcasting.

    timm widens the context vector by `expand_as` first, which the LiteRT converter does not translate rightly.
    """

    def _forward_self_attn(self, x: torch.Tensor) -> torch.Tensor:
        # x (B, C, P, N): P pixels of a patch, N patches
        query, key, value = self.qkv_proj(x).split([1, self.embed_dim, self.embed_dim], dim=1)
        scores = self.attn_drop(torch.softmax(query, dim=-1))
        context = (key * scores).sum(dim=-1, keepdim=True)  # (B, d, P, 1)
        return self.out_drop(self.out_proj(torch.relu(value) * context))


class MobileViTNet(nn.Module):
    """MobileViTv2 to stride 32; maps of strides 32 and 16 are added to the one of stride 8, where the head stands.

    Its patches are 2 x 2 cells, so the input's side must be a multiple of 64.

    Args:
        width: timm's width multiplier of the backbone, as text: "050", "075", "100". head: channels of the head.
    """

    output_kind = "heatmap"

    def __init__(self, input_size: int, width: str = "050", head: int = 64) -> None:
        super().__init__()
        if input_size % 64:
            raise TypeError(f"input_size {input_size} is no multiple of 64")
        self.backbone = library.features(f"mobilevitv2_{width}", _STRIDES)
        for module in self.backbone.modules():
            if type(module) is library.LinearSelfAttention:
                module.__class__ = BroadcastAttention  # same weights, same sums
        channels = self.backbone.feature_info.channels()  # type: ignore[union-attr, operator]
        self.laterals = nn.ModuleList(conv_bn(inputs, head, 1, relu=False) for inputs in channels)
        self.merge = conv_bn(head, head, 3, groups=head)
        self.head = nn.Sequential(conv_bn(head, head, 1), nn.Conv2d(head, NUM_POINTS, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine, *coarser = [lateral(f) for lateral, f in zip(self.laterals, self.backbone(x), strict=True)]
        for power, coarse in enumerate(coarser, 1):
            fine = fine + F.interpolate(coarse, scale_factor=float(2**power), mode="nearest")
        return self.head(self.merge(torch.relu(fine)))
