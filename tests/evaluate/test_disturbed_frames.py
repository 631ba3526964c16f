from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.data.dataset import DETECTOR_FILE
from pair_fld.evaluate.disturbed_frames import crop_scores, detector_covariance, disturbed_scores
from pair_fld.evaluate.validate import labelled_folder
from pair_fld.io import write_json
from pair_fld.runtime.blazeface_calibration import BUILT_IN
from pair_fld.runtime.confidence import FEATURES, Confidence
from pair_fld.runtime.frame import Frame, place
from pair_fld.runtime.mean_face import MEAN_FACE


class Stubborn:
    """Sees the mean face where an undisturbed crop has it, whatever the crop."""

    input_size, margin = 40, 2.0

    def predict(self, crops: np.ndarray) -> np.ndarray:
        return np.repeat((MEAN_FACE * 20 + 19.5)[None], len(crops), axis=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for k in range(6):
        face = place(Frame((100 + 5 * k, 90), 60 + 4 * k, 15 * k - 40))
        lines = "\n".join(f"{x} {y}" for x, y in face)
        (tmp_path / f"{k}.pts").write_text(f"version: 1\nn_points: 51\n{{\n{lines}\n}}\n")
        cv2.imwrite(str(tmp_path / f"{k}.png"), rng.integers(0, 255, (220, 260, 3), dtype=np.uint8))
    return tmp_path


def test_a_model_that_never_moves_is_off_by_what_the_frames_are(folder: Path):
    # shifts along x alone, of a twentieth of the face's size: the error is that shift over the corners' distance,
    # 2 x 0.3787 of the size, for whatever residuals z: 0.05 |z| / 0.7574, and twice that at two deviations
    covariance = np.zeros((4, 4))
    covariance[0, 0] = 0.05**2
    scores = disturbed_scores(Stubborn(), labelled_folder([folder]), covariance, (0.0, 1.0, 2.0))
    assert [(s.faces, s.rank_correlation) for s in scores] == [(6, None)] * 3
    none, one, two = (s.nme_outer_corners_percent for s in scores)
    assert none == pytest.approx(0, abs=0.05)
    drawn = np.abs(np.random.default_rng(0).standard_normal((6, 4)))
    columns = [100 * 0.05 * drawn[:, k].mean() / 0.7574 for k in range(4)]  # whichever the eigenvectors call the first
    assert min(abs(one - c) for c in columns) < 0.05
    assert two == pytest.approx(2 * one, rel=0.02)


def test_scores_of_crops_that_no_detector_cut_by_hand():
    # the frame of a crop of 40 with margin 2 is 20 pixels wide; the points lie 2 pixels beside it: shift 0.1; a weight
    # of -10 on the shift and a bias of 1 leave 1 - 1 = 0: a score of a half. Points in one place are no face.
    weights = np.zeros(len(FEATURES))
    weights[FEATURES.index("shift")] = -10
    confidence = Confidence(weights, 1.0, np.zeros(len(FEATURES)), 0.0, gain=1.0, power=1.0)
    points = np.stack([MEAN_FACE * 20 + (21.5, 19.5), np.full((51, 2), 5.0)])
    assert crop_scores(points, np.ones((2, 51)), 40, 2.0, confidence) == [pytest.approx(0.5), 0.0]


def test_the_covariance_is_that_of_the_detector_at_hand(tmp_path: Path):
    checkpoint = tmp_path / "best.pt"
    built_in = BUILT_IN["blazeface_128"]
    assert detector_covariance(checkpoint, tmp_path) is built_in.covariance
    measured = replace(built_in, covariance=2 * built_in.covariance)
    write_json(tmp_path / DETECTOR_FILE, {"calibration": measured.to_json()})
    assert detector_covariance(checkpoint, tmp_path) == pytest.approx(2 * built_in.covariance, rel=1e-3)
