"""Any of timm's backbones under a heatmap head: SwinV2 and HRNet as teachers, MobileViTv2 as the published student.

Importing this module imports timm.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from pair_fld.models import timm_compat as library
from pair_fld.models.heads import Net, heatmap_head
from pair_fld.models.layers import conv_bn

LinearSelfAttention: Any = library.timm().models.mobilevit.LinearSelfAttention


class BroadcastAttention(LinearSelfAttention):
    """Separable self-attention (Mehta and Rastegari, MobileViTv2, 2022), its product left to broadcasting.

    timm widens the context vector by `expand_as` first, which the LiteRT converter does not translate rightly.
    """

    def _forward_self_attn(self, x: torch.Tensor) -> torch.Tensor:
        # x (B, C, P, N): P pixels of a patch, N patches
        query, key, value = self.qkv_proj(x).split([1, self.embed_dim, self.embed_dim], dim=1)
        scores = self.attn_drop(torch.softmax(query, dim=-1))
        context = (key * scores).sum(dim=-1, keepdim=True)  # (B, d, P, 1)
        return self.out_drop(self.out_proj(torch.relu(value) * context))


class TimmNet(Net):
    """A timm backbone to stride 32; coarser maps are added to the one of `stride`, where the head stands.

    Args:
        backbone: timm's name, randomly initialised. stride: of the heatmaps, one that the backbone has a map of.
        width: channels of the head. head: see `heads.HEADS`. backbone_options: timm's own keyword arguments.
    """

    output_kind = "heatmap"

    def __init__(
        self,
        input_size: int,
        backbone: str = "mobilevitv2_050",
        stride: int = 8,
        width: int = 64,
        head: str = "plain",
        backbone_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        options = dict(backbone_options or {})
        if backbone.startswith("swin"):
            options.setdefault("img_size", input_size)  # windows are laid out for one size
            options.setdefault(
                "drop_path_rate", 0.0
            )  # chance that no checkpoint holds would keep --resume from exactness
        if backbone.startswith("mobilevit") and input_size % 64:
            raise TypeError(f"input_size {input_size} is no multiple of 64, as patches of 2 x 2 cells need")
        self.backbone, self.channels_last, channels = library.features(backbone, stride, options)
        for module in self.backbone.modules():
            if type(module) is LinearSelfAttention:
                module.__class__ = BroadcastAttention  # same weights, same sums
        self.feature_channels = width
        self.laterals = torch.nn.ModuleList(conv_bn(inputs, width, 1, relu=False) for inputs in channels)
        self.merge = conv_bn(width, width, 3, groups=width)
        self.head = heatmap_head(head, width)

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.backbone(x)
        if self.channels_last:
            maps = [m.permute(0, 3, 1, 2) for m in maps]
        fine, *coarser = [lateral(m) for lateral, m in zip(self.laterals, maps, strict=True)]
        for power, coarse in enumerate(coarser, 1):
            fine = fine + F.interpolate(coarse, scale_factor=float(2**power), mode="nearest")
        return self.merge(torch.relu(fine))
