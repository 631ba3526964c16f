"""The quantize stage on a small dataset: gates that hold and gates that break, fine-tuning and its record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime.quantization
import pytest
import torch

from pair_fld.config import AugmentConfig, ModelConfig, QatConfig, QuantConfig, StageConfig, TrainConfig
from pair_fld.data.dataset import FaceDataset
from pair_fld.errors import PairError
from pair_fld.export.model_cost import model_cost
from pair_fld.export.quantization import calibrate
from pair_fld.export.quantization.gates import QuantizeGateError
from pair_fld.export.quantization.run import FineTuning, quantize_checkpoint
from pair_fld.io import file_hash
from pair_fld.models.checkpoint import load_checkpoint
from pair_fld.progress import Progress, no_progress
from pair_fld.runtime.session import read_metadata
from pair_fld.train.distill import distill, train_teacher
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.run_history import find_run

CALM = AugmentConfig(flip=0, rotation=5, scale=0.05, shift=0.02, photometric=0, grey=0, blur=0, noise=0, occlude=0)
OPTIONS = {"stages": [[2, 24, 1, 2], [2, 32, 1, 2], [2, 48, 1, 2]], "width": 24, "expand": 2}
HEAT = ModelConfig(arch="heatmap_net", input_size=64, options=OPTIONS)
LOOSE: dict[str, Any] = {"method": "minmax", "calibration_images": 16, "max_nme_loss": 50.0, "max_drift_px": 64.0}


def stage(epochs: int, losses: dict[str, float]) -> StageConfig:
    calm: dict[str, Any] = {"augment": CALM, "threads": 1, "amp": False, "warmup_epochs": 0.2, "ema_decay": 0.9}
    return StageConfig(model=HEAT, train=TrainConfig(epochs=epochs, batch_size=8, lr=3e-3, losses=losses, **calm))


@pytest.fixture(scope="module")
def workspace(dot_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with teacher/best.pt, student/best.pt and the teacher's answers."""
    work, dataset = tmp_path_factory.mktemp("work"), FaceDataset(dot_pack)
    teacher = train_teacher(stage(8, {"wing": 1.0}), dataset, RunSpec(work / "teacher"))
    distill(stage(8, {"wing": 0.5, "kd_wing": 1.0}), dataset, [teacher], RunSpec(work / "student"))
    return work


def test_what_is_written_and_recorded(workspace: Path, dot_pack: Path, tmp_path: Path) -> None:
    checkpoint = workspace / "student/best.pt"
    report = quantize_checkpoint(checkpoint, FaceDataset(dot_pack), QuantConfig(**LOOSE), tmp_path)
    assert [f.file for f in report.files] == [
        "model-fp32.onnx", "model-fp32.tflite", "model-int8-static.onnx", "model-int8-static.tflite",
    ]  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*(f.file for f in report.files), "run.json"])
    assert max(f.max_drift_px for f in report.files[:2]) < 1e-3
    assert min(f.max_drift_px for f in report.files[2:]) > 1e-3
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["passed"], record["qat"], record["checkpoint"]) == (True, False, file_hash(checkpoint))


def test_the_table_of_a_broken_bound_names_layers(workspace: Path, dot_pack: Path, tmp_path: Path) -> None:
    config = QuantConfig(**LOOSE | {"max_drift_px": 1e-3})
    with pytest.raises(QuantizeGateError) as caught:
        quantize_checkpoint(workspace / "student/best.pt", FaceDataset(dot_pack), config, tmp_path)
    report = caught.value.report
    assert [s.split(":")[0] for s in report.broken] == ["model-int8-static.onnx", "model-int8-static.tflite"]
    assert all("px from the checkpoint, bound 0.001 px" in s for s in report.broken)
    assert set(report.noisy_layers) == {"model-int8-static.onnx", "model-int8-static.tflite"}
    for layers in report.noisy_layers.values():
        assert len(layers) == 10
        assert [row.snr_db for row in layers] == sorted(row.snr_db for row in layers)
        assert 3 < layers[0].snr_db < 60
        assert {row.op for row in layers} <= {"Conv", "Relu", "Add", "Resize"}
    # the two files are one graph: they deviate in the same layers
    onnx_rows, tflite_rows = ({r.value: r.snr_db for r in rows} for rows in report.noisy_layers.values())
    shared = set(onnx_rows) & set(tflite_rows)
    assert len(shared) >= 8
    assert all(abs(onnx_rows[v] - tflite_rows[v]) < 1.5 for v in shared)
    assert json.loads((tmp_path / "run.json").read_text())["passed"] is False


