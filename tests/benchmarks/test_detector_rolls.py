"""Detectors by roll and threshold: counts and errors by hand, with a detector that says what it is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pair_fld.benchmarks import detector_rolls
from pair_fld.benchmarks.detector_rolls import measure_rolls, time_views
from pair_fld.face_detector.files import find_detector
from pair_fld.runtime.centre_detector import KEY_POINTS, key_points_of, mean_face_calibration
from pair_fld.runtime.detection import Detection
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.search import SearchConfig

FACE = MEAN_FACE * 60 + 100  # upright, in the middle of an image of 201 x 201


class Stub:
    """Finds the face in an image of 201 x 201, off by (3, 4) pixels, at one score, and none in others."""

    name, key_points = "stub", tuple(KEY_POINTS)

    def __init__(self, score: float) -> None:
        self.search, self.score = SearchConfig(second_threshold=0.5), score
        self.calibration = mean_face_calibration("stub")

    def detect(self, image: np.ndarray) -> list[Detection]:
        assert self.search.turned == "never"
        if image.shape[0] != 201:  # turned images are larger; drawn ones too
            return []
        return [Detection(np.array([70.0, 70, 130, 130]), key_points_of(FACE) + (3, 4), self.score, 0.0)]


def measured(monkeypatch: pytest.MonkeyPatch, score: float):
    monkeypatch.setattr(detector_rolls, "open_detector", lambda _: Stub(score))
    monkeypatch.setattr(detector_rolls, "FACELESS", 1)
    image = np.zeros((201, 201, 3), np.uint8)
    return measure_rolls(Path("stub"), mean_face_calibration("stub"), [(image, FACE)])


def test_errors_by_hand(monkeypatch: pytest.MonkeyPatch):
    rolls, thresholds = measured(monkeypatch, 0.6)
    assert [(r.roll, r.found) for r in rolls] == [(0, 1)] + [(roll, 0) for roll in detector_rolls.ROLLS[1:]]
    eyes = np.linalg.norm(np.diff(key_points_of(FACE)[:2], axis=0))
    assert rolls[0].key_point_error_percent == pytest.approx(100 * 5 / eyes)  # (3, 4) is 5 long
    assert rolls[0].shift_percent == pytest.approx(100 * 5 / 60, rel=0.02)  # the face's size is 60
    assert rolls[0].turn_degrees == pytest.approx(0, abs=1e-6)
    assert rolls[1].key_point_error_percent is None
    # found upright up to 0.6, and at one of eight rolls
    assert [t.upright_recall_percent for t in thresholds] == [100, 100, 100, 100, 0, 0, 0]
    assert thresholds[0].recall_percent == pytest.approx(100 / 8)
    assert thresholds[0].faceless_percent == 0


def test_rows_by_roll_count_from_the_detectors_own_threshold(monkeypatch: pytest.MonkeyPatch):
    rolls, thresholds = measured(monkeypatch, 0.45)  # below its own 0.5
    assert rolls[0].found == 0
    assert thresholds[1].upright_recall_percent == 100


def test_a_detector_takes_as_long_as_itself():
    file = find_detector("blazeface")[0]
    first, second = time_views([file, file], calls=20)
    assert first == 1
    assert 0.5 < second < 2
