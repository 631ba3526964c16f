"""The face detector's verbs on a few rendered faces: everything but the quality."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pair_fld.runtime.centre_detector import CentreDetector
from tests.cli.command import pairfld

TINY = ("--config", "quick", "steps=4", "batch_size=4", "images_per_source=40", "valid_images_per_source=6",
        "synthetic_images=4", "negative_images=4", "calibration_images=4", "mining_views=8",
        "widths=[4,4,8,8,8]")  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with packed faces and a face detector that was hardly trained."""
    folder = tmp_path_factory.mktemp("detector")
    sizes = ("data.sources.0.count=60", "data.sources.1.count=6", "data.valid_fraction=0.2", "data.num_workers=1")
    done = pairfld("prepare", "--work", str(folder), *sizes)
    assert done.code == 0, done.err
    done = pairfld("train-detector", "--work", str(folder), *TINY)
    assert done.code == 0, done.err
    return folder


def test_the_detector_says_what_it_is_and_costs(work: Path) -> None:
    detector = CentreDetector(work / "detector/detector.tflite")
    assert (detector.name, detector.side) == ("centre_128", 128)
    metrics = json.loads((work / "detector/metrics.json").read_text())
    assert detector.search.second_threshold == metrics["chosen"]["threshold"]
    assert metrics["valid_faces"] > 0
    cost = metrics["cost"]["detector.tflite"]
    assert 0 < cost["gflops"] < 0.02
    assert not [op for op in cost["ops"] if op.startswith("CONV_2D") and "int8" not in op]
    record = json.loads((work / "detector/run.json").read_text())
    assert record["config"]["steps"] == 4
    assert "unfinished" not in record


def test_nothing_is_trained_twice_or_overwritten_unasked(work: Path) -> None:
    before = (work / "detector/detector.tflite").stat().st_mtime_ns
    done = pairfld("train-detector", "--work", str(work), "--resume", *TINY)
    assert "already trained" in done.err
    done = pairfld("train-detector", "--work", str(work), *TINY)
    assert done.code == 2
    assert "expected a new or empty output folder" in done.err
    assert (work / "detector/detector.tflite").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train-detector", "--config", "nothing"], "Known names: centre128, quick"),
        (["train-detector", "--config", "own128"], "own128 is now called centre128"),
        (["train-detector", "stepz=3"], "unknown key 'stepz'"),
        (["train-detector", "widths=[1,2]"], "missing key 'widths.2'"),
        (["benchmark", "detectors", "--trained", "/nowhere.tflite"], "Run pairfld train-detector first"),
        (["benchmark", "inference", "--size", "big"], "expected WIDTHxHEIGHT"),
        (
            ["benchmark", "inference", "--archive", "/nowhere.zip"],
            "expected an archive of pairfld package, found",
        ),
    ],
)
def test_errors_are_sentences(tmp_path: Path, arguments: list[str], expected: str) -> None:
    place = ["--work", str(tmp_path)] if "inference" not in arguments else []
    done = pairfld(*arguments, *place)
    assert done.code == 2
    assert expected in done.err
    assert "Traceback" not in done.err