def test_a_float_convolution_in_an_int8_file_breaks_a_gate(
    workspace: Path, dot_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., None] = onnxruntime.quantization.quantize_static

    def forgetful(source: Path, *arguments: Any, **options: Any) -> None:
        import onnx

        first = next(n.name for n in onnx.load(str(source)).graph.node if n.op_type == "Conv")
        original(source, *arguments, nodes_to_exclude=[first], **options)

    monkeypatch.setattr(calibrate, "quantize_static", forgetful)
    with pytest.raises(
        QuantizeGateError, match=r"model-int8-static\.tflite: heavy operators that are not int8"
    ) as caught:
        quantize_checkpoint(workspace / "student/best.pt", FaceDataset(dot_pack), QuantConfig(**LOOSE), tmp_path)
    assert caught.value.report.broken == (
        "model-int8-static.onnx: heavy operators that are not int8: 1 Conv float32, bound 0",
        "model-int8-static.tflite: heavy operators that are not int8: 1 CONV_2D float32, bound 0",
    )


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_the_released_file_is_all_int8(workspace: Path, dot_pack: Path, tmp_path: Path, form: str) -> None:
    config = QuantConfig(**LOOSE)
    quantize_checkpoint(workspace / "student/best.pt", FaceDataset(dot_pack), config, tmp_path)
    cost = model_cost(tmp_path / f"model-{config.release}.{form}")
    assert cost.heavy_not_int8() == {}
    heavy = {key: n for key, n in cost.ops.items() if "conv" in key[0].lower()}
    # stem; 3 inverted residuals of 3; 2 laterals; merge of 3; head: 16 convolutions, of which 4 depthwise
    wanted = {"onnx": {("Conv", "int8"): 16}, "tflite": {("CONV_2D", "int8"): 12, ("DEPTHWISE_CONV_2D", "int8"): 4}}
    assert heavy == wanted[form]
    assert model_cost(tmp_path / f"model-fp32.{form}").heavy_not_int8() != {}


def test_fine_tuning(workspace: Path, dot_pack: Path, tmp_path: Path) -> None:
    config = QuantConfig(**LOOSE, qat=QatConfig(steps=40, lr=1e-3))
    tuning = FineTuning(RunSpec(tmp_path / "qat"), cache=workspace)
    report = quantize_checkpoint(
        workspace / "student/best.pt", FaceDataset(dot_pack), config, tmp_path / "out", fine_tuning=tuning
    )
    fine = report.qat
    assert fine is not None
    assert fine.loss_last < fine.loss_first
    assert fine.simulation_drift_px < 0.1
    before, after = fine.post_training, [f for f in report.files if f.precision == "int8-static"]
    assert [f.file for f in before] == [f.file for f in after]
    assert all(b.nme_outer_corners_percent != a.nme_outer_corners_percent for b, a in zip(before, after, strict=True))
    assert max(f.max_drift_px for f in report.files if f.precision == "fp32") < 1e-3  # still the checkpoint's weights
    assert model_cost(tmp_path / "out/model-int8-static.tflite").heavy_not_int8() == {}
    facts = read_metadata(tmp_path / "out/model-int8-static.tflite")["quantization"]
    assert facts["method"] == "minmax, then fine-tuned"
    assert facts["qat"] == {"steps": 40, "lr": 1e-3}
    run = find_run(tmp_path, "qat")
    assert (run.kind, run.state, run.epochs_done) == ("qat", "finished", 8)  # 40 steps, of which 5 are an epoch


@pytest.mark.slow
def test_stopped_fine_tuning_continues_exactly(workspace: Path, dot_pack: Path, tmp_path: Path) -> None:
    config = QuantConfig(**LOOSE, qat=QatConfig(steps=12, lr=1e-3))

    class Stop(Exception):
        pass

    def stop(done: int, total: int, note: str = "") -> None:
        if done == 8:
            raise Stop

    def attempt(name: str, progress: Progress = no_progress) -> None:
        tuning = FineTuning(RunSpec(tmp_path / f"{name}-qat", resume=True), cache=workspace, progress=progress)
        out = tmp_path / name
        quantize_checkpoint(workspace / "student/best.pt", FaceDataset(dot_pack), config, out, fine_tuning=tuning)

    attempt("whole")
    with pytest.raises(Stop):
        attempt("parts", stop)
    attempt("parts")
    whole, parts = (load_checkpoint(tmp_path / f"{name}-qat/last.pt")["model"] for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    # a fine-tuning that is done is taken as it is
    before = (tmp_path / "whole-qat/last.pt").stat().st_mtime_ns
    attempt("whole")
    assert (tmp_path / "whole-qat/last.pt").stat().st_mtime_ns == before


@pytest.mark.slow
def test_fine_tuning_needs_the_students_own_teacher(workspace: Path, dot_pack: Path, tmp_path: Path) -> None:
    student, dataset = workspace / "student/best.pt", FaceDataset(dot_pack)
    config = QuantConfig(**LOOSE, qat=QatConfig(steps=1))

    def attempt(name: str, teacher: Path, cache: Path) -> None:
        run = RunSpec(tmp_path / f"{name}-qat")
        quantize_checkpoint(student, dataset, config, tmp_path / name, fine_tuning=FineTuning(run, [teacher], cache))

    with pytest.raises(PairError, match=r"expected its teacher \(sha256 .*found no file .*Name it with --teacher"):
        attempt("a", tmp_path / "none.pt", tmp_path)
    with pytest.raises(PairError, match=r"found .*student/best\.pt, which is another one"):
        attempt("b", student, tmp_path)
    attempt("c", workspace / "teacher/best.pt", tmp_path / "cache")  # answers anew
    assert len(list((tmp_path / "cache").glob("answers-*.npz"))) == 1
