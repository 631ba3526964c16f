"""What stands on a net's last map: heatmaps, heatmaps under anisotropic attention, or SimCC; and what training sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from pair_fld.models.layers import conv_bn
from pair_fld.runtime.scheme import NUM_POINTS, REGIONS

NUM_CURVES = len(REGIONS)
# of every point, the curve that it lies on: every point belongs to exactly one region
CURVE_OF = tuple(
    curve for point in range(NUM_POINTS) for curve, members in enumerate(REGIONS.values()) if point in members
)


@dataclass(frozen=True)
class Outputs:
    """What a net gives while it trains.

    raw: what inference decodes: coords (B, 51, 2), heatmap logits (B, 51, H, W), or SimCC logits (B, 51, 2 L).
    feature: (B, C, h, w), the map that the head stands on; None where only the exported graph is at hand.
    Nets with anisotropic attention also give, of each of their K stacks, the log of the fused heatmaps `fused`
    (B, K, 51, H, W), of which the last is `raw`, and the logits of their point maps (B, K, 51, H, W) and edge maps
    (B, K, 8, H, W).
    """

    raw: torch.Tensor
    feature: torch.Tensor | None = None
    fused: torch.Tensor | None = None
    point_maps: torch.Tensor | None = None
    edge_maps: torch.Tensor | None = None


class Net(nn.Module):
    """A backbone whose `trunk` gives a map and a `head` that stands on it.

    Attributes:
        output_kind: of the head, see `runtime.session.decode`.
        feature_channels: C of `Outputs.feature`.
    """

    output_kind: str
    feature_channels: int
    head: nn.Module

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) normalised BGR -> the map that the head stands on."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) normalised BGR -> raw outputs."""
        return self.head(self.trunk(x))

    def outputs(self, x: torch.Tensor) -> Outputs:
        """All that training may look at."""
        feature = self.trunk(x)
        if not isinstance(self.head, AttentionHead):
            return Outputs(self.head(feature), feature)
        fused, points, edges = self.head.maps(feature)
        return Outputs(fused, feature, fused[:, None], points[:, None], edges[:, None])


class AttentionHead(nn.Module):
    """Anisotropic attention (Huang et al., ADNet, ICCV 2021), as the published solution uses it.

    Each landmark's mask is its point map times the edge map of the curve that it lies on; the fused heatmap is the
    mask times the heatmap, all three behind a sigmoid. The product is taken as a sum of logarithms: softmax of that sum
    is the fused heatmap over its own sum, so that the soft-argmax of every other heatmap net decodes it too.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.hidden = conv_bn(inputs, inputs, 1)
        self.out = nn.Conv2d(inputs, 2 * NUM_POINTS + NUM_CURVES, 1)
        self.register_buffer("curve_of", torch.tensor(CURVE_OF), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> log of the fused heatmaps (B, 51, H, W), at most 0."""
        return self.maps(x)[0]

    def maps(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log of the fused heatmaps (B, 51, H, W); logits of point maps (B, 51, H, W) and edge maps (B, 8, H, W)."""
        maps = self.out(self.hidden(x)).float()  # sums of logarithms need more than bfloat16
        heat, points, edges = maps.split([NUM_POINTS, NUM_POINTS, NUM_CURVES], dim=1)
        # log sigmoid by softplus, which ONNX has an operator for
        logs = [-F.softplus(-logits) for logits in (heat, points, edges)]
        return logs[0] + logs[1] + logs[2].index_select(1, self.curve_of), points, edges  # type: ignore[arg-type]


class CoordHead(nn.Conv2d):
    """Plain regression: one convolution over a whole map of `side` x `side` cells gives all coordinates."""

    def __init__(self, inputs: int, side: int) -> None:
        super().__init__(inputs, NUM_POINTS * 2, side)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, C, side, side) -> (B, 51, 2)."""
        return super().forward(input).reshape(-1, NUM_POINTS, 2)


class SimCCHead(nn.Module):
    """SimCC (Li et al., ECCV 2022): of each point a distribution over bins of x and one over bins of y.

    A 1x1 convolution gives each point a map, and one fully connected layer, shared by all points, turns the flattened
    map into the logits of both axes.

    Args:
        side: of the map that comes in. bins: of either axis, over the whole crop.
    """

    def __init__(self, inputs: int, side: int, bins: int) -> None:
        super().__init__()
        self.cells, self.bins = side * side, bins
        self.maps = nn.Conv2d(inputs, NUM_POINTS, 1)
        self.axes = nn.Linear(self.cells, 2 * bins)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, side, side) -> (B, 51, 2 bins): logits over x, then over y."""
        return self.axes(self.maps(x).reshape(-1, self.cells)).reshape(-1, NUM_POINTS, 2 * self.bins)


def plain_head(inputs: int) -> nn.Module:
    """Heatmap logits (B, 51, H, W) of a map."""
    return nn.Sequential(conv_bn(inputs, inputs, 1), nn.Conv2d(inputs, NUM_POINTS, 1))


HEADS: dict[str, Callable[[int], nn.Module]] = {"plain": plain_head, "attention": AttentionHead}


def heatmap_head(kind: str, inputs: int) -> nn.Module:
    """A heatmap head by name; TypeError for an unknown one."""
    if kind not in HEADS:
        raise TypeError(f"head {kind!r} is none of {', '.join(HEADS)}")
    return HEADS[kind](inputs)
