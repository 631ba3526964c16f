"""The few blocks that the project's own nets are made of: convolutions, ReLU and additions only.

Every one of them exists as an int8 operator of version 1-3 in TFLite, which is why there is no SiLU, no
squeeze-and-excite and no bilinear resize here.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F

M = TypeVar("M", bound=nn.Module)


def conv_bn(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution (padded to keep the size), batch norm and, unless told otherwise, ReLU."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class BranchedDepthwise(nn.Module):
    """Depthwise 3 x 3 and 1 x 1 convolutions and, at stride 1, the input itself, each with a batch norm, added; a ReLU.

    Training sees the branches (RepVGG, Ding et al., CVPR 2021); `folded` makes one convolution of them, at the cost of
    a plain depthwise one.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.wide = conv_bn(channels, channels, 3, stride, groups=channels, relu=False)
        self.point = conv_bn(channels, channels, 1, stride, groups=channels, relu=False)
        self.same = nn.BatchNorm2d(channels) if stride == 1 else None
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.wide(x) + self.point(x)
        return self.relu(total if self.same is None else total + self.same(x))

    @torch.no_grad()
    def convolution(self) -> nn.Conv2d:
        """The one 3 x 3 convolution that computes, before the ReLU, what the branches do in eval mode.

        A batch norm of mean m, variance v, scale g and shift b turns a kernel w into w g / sqrt(v + eps), with the bias
        b - m g / sqrt(v + eps). A 1 x 1 kernel is a 3 x 3 one of zeros around it, and the input itself is the kernel 1.
        """
        wide, norm = self.wide
        point, point_norm = self.point
        assert isinstance(wide, nn.Conv2d)
        assert isinstance(point, nn.Conv2d)
        around = (1, 1, 1, 1)
        parts = [_scaled(wide.weight, norm), _scaled(F.pad(point.weight, around), point_norm)]
        if self.same is not None:
            parts.append(_scaled(F.pad(torch.ones_like(point.weight), around), self.same))
        channels = wide.in_channels
        one = nn.Conv2d(channels, channels, 3, self.stride, 1, groups=channels, device=wide.weight.device)
        one.weight.copy_(torch.stack([kernel for kernel, _ in parts]).sum(dim=0))
        assert one.bias is not None
        one.bias.copy_(torch.stack([bias for _, bias in parts]).sum(dim=0))
        return one


def _scaled(kernel: torch.Tensor, norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """A depthwise kernel (C, 1, k, k) and the bias (C,) that stand for itself and the batch norm behind it."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return kernel * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def folded(module: M) -> M:
    """A copy for inference with every `BranchedDepthwise` as one convolution; the module itself where there is none."""
    if not any(isinstance(layer, BranchedDepthwise) for layer in module.modules()):
        return module
    twin = copy.deepcopy(module)
    for parent in list(twin.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, BranchedDepthwise):
                setattr(parent, name, nn.Sequential(layer.convolution(), nn.ReLU(inplace=True)))
    return twin


class InvertedResidual(nn.Module):
    """Expand, depthwise, project (MobileNetV2, Sandler et al., CVPR 2018); the shortcut where shapes allow it.

    branched: the depthwise convolution has branches while it trains, see `BranchedDepthwise`; its kernel is 3.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, expand: float, kernel: int = 3, branched: bool = False
    ) -> None:
        super().__init__()
        hidden = round(inputs * expand)
        self.body = nn.Sequential(
            conv_bn(inputs, hidden, 1),
            BranchedDepthwise(hidden, stride) if branched else conv_bn(hidden, hidden, kernel, stride, groups=hidden),
            conv_bn(hidden, outputs, 1, relu=False),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.shortcut else self.body(x)


class Residual(nn.Module):
    """Two dense 3x3 convolutions with a shortcut (ResNet's basic block, He et al., CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(inputs, outputs, 3, stride), conv_bn(outputs, outputs, relu=False))
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride, relu=False)
        self.thins_first = stride > 1 and inputs < 16
        self.stride = stride
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self._shortcut(x) + self.body(x))

    def _shortcut(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.training and self.thins_first):
            return self.skip(x)
        # The same by other steps: oneDNN ends the process in the backward pass of a strided 1 x 1 convolution, channels
        # last, of fewer than 16 channels.
        assert isinstance(self.skip, nn.Sequential)
        conv, norm = self.skip
        assert isinstance(conv, nn.Conv2d)
        return norm(F.conv2d(x[..., :: self.stride, :: self.stride], conv.weight))
