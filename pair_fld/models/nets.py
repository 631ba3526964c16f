"""The project's own nets. Each takes (B, 3, S, S) normalised BGR and returns raw outputs of its `output_kind`."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from pair_fld.models.heads import CoordHead, Net, SimCCHead, heatmap_head
from pair_fld.models.layers import InvertedResidual, Residual, conv_bn
from pair_fld.runtime.scheme import NUM_POINTS


class HeatmapUNet(Net):
    """Teacher: residual encoder to stride 32, decoder with lateral additions to stride 4, heatmap logits there.

    Dense 3x3 convolutions throughout: per multiply-add they train several times faster on a CPU than depthwise ones.

    Args:
        widths: channels at strides 4, 8, 16, 32. blocks: residual blocks of the encoder at each.
        head: see `heads.HEADS`.
    """

    output_kind = "heatmap"

    def __init__(
        self,
        input_size: int,
        widths: tuple[int, ...] = (64, 128, 192, 256),
        blocks: tuple[int, ...] = (2, 2, 2, 2),
        head: str = "plain",
    ) -> None:
        super().__init__()
        self.feature_channels = widths[0]
        self.stem = nn.Sequential(conv_bn(3, 32, 3, 2), conv_bn(32, widths[0], 3, 2))
        stages, inputs = [], widths[0]
        for level, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
            first = Residual(inputs, width, stride=1 if level == 0 else 2)
            stages.append(nn.Sequential(first, *(Residual(width, width) for _ in range(depth - 1))))
            inputs = width
        self.encoder = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(conv_bn(deep, shallow, 1) for shallow, deep in pairwise(widths))
        self.decoder = nn.ModuleList(Residual(width, width) for width in widths[:-1])
        self.head = heatmap_head(head, widths[0])

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        maps = []
        x = self.stem(x)
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        for level in reversed(range(len(self.decoder))):
            up = F.interpolate(self.lateral[level](x), scale_factor=2.0, mode="nearest")
            x = self.decoder[level](maps[level] + up)
        return x


# (expansion, outputs, blocks, stride) a stage; 96 px input: 48 -> 24 -> 12 -> 6 -> (3)
Stage = tuple[float, int, int, int]
BLOCKS = ("depthwise", "branched", "dense")
DEFAULT_STAGES: tuple[Stage, ...] = ((3, 24, 2, 2), (4, 40, 3, 2), (4, 72, 4, 2), (4, 96, 2, 1))


def _stride(stages: tuple[Stage, ...]) -> int:
    return 2 * math.prod(stage[3] for stage in stages)


def _blocks(stem: int, stages: tuple[Stage, ...], block: str) -> tuple[nn.Sequential, int]:
    first = conv_bn(3, stem, 3, 2)
    blocks, width = _residuals(stem, stages, block)
    return nn.Sequential(first, *blocks), width


def _residuals(inputs: int, stages: tuple[Stage, ...], block: str) -> tuple[list[nn.Module], int]:
    """The blocks of some stages, and the channels that come out of them.

    block: depthwise (inverted residuals), branched (the same, with branches while it trains, see `BranchedDepthwise`),
    or dense (two full 3x3 convolutions a block; the expansion does not count).
    """
    if block not in BLOCKS:
        raise TypeError(f"block {block!r} is none of {', '.join(BLOCKS)}")
    layers: list[nn.Module] = []
    for expand, outputs, blocks, stride in stages:
        for number in range(blocks):
            step = stride if number == 0 else 1
            if block == "dense":
                layers.append(Residual(inputs, outputs, step))
            else:
                layers.append(InvertedResidual(inputs, outputs, step, expand, branched=block == "branched"))
            inputs = outputs
    return layers, inputs


class _NeckNet(Net):
    """Inverted residuals and a neck of 1 x 1, without a head."""

    def __init__(self, stem: int, stages: tuple[Stage, ...], neck: int, block: str) -> None:
        super().__init__()
        blocks, width = _blocks(stem, stages, block)
        self.body = nn.Sequential(blocks, conv_bn(width, neck, 1))
        self.feature_channels = neck

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class CoordNet(_NeckNet):
    """Student: inverted residuals, then one convolution over the whole last map gives the 102 coordinates."""

    output_kind = "coords"

    def __init__(
        self,
        input_size: int,
        stem: int = 16,
        stages: tuple[Stage, ...] = DEFAULT_STAGES,
        neck: int = 64,
        block: str = "depthwise",
    ) -> None:
        super().__init__(stem, stages, neck, block)
        self.head = CoordHead(neck, input_size // _stride(stages))


class SimCCNet(_NeckNet):
    """Student: inverted residuals, then a SimCC head on the last map.

    Args:
        bins: of either axis; twice the input's side by default.
    """

    output_kind = "simcc"

    def __init__(
        self,
        input_size: int,
        stem: int = 16,
        stages: tuple[Stage, ...] = DEFAULT_STAGES,
        neck: int = 64,
        bins: int | None = None,
        block: str = "depthwise",
    ) -> None:
        super().__init__(stem, stages, neck, block)
        self.head = SimCCHead(neck, input_size // _stride(stages), bins or 2 * input_size)


class HeatmapNet(Net):
    """Student with heatmaps: inverted residuals to stride 16 (or more), back to stride 8 with one addition.

    The head's 51 maps stand at stride 8 of the input; soft-argmax turns them into coordinates outside the net.

    Attributes:
        stages: as given. cut: how many of them lie in `shallow`, up to stride 8. ups: doublings back to stride 8.
    """

    output_kind = "heatmap"

    def __init__(
        self,
        input_size: int,
        stem: int = 16,
        stages: tuple[Stage, ...] = DEFAULT_STAGES,
        width: int = 64,
        expand: float = 3,
        block: str = "depthwise",
    ) -> None:
        super().__init__()
        self.feature_channels = width
        stride, cut = 2, 0
        for cut, stage in enumerate(stages, 1):  # noqa: B007 - the value after the loop is wanted
            stride *= stage[3]
            if stride == 8:
                break
        self.stages, self.cut = stages, cut
        self.shallow, shallow_width = _blocks(stem, stages[:cut], block)
        self.ups = sum(stage[3] == 2 for stage in stages[cut:])
        deep, inputs = _residuals(shallow_width, stages[cut:], block)
        self.deep = nn.Sequential(*deep)
        self.down_lateral = conv_bn(inputs, width, 1)
        self.side_lateral = conv_bn(shallow_width, width, 1)
        self.merge = InvertedResidual(width, width, 1, expand, branched=block == "branched")
        self.head = nn.Conv2d(width, NUM_POINTS, 1)

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.shallow(x)
        coarse = self.down_lateral(self.deep(fine))
        up = F.interpolate(coarse, scale_factor=float(2**self.ups), mode="nearest")
        return self.merge(torch.relu(self.side_lateral(fine) + up))
