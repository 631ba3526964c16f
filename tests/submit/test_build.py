"""The package stage's own parts: what a face's score means is learnt for the model at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pair_fld.data.dataset import FaceDataset
from pair_fld.evaluate.confidence import Candidates
from pair_fld.runtime.calibration import DetectorCalibration
from pair_fld.submit import build


class Opened:
    """A model file as opened: what it says of itself."""

    def __init__(self, kind: str) -> None:
        self.metadata = {"output": {"kind": kind}, "crop": {}}


@pytest.fixture
def calibration() -> DetectorCalibration:
    none = np.zeros((0, 2))
    return DetectorCalibration("stub", (), none, none[:, 0], np.zeros(4), np.eye(4))


def test_a_model_without_heatmaps_has_no_confidence(
    dot_pack: Path, calibration: DetectorCalibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "load_model", lambda path: Opened("coords"))
    assert build.learned_confidence(FaceDataset(dot_pack), Path("m"), Path("d"), calibration, build.say_nothing) is None


def test_too_few_faces_leave_the_scores_to_the_detector_and_say_so(
    dot_pack: Path, calibration: DetectorCalibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def collect(pipeline: object, images: object) -> Candidates:
        seen.append(sum(not faces for _, faces in images))  # type: ignore[attr-defined]
        empty = np.zeros((0, 51))
        return Candidates(np.zeros((0, 8)), np.zeros(0), np.zeros((0, 2)), empty, empty)

    for name, stub in {"load_model": lambda path: Opened("heatmap"), "open_detector": lambda path: None,
                       "Pipeline": lambda detector, model: None, "collect_candidates": collect,
                       "read_source_images": lambda *a: iter(()),
                       "source_image_count": lambda *a: 9}.items():  # fmt: skip
        monkeypatch.setattr(build, name, stub)
    monkeypatch.setattr(build, "FACELESS", 20)
    said: list[str] = []
    assert build.learned_confidence(FaceDataset(dot_pack), Path("m"), Path("d"), calibration, said.append) is None
    assert seen == [2 * 9]
    assert "scores are the detector's alone: expected 60 or more candidates" in said[-1]
