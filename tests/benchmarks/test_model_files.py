"""Files of ours and of others side by side; what fails stays visible and hurts nobody else."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pair_fld.benchmarks import worker as bench_worker
from pair_fld.benchmarks.model_files import Latency, ModelRow, measure_models, plot_models
from pair_fld.errors import PairError
from pair_fld.evaluate.validate import labelled_folder
from pair_fld.export.quantization.formats import quantize
from tests.export.tiny_nets import SIZE, Exported, random_crops

PNG = b"\x89PNG"


def foreign(path: Path, nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, list]]) -> Path:
    values = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    model = helper.make_model(helper.make_graph(nodes, "foreign", values, result), ir_version=9)
    model.opset_import[0].version = 18
    onnx.save(model, str(path))
    return path


@pytest.fixture(scope="module")
def rows(coords_net: Exported, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelRow]:
    """One call over everything: ours, several inputs, dynamic axes, an input of text, damaged, missing, no model."""
    folder = tmp_path_factory.mktemp("bench")
    crops = random_crops(4)
    files = [f.path for f in quantize(coords_net.path, folder, crops, ["fp32", "int8-static"])]
    add = [helper.make_node("Add", ["a", "b"], ["y"])]
    files.append(foreign(folder / "two.onnx", add, {n: (TensorProto.FLOAT, ["n", 3, "h", 8]) for n in "ab"}))
    cast = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    files.append(foreign(folder / "text.onnx", cast, {"x": (TensorProto.STRING, [1])}))
    (folder / "damaged.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\x07" * 300)
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "notes.txt").write_text("hello")
    files += [folder / name for name in ("damaged.tflite", "empty.onnx", "notes.txt", "missing.tflite")]
    # an image of noise with points on it: the net is random, so any number will do
    rng = np.random.default_rng(3)
    faces = folder / "faces"
    faces.mkdir()
    cv2.imwrite(str(faces / "a.png"), rng.integers(0, 256, (80, 80, 3), np.uint8))
    points = "\n".join(f"{x:.2f} {y:.2f}" for x, y in rng.uniform(15, 65, (51, 2)))
    (faces / "a.pts").write_text(f"version: 1\nn_points: 51\n{{\n{points}\n}}\n")
    measured = measure_models(files, runs=12, dynamic=16, truth=labelled_folder([faces]))
    assert [row.file for row in measured] == [str(path) for path in files]
    return {Path(row.file).name: row for row in measured}


def test_files_of_ours_are_measured_whole(rows: dict[str, ModelRow]) -> None:
    for kind in ("fp32", "int8-static"):
        for form in ("onnx", "tflite"):
            row = rows[f"net-{kind}.{form}"]
            assert row.errors == []
            assert [entry.threads for entry in row.latency] == [1, 2]
            for entry in row.latency:
                assert entry.calls == 12
                assert 0 < entry.median_ms <= entry.p95_ms
                assert entry.pinned is hasattr(os, "sched_setaffinity")
            assert row.peak_mb is not None
            assert row.model_mb is not None
            assert 0 < row.model_mb < row.peak_mb < 1000
            assert row.faces == 1
            assert row.nme_outer_corners_percent is not None
            assert np.isfinite(row.nme_outer_corners_percent)
    assert rows["net-int8-static.tflite"].heavy_not_int8 == 0
    assert rows["net-fp32.tflite"].heavy_not_int8 == 8
    assert rows["net-fp32.tflite"].runtime == "TFLite 1.13"
    assert rows["net-int8-static.onnx"].params == rows["net-fp32.tflite"].params
    # one graph in two formats: the same error but for some rounding
    pair = [rows[f"net-int8-static.{form}"].nme_outer_corners_percent for form in ("onnx", "tflite")]
    assert pair[0] == pytest.approx(pair[1], rel=0.05)


def test_a_foreign_file_of_two_inputs_and_unknown_axes_runs(rows: dict[str, ModelRow]) -> None:
    row = rows["two.onnx"]
    assert len(row.latency) == 2
    assert row.ops == {"Add float32": 1}
    assert (row.gflops, row.params, row.nme_outer_corners_percent) == (0.0, 0, None)
    assert row.errors == [row.errors[0]]
    assert "carries no pair_fld metadata" in row.errors[0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text.onnx", "input 'x' is tensor(string), which cannot be made up"),
        ("damaged.tflite", "cannot be run"),
        ("empty.onnx", "found an empty file"),
        ("notes.txt", "found .txt, expected an .onnx or .tflite file"),
        ("missing.tflite", "no such file"),
    ],
)
def test_what_cannot_be_measured_says_why(rows: dict[str, ModelRow], name: str, reason: str) -> None:
    row = rows[name]
    assert row.latency == []
    assert any(reason in error for error in row.errors), row.errors
    assert "Traceback" not in " ".join(row.errors)


def test_inputs_are_made_up_by_type() -> None:
    rng = np.random.default_rng(0)
    real = bench_worker.random_input([4, 100], np.float32, rng)
    assert real.dtype == np.float32
    assert (-1 <= real.min() < -0.9) and (0.9 < real.max() <= 1)  # noqa: PT018
    codes = bench_worker.random_input([1000], np.int8, rng)
    assert (codes.dtype, codes.min() < -120, codes.max() > 120) == (np.int8, True, True)
    assert not bench_worker.random_input([9], np.int64, rng).any()
    assert bench_worker.fixed(["n", 3, None, -1, 7], 96) == [1, 3, 96, 96, 7]


def test_a_process_that_dies_is_a_reason(coords_net: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to import where the process starts: it ends before it says anything."""
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr("sys.executable", "/bin/false")
    (row,) = measure_models([coords_net.path], runs=1)
    assert row.errors == ["cannot be run (its process ended with code 1)"]
    assert row.params is not None


def test_plots(tmp_path: Path) -> None:
    one = Latency(1, 1.0, 1.0, 9, True)
    scored = [ModelRow(f"{n}.tflite", n, latency=[one], nme_outer_corners_percent=3.0 / n) for n in (1, 2)]
    for name, shown in (
        ("nme.png", scored),
        ("size.png", [ModelRow("a.onnx", 0.5, latency=[Latency(2, 1.0, 1.0, 9, True)])]),
    ):
        plot_models(shown, tmp_path / name)
        data = (tmp_path / name).read_bytes()
        assert data[:4] == PNG
        assert len(data) > 5000
    with pytest.raises(PairError, match="expected at least one file that can be run, found none"):
        plot_models([ModelRow("a.onnx", errors=["no"])], tmp_path / "none.png")
    assert SIZE == 32
