"""The whole chain as a user meets it: every verb, on rendered faces, in one workspace."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from pair_fld.data.dataset import stored_covariance
from pair_fld.errors import PairError
from tests.cli.command import pairfld

SMALL = (
    "data.sources.0.count=160", "data.sources.1.count=24", "data.num_workers=1", "data.valid_fraction=0.2",
    "teacher.train.epochs=3", "teacher.train.threads=1", "student.train.epochs=3", "student.train.threads=1",
    "quant.calibration_images=32", "quant.method=minmax", "quant.max_nme_loss=5", "quant.max_drift_px=30",
)  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which every stage has run."""
    folder = tmp_path_factory.mktemp("chain") / "a folder with späces"
    for verb in ("prepare", "train-teacher", "distill", "quantize", "package"):
        done = pairfld(verb, "--work", str(folder), *SMALL)
        assert done.code == 0, f"{verb}: {done.err}"
    return folder


def test_each_stage_left_its_record(work: Path) -> None:
    for stage in ("data", "teacher", "student", "quant", "package"):
        record = json.loads((work / stage / "run.json").read_text())
        assert record["packages"]["torch"], stage
        assert record["data_hash"] == json.loads((work / "data/run.json").read_text())["data_hash"], stage


def test_training_knows_how_far_the_detector_is_off(work: Path) -> None:
    kept = work / "data" / "detector-calibration.json"
    covariance = stored_covariance(work / "data")
    assert covariance is not None
    assert (covariance.diagonal() > 0).all()
    before = kept.read_text()
    kept.write_text("{}")
    try:
        with pytest.raises(PairError, match="expected a detector calibration, found 'calibration'"):
            stored_covariance(work / "data")
    finally:
        kept.write_text(before)


def test_archive_holds_what_the_grader_needs(work: Path) -> None:
    with zipfile.ZipFile(work / "package/synthetic.zip") as archive:
        names = set(archive.namelist())
        requirements = archive.read("requirements.txt").decode()
        card = archive.read("model_card.md").decode()
    assert {"model.tflite", "detector.tflite", "run_model.py", "report.pdf", "runtime/main.py"} <= names
    assert "opencv" in requirements
    assert "torch" not in requirements
    assert "synthetic" in card


def test_validate_prints_json_on_stdout_and_progress_on_stderr(work: Path) -> None:
    assert pairfld("validate", "--work", str(work), "--colour").code == 2  # an unknown option is misuse
    done = pairfld("validate", str(work / "quant/model-fp32.onnx"), "--work", str(work), "--split", "valid", "--json")
    assert done.code == 0, done.err
    tree = json.loads(done.out)
    assert tree["faces"] > 0
    assert tree["nme_outer_corners_percent"] > 0
    assert "validate" in done.err


def test_a_gate_that_breaks_is_exit_code_1(work: Path) -> None:
    done = pairfld(
        "validate", str(work / "student/best.pt"), "--work", str(work), "--split", "valid", "--max-nme", "0.01"
    )
    assert done.code == 1
    assert "is above the bound of 0.01 %" in done.err


def test_rerunning_with_resume_does_nothing_anew(work: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in work.rglob("*") if p.is_file()}
    for verb in ("prepare", "train-teacher", "distill", "quantize", "package"):
        done = pairfld(verb, "--work", str(work), "--resume", *SMALL)
        assert done.code == 0, f"{verb}: {done.err}"
    assert {p: p.stat().st_mtime_ns for p in work.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("verb", ["prepare", "train-teacher", "distill", "quantize", "package"])
def test_nothing_is_overwritten_unasked(work: Path, verb: str) -> None:
    done = pairfld(verb, "--work", str(work), *SMALL)
    assert done.code == 2
    assert "expected a new or empty output folder" in done.err
    assert "--overwrite" in done.err
