"""Architectures outside our own TFLite writer: refused by name without litert-torch, converted with it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from pair_fld.config import ModelConfig, QuantConfig, StageConfig, load_section
from pair_fld.data.dataset import FaceDataset
from pair_fld.errors import PairError
from pair_fld.export import litert
from pair_fld.export.model_cost import model_cost
from pair_fld.export.onnx import export_onnx
from pair_fld.export.parity import compare
from pair_fld.export.quantization.run import quantize_checkpoint
from pair_fld.export.tflite.writer import unknown_operators, write_tflite
from pair_fld.models import LandmarkNet, build_model
from pair_fld.models.checkpoint import save_checkpoint
from pair_fld.models.timm_backbone import BroadcastAttention, LinearSelfAttention
from pair_fld.runtime.geometry import from_norm
from pair_fld.runtime.metadata import model_metadata, normalise

INSTALLED = importlib.util.find_spec("litert_torch") is not None


@pytest.fixture(scope="module")
def stage() -> StageConfig:
    """The configured student on half its input: a quarter of the work."""
    stage = load_section(StageConfig, "student", "mobilevitv2")
    return stage.model_copy(update={"model": stage.model.model_copy(update={"input_size": 64})})


@pytest.fixture(scope="module")
def net(stage: StageConfig) -> LandmarkNet:
    torch.manual_seed(0)
    return build_model(stage.model).eval()


@pytest.fixture(scope="module")
def onnx_path(net: LandmarkNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mobilevit") / "net.onnx"
    export_onnx(net, 64, path, model_metadata(64, 1.45, "heatmap"))
    return path


def crops(number: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, 64, 64, 3), np.uint8)


def test_our_attention_is_timms() -> None:
    torch.manual_seed(0)
    theirs = LinearSelfAttention(16).eval()
    ours = BroadcastAttention(16).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 16, 4, 9)
    assert torch.equal(ours(x), theirs(x))


def test_shapes_and_options(net: LandmarkNet) -> None:
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 51, 8, 8)
    assert sum(type(m) is BroadcastAttention for m in net.modules()) == 9
    unknown = {"backbone": "mobilevitv2_999"}
    for options, size, found in ((unknown, 64, "timm knows no 'mobilevitv2_999'"), ({}, 96, "multiple of 64")):
        with pytest.raises(PairError, match=found):
            build_model(ModelConfig(arch="timm", input_size=size, options=options))


def test_our_writer_names_operators_and_the_extra(onnx_path: Path, tmp_path: Path) -> None:
    assert "InstanceNormalization (node " in unknown_operators(onnx_path)
    with pytest.raises(PairError, match=r"found .*InstanceNormalization \(node .*pip install 'pair_fld\[litert\]'"):
        write_tflite(onnx_path, tmp_path / "net.tflite", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(INSTALLED, reason="litert-torch is installed")
def test_without_the_extra(net: LandmarkNet, tmp_path: Path) -> None:
    with pytest.raises(PairError, match=r"found Softmax, and no litert-torch .*pip install 'pair_fld\[litert\]'"):
        litert.write_with_litert(net, 64, tmp_path / "net.tflite", {}, reason="Softmax")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_int8_tflite_of_it_is_refused(stage: StageConfig, net: LandmarkNet, dot_pack: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "best.pt"
    record = {"config": stage.model_dump(mode="json")}
    save_checkpoint(checkpoint, {"model": net.state_dict(), "ema": net.state_dict(), "record": record})
    config = QuantConfig(method="minmax", calibration_images=4)
    with pytest.raises(PairError, match=r"found int8-static with .*InstanceNorm.*Set quant.precisions=\[fp32, fp16\]"):
        quantize_checkpoint(checkpoint, FaceDataset(dot_pack), config, tmp_path / "out")


@pytest.mark.skipif(not INSTALLED, reason="litert-torch is not installed (the extra `litert`, 1 GB)")
def test_float_files_through_litert(stage: StageConfig, net: LandmarkNet, dot_pack: Path, tmp_path: Path) -> None:
    checkpoint, out = tmp_path / "best.pt", tmp_path / "out"
    record = {"config": stage.model_dump(mode="json")}
    save_checkpoint(checkpoint, {"model": net.state_dict(), "ema": net.state_dict(), "record": record})
    config = QuantConfig(method="minmax", calibration_images=4, precisions=["fp32", "fp16"], release="fp16")
    report = quantize_checkpoint(checkpoint, FaceDataset(dot_pack), config, out)
    names = [f"model-{kind}.{form}" for kind in ("fp32", "fp16") for form in ("onnx", "tflite")]
    assert [f.file for f in report.files] == names

    def points(some: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(normalise(some, model_metadata(64, 1.45, "heatmap"))).permute(0, 3, 1, 2)
        with torch.no_grad():
            return from_norm(net.points(net(x)).numpy(), 64)

    table = compare({"torch": points} | {name: out / name for name in names}, crops(4))
    worst = {row.other: row.max_px for row in table}
    assert worst["model-fp32.tflite"] < 1e-3
    assert 0 < worst["model-fp16.tflite"] < 0.1
    sizes = {name: (out / name).stat().st_size for name in names}
    assert sizes["model-fp16.tflite"] < 0.6 * sizes["model-fp32.tflite"]
    assert model_cost(out / "model-fp32.tflite").macs == model_cost(out / "model-fp16.tflite").macs > 1e6
