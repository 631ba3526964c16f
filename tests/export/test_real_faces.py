"""Parity on real crops: torch = ONNX = TFLite in float, int8 within the configured bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pair_fld.config import QuantConfig, StageConfig, load_section
from pair_fld.data.load_face import load_crop
from pair_fld.evaluate.validate import labelled_folder
from pair_fld.export.model_cost import model_cost
from pair_fld.export.onnx import export_onnx
from pair_fld.export.parity import compare
from pair_fld.export.quantization.formats import quantize
from pair_fld.models import build_model
from pair_fld.runtime.geometry import from_norm
from pair_fld.runtime.metadata import model_metadata, normalise

CROPS = 64


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heat96", "coord96"])
def test_the_configured_students_on_64_real_crops(name: str, shared_data: Path, tmp_path: Path) -> None:
    """Random weights, but BatchNorm statistics and calibration from real crops; the students' own sizes."""
    config = load_section(StageConfig, "student", name).model
    truth = labelled_folder([shared_data / "lfpw/valid", shared_data / "ytf/valid"])
    samples = truth.samples[:: len(truth.samples) // (2 * CROPS)][: 2 * CROPS]
    sources = truth.config.sources
    crops = np.stack([load_crop(s, sources[s.source], config.input_size, config.margin).image for s in samples])
    measured, calibration = crops[::2], crops[1::2]
    assert len(measured) == CROPS
    torch.manual_seed(0)
    net = build_model(config)
    metadata = model_metadata(config.input_size, config.margin, net.output_kind)

    def pixels(some: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(normalise(some, metadata)).permute(0, 3, 1, 2)

    def points(some: np.ndarray) -> np.ndarray:
        return from_norm(net.points(net(pixels(some))).numpy(), config.input_size)

    with torch.no_grad():
        net.train()
        for _ in range(30):  # the running averages forget a tenth a step
            net(pixels(calibration))
        net.eval()
        export_onnx(net, config.input_size, tmp_path / "net.onnx", metadata)
        files = quantize(tmp_path / "net.onnx", tmp_path, calibration, ["fp32", "int8-static"])
        table = compare({"torch": points} | {f.path.name: f.path for f in files}, measured)
        spread = points(measured).std(axis=0).mean()
    bounds = QuantConfig()
    assert spread > 0.05  # the points do move with the image
    drift = {row.other: (row.mean_px, row.max_px) for row in table}
    for form in ("onnx", "tflite"):
        assert drift[f"net-fp32.{form}"][1] < bounds.max_fp32_drift_px == 1e-3
        assert 0 < drift[f"net-int8-static.{form}"][1] < bounds.max_drift_px
        assert model_cost(tmp_path / f"net-int8-static.{form}").heavy_not_int8() == {}
    onnx_file, tflite_file = (tmp_path / f"net-int8-static.{form}" for form in ("onnx", "tflite"))
    (apart,) = compare({"onnx": onnx_file, "tflite": tflite_file}, measured)
    assert apart.mean_px < 0.1
