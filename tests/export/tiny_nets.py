"""Small nets with random weights, random crops, and what a model file answers to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from pair_fld.runtime import session
from pair_fld.runtime.metadata import normalise

SIZE = 32


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class TinyFaceNet(nn.Module):
    """Every operator of the project's students: strides of 2, depthwise, shortcut, resize, add, concatenation."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.stem = conv_bn(3, 8, stride=2)  # 16
        self.expand, self.depthwise, self.project = conv_bn(8, 24, 1), conv_bn(24, 24, groups=24), conv_bn(24, 8, 1)
        self.down = conv_bn(8, 8, 5, 2, groups=8)  # 8
        self.lateral = nn.Conv2d(8, 8, 1)
        self.merge = nn.Conv2d(16, 12, 3, padding=1)
        self.head = nn.Conv2d(12, 102, SIZE // 2) if kind == "coords" else nn.Conv2d(12, 51, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        x = x + self.project(F.relu(self.depthwise(F.relu6(self.expand(x)))))
        up = F.interpolate(self.lateral(F.relu(self.down(x))), scale_factor=2.0, mode="nearest")
        x = self.head(F.relu(self.merge(torch.cat([x, F.relu(x + up)], 1))))
        return x.flatten(1).reshape(-1, 51, 2) if self.kind == "coords" else x


def settled(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with running statistics of noise in its BatchNorms, in eval mode."""
    torch.manual_seed(seed)
    module.train()
    with torch.no_grad():
        for _ in range(5):
            module(torch.rand(8, 3, SIZE, SIZE) * 2 - 1)
    return module.eval()


def random_crops(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random images (count, SIZE, SIZE, 3): noise alone would never move a late layer."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (count, 4, 4, 3)).astype(np.float32)
    smooth = np.kron(coarse, np.ones((1, SIZE // 4, SIZE // 4, 1)))
    return (smooth + generator.normal(0, 20, smooth.shape)).clip(0, 255).astype(np.uint8)


def raw_outputs(path: Path, crops: np.ndarray) -> np.ndarray:
    """A model file's raw outputs (N, ...) on uint8 crops; four axes as NCHW."""
    metadata = session.read_metadata(path)
    run = session._onnx_run if path.suffix == ".onnx" else session._tflite_run
    return run(path, metadata, 1)(crops)


@dataclass(frozen=True)
class Exported:
    module: nn.Module
    path: Path
    metadata: dict[str, Any]

    def torch_outputs(self, crops: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(normalise(crops, self.metadata)).permute(0, 3, 1, 2)
        with torch.no_grad():
            return self.module(x).numpy()
