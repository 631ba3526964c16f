"""The few blocks that the project's own nets are made of: convolutions, ReLU and additions only.

Every one of them exists as an int8 operator of version 1-3 in TFLite, which is why there is no SiLU, no
squeeze-and-excite and no bilinear resize here.
"""

from __future__ import annotations

import torch
from torch import nn


def conv_bn(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution (padded to keep the size), batch norm and, unless told otherwise, ReLU."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class InvertedResidual(nn.Module):
    """Expand, depthwise, project (MobileNetV2, Sandler et al., CVPR 2018); the shortcut where shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: float, kernel: int = 3) -> None:
        super().__init__()
        hidden = round(inputs * expand)
        self.body = nn.Sequential(
            conv_bn(inputs, hidden, 1),
            conv_bn(hidden, hidden, kernel, stride, groups=hidden),
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
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.skip(x) + self.body(x))
