"""What a user can get wrong: one plain sentence with the remedy, exit code 2, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.cli.command import pairfld


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["prepare", "--recipe", "nothing"], "Known names: "),
        (["prepare", "data.colour=1"], "unknown key 'data.colour'"),
        (["prepare", "--data-config", "shared-faces", "--root", "/nowhere"], "/nowhere/lfpw/train"),
        (["train-teacher", "--dataset", "/nowhere"], "Run pairfld prepare first"),
        (["distill", "--teacher", "/nowhere.pt"], "expected"),
        (["distill", "--student", "nothing"], "expected a student configuration"),
        (["quantize", "--checkpoint", "/nowhere.pt"], "expected"),
        (["validate", "/nowhere.tflite"], "found no such file"),
        (["package", "--model", "/nowhere.tflite"], "Run pairfld quantize first"),
        (["train-teacher", "--device", "abacus"], "expected"),
    ],
)
def test_errors_are_sentences(tmp_path: Path, arguments: list[str], expected: str) -> None:
    done = pairfld(*arguments, "--work", str(tmp_path / "w"))
    assert done.code == 2, done.err
    assert expected in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("bench model.onnx", "`pairfld bench` is now called `pairfld benchmark models`"),
        ("bench-train --seconds 1", "`pairfld bench-train` is now called `pairfld benchmark training`"),
        ("bench-detector", "`pairfld bench-detector` is now called `pairfld benchmark detectors`"),
        ("bench-predict --json", "`pairfld bench-predict` is now called `pairfld benchmark inference`"),
        ("validate --data faces", "validate has no option --data any more; it is now called --images"),
        ("predict a.jpg -m m.zip", "predict has no option -m any more; it is now called -a"),
        ("runs show x --against y", "runs has no option --against any more; it is now called --compare-to"),
    ],
)
def test_old_names_are_answered_with_the_new_ones(call: str, sentence: str) -> None:
    done = pairfld(*call.split())
    assert done.code == 2
    assert sentence in " ".join(done.err.split())
    assert done.out == ""


def test_validate_refuses_what_is_no_model(tmp_path: Path, dot_pack: Path) -> None:
    note = tmp_path / "model.txt"
    note.write_text("hello")
    foreign = tmp_path / "model.pt"
    torch.save({"weights": torch.zeros(1)}, foreign)
    for path, expected in ((note, "expected a model"), (foreign, "expected a pairfld checkpoint of format 1")):
        done = pairfld("validate", str(path), "--work", str(tmp_path / "w"))
        assert done.code == 2
        assert expected in done.err


def test_a_folder_with_something_else_in_it_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/thesis.tex").write_text("years of work")
    done = pairfld("prepare", "--work", str(tmp_path), "--overwrite", "data.sources.0.count=4")
    assert done.code == 2
    assert (tmp_path / "data/thesis.tex").read_text() == "years of work"


def test_help_and_version() -> None:
    assert pairfld("--version").out.strip().count(".") == 2
    done = pairfld("distill", "--help")
    assert done.code == 0
    assert "--teacher" in done.out


def test_validate_takes_one_model_and_overrides() -> None:
    done = pairfld("validate", "a.onnx", "b.onnx")
    assert (done.code, "2 are named: a.onnx, b.onnx. Name further ones with --ensemble" in done.err) == (2, True)
    done = pairfld("validate", "data.colour=1")
    assert (done.code, "unknown key 'data.colour'" in done.err) == (2, True)
    done = pairfld("validate", "--set", "a=b")
    assert (done.code, "it is now called KEY=VALUE, without an option." in done.err) == (2, True)
