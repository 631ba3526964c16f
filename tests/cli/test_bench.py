"""`pairfld benchmark models` as a user meets it, and the tables of a broken gate of `pairfld quantize`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pair_fld.export.parity import LayerNoise
from pair_fld.export.quantization.run import FileReport, QuantizeGateError, QuantizeReport
from pair_fld.export.tflite.flatbuffer import FlatBuilder, save_tflite
from tests.cli.command import pairfld


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file that no metadata explains: relu of four numbers."""
    flat = FlatBuilder()
    x, y = (flat.tensor(name, (1, 4), np.float32) for name in "xy")
    flat.operator("RELU", [x], [y])
    save_tflite(flat.finish({"x": x}, {"y": y}), tmp_path / "relu.tflite", {})
    return tmp_path / "relu.tflite"


def test_table_plot_and_a_bad_file(model: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.onnx"
    done = pairfld(
        "benchmark",
        "models",
        str(model),
        str(missing),
        "--runs",
        "3",
        "--threads",
        "1",
        "--plot",
        str(tmp_path / "p.png"),
    )
    assert done.code == 0, done.err
    assert "relu.tflite" in done.out
    assert "missing.onnx" in done.out
    assert "TFLite 1.5" in done.out
    assert "1 RELU float32" in done.out
    assert f"{missing}: no such file" in done.err or f"{missing}: found no such file" in done.err
    assert (tmp_path / "p.png").stat().st_size > 5000


def test_json(model: Path) -> None:
    done = pairfld("benchmark", "models", str(model), "--runs", "3", "--threads", "1", "--json")
    (row,) = json.loads(done.out)["files"]
    assert row["runtime"] == "TFLite 1.5"
    assert [entry["threads"] for entry in row["latency"]] == [1]


def test_nothing_could_be_run(tmp_path: Path) -> None:
    done = pairfld("benchmark", "models", str(tmp_path / "missing.onnx"))
    assert done.code == 2
    assert "expected at least one file that can be run, found none" in done.err
    assert "Traceback" not in done.err


def test_a_broken_gate_shows_files_and_layers(tmp_path: Path, dot_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FileReport("model-int8-static.tflite", "int8-static", "tflite", 0.3, 5.5, 0.4, 9.25)
    broken = "model-int8-static.tflite: worst point 9.25 px from the checkpoint, bound 8 px"
    noisy = (
        LayerNoise("node_conv_7", "Conv", "relu_7", 11.25, 0.5, 14),
        LayerNoise("node_add_2", "Add", "a", 20, 0.1, 3),
    )
    report = QuantizeReport(5.0, "entropy", {}, (file,), (broken,), {file.file: noisy})

    def stage(*_: object, **__: object) -> None:
        raise QuantizeGateError(report)

    monkeypatch.setattr("pair_fld.export.quantization.run.quantize_checkpoint", stage)
    arguments = ("quantize", "--work", str(tmp_path / "w"), "--dataset", str(dot_pack))
    done = pairfld(*arguments)
    assert done.code == 1
    assert f"failed {broken}" in done.err
    assert "act on the lowest order" in done.err
    assert "model-int8-static.tflite: noisiest layers first" in done.out
    (line,) = [line for line in done.out.splitlines() if "node_conv_7" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["14", "node_conv_7", "Conv", "11.2", "0.5"]
    done = pairfld(*arguments, "--json", "--overwrite")
    assert done.code == 1
    assert json.loads(done.out)["noisy_layers"][file.file][0]["layer"] == "node_conv_7"
