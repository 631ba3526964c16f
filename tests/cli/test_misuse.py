"""What a user can get wrong: one plain sentence with the remedy, exit code 2, no traceback."""

from __future__ import annotations

import subprocess
import sys
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


@pytest.mark.parametrize(
    ("arguments", "option", "value"),
    [
        (["predict", "faces", "--json", "--draw", "drawn"], "--json", "--draw"),
        (["predict", "faces", "-o", "--json"], "--out", "--json"),
        (["predict", "faces", "--csv=-x.csv"], "--csv", "-x.csv"),
        (["validate", "--ensemble", "a.pt", "--ensemble", "--flip"], "--ensemble", "--flip"),
        (["prepare", "--recipe", "--resume"], "--recipe", "--resume"),
        (["benchmark", "inference", "--archive", "--json"], "--archive", "--json"),
        (["runs", "--folder", "--json"], "--folder", "--json"),
    ],
)
def test_an_option_is_not_the_value_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], option: str, value: str
) -> None:
    (tmp_path / "faces").mkdir()
    monkeypatch.chdir(tmp_path)
    done = pairfld(*arguments)
    assert (done.code, done.out) == (2, "")
    assert f"{option} needs a value, and {value} looks like another option." in " ".join(done.err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_a_dash_alone_is_still_stdout_and_a_negative_number_a_number(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = pairfld("predict", str(tmp_path / "empty"), "--json", "-")
    assert "needs a value" not in done.err
    done = pairfld("validate", "--min-measured", "-3", "--work", str(tmp_path / "w"))
    assert (done.code, "needs a value" in done.err) == (2, False)


@pytest.mark.parametrize("package", ["typer", "rich", "pydantic"])
def test_a_missing_package_is_named(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from pair_fld.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "doctor"], capture_output=True, text=True, check=False)
    sentence = f"error pairfld needs the package {package}, which is not installed."
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{sentence} Run make setup, or pip install . in the project's folder.\n"


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
