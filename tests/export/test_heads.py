"""Nets with SimCC and attention heads as files: the same points from torch, ONNX and TFLite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pair_fld.config import ModelConfig
from pair_fld.export.model_cost import model_cost
from pair_fld.export.onnx import export_onnx
from pair_fld.export.parity import compare
from pair_fld.export.quantization.formats import quantize
from pair_fld.models import LandmarkNet, build_model
from pair_fld.runtime.geometry import from_norm
from pair_fld.runtime.metadata import model_metadata, normalise
from pair_fld.runtime.session import load_model

SIDE = 64
STAGES = [[2, 16, 1, 2], [2, 24, 1, 2], [2, 32, 1, 2]]


def crops(number: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (number, 8, 8, 3)).astype(np.float32)
    return np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.uint8)


def settled(arch: str, options: dict) -> LandmarkNet:
    """A net whose batch norms have seen images."""
    torch.manual_seed(0)
    net = build_model(ModelConfig(arch=arch, input_size=SIDE, options=options))
    with torch.no_grad():
        for _ in range(10):
            net(torch.rand(8, 3, SIDE, SIDE) * 2 - 1)
    return net.eval()


def exported(net: LandmarkNet, folder: Path) -> tuple[Path, dict]:
    metadata = model_metadata(SIDE, 1.45, net.output_kind)
    export_onnx(net, SIDE, folder / "net.onnx", metadata)
    return folder / "net.onnx", metadata


def torch_points(net: LandmarkNet, metadata: dict):
    @torch.no_grad()
    def predict(images: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(normalise(images, metadata)).permute(0, 3, 1, 2)
        return from_norm(net.points(net(x)).numpy(), SIDE)

    return predict


def test_simcc_in_every_format(tmp_path: Path) -> None:
    net = settled("simcc_net", {"stages": STAGES, "neck": 24})
    path, metadata = exported(net, tmp_path)
    files = {f.path.name: f.path for f in quantize(path, tmp_path / "q", crops(16))}
    worst = {row.other: row.max_px for row in compare({"torch": torch_points(net, metadata)} | files, crops(6))}
    assert worst["net-fp32.onnx"] < 1e-3
    assert worst["net-fp32.tflite"] < 1e-3
    assert worst["net-int8-static.onnx"] < 2
    assert worst["net-int8-static.tflite"] < 2
    for name in ("net-int8-static.onnx", "net-int8-static.tflite"):
        assert not model_cost(files[name]).heavy_not_int8()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("hourglass", {"width": 16, "depth": 2, "stacks": 2}),
        ("heatmap_unet", {"widths": [16, 24], "blocks": [1, 1], "head": "attention"}),
        ("timm", {"stride": 4, "width": 32, "head": "attention"}),
        ("timm", {"backbone": "hrnet_w18_small", "stride": 4, "backbone_options": {"feature_location": ""}}),
    ],
)
def test_teachers_heads_in_onnx(arch: str, options: dict, tmp_path: Path) -> None:
    net = settled(arch, options)
    path, metadata = exported(net, tmp_path)
    row = compare({"torch": torch_points(net, metadata), "onnx": path}, crops(6))[0]
    assert row.max_px < 1e-3
    assert load_model(path).metadata["output"]["kind"] == "heatmap"
