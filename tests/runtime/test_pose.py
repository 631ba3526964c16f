"""Head pose and openness: exact on the mean head, right in sign, and near on rendered heads."""

from __future__ import annotations

import numpy as np
import pytest

from pair_fld.benchmarks.pose import pose_errors, posed_faces
from pair_fld.data.synthetic.head_shape import head_shape
from pair_fld.runtime.face import face_from_points
from pair_fld.runtime.head_shape import MEAN_HEAD, MODES
from pair_fld.runtime.pose import DISTANCE, fit_pose


def project(turn: np.ndarray, scale: float = 100.0, centre: tuple[float, float] = (300.0, 200.0)) -> np.ndarray:
    q = MEAN_HEAD @ turn.T
    return scale * q[:, :2] * (DISTANCE / (DISTANCE + q[:, 2:])) + centre


def about(axis: int, degrees: float) -> np.ndarray:
    """Rotations of x right, y down, z away: by the right hand about x, y or z."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array(
        [
            [[1, 0, 0], [0, c, -s], [0, s, c]],
            [[c, 0, s], [0, 1, 0], [-s, 0, c]],
            [[c, -s, 0], [s, c, 0], [0, 0, 1]],
        ][axis]
    )


# The nose points to -z. About y by -40 degrees it goes to x = -sin(-40) * ... = to the image's right: yaw 40.
# About x by 20 degrees y = -sin(20) * (-1) ... down is positive, so that the nose goes down: pitch -20.
@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        (np.eye(3), (0, 0, 0)),
        (about(2, 30), (0, 0, 30)),
        (about(1, -40), (40, 0, 0)),
        (about(1, 50), (-50, 0, 0)),
        (about(0, -20), (0, 20, 0)),
        (about(2, 170) @ about(0, 15) @ about(1, -25), (25, -15, 170)),
    ],
)
def test_the_mean_head_is_found_as_it_was_turned(turn: np.ndarray, expected: tuple[float, float, float]) -> None:
    points = project(turn)
    nose, between = points[13], points[[19, 28]].mean(axis=0)
    if expected == (40, 0, 0):
        assert nose[0] > between[0] + 10  # the tip is to the right of the eyes: the image's right
    pose = fit_pose(points)
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx(expected, abs=0.1)
    # the matrix takes the head into the image: scale 100, middle at (300, 200)
    assert pose.matrix[:3, :3] == pytest.approx(100 * turn, abs=0.5)
    assert pose.matrix[:2, 3] == pytest.approx([300, 200], abs=0.5)
    assert pose.matrix[3].tolist() == [0, 0, 0, 1]


def test_rendered_heads_within_60_degrees_are_off_by_four_at_most_on_average() -> None:
    assert (pose_errors(posed_faces(150, 3)).mean(axis=0) < 4).all()


def test_lids_and_lips_that_meet_are_shut_and_lids_apart_are_open() -> None:
    points = project(np.eye(3))
    face = face_from_points(points)
    # its lids are 5.3 apart at a size of 100, in the middle: (0.053 - 0.037) / (0.060 - 0.037) = 0.7
    assert face.openness.eye_left == pytest.approx(0.7, abs=0.03)
    changed = points.copy()
    changed[[20, 21]] = points[[24, 23]]  # the left eye's upper lid lies on the lower
    changed[[26, 27]] -= (0, 2)  # the right one's is two higher
    assert face_from_points(changed).openness.eye_left == 0.0
    assert face_from_points(changed).openness.eye_right > 0.95
    wide = points.copy()
    wide[[48, 49, 50]] += (0, 25)  # a quarter of the face's size of 100
    assert face_from_points(wide).openness.mouth > 0.8 > 0.4 > face.openness.mouth


def test_the_numbers_are_those_of_the_renderer() -> None:
    head, modes = head_shape()
    assert np.abs(head - MEAN_HEAD).max() < 1e-4
    assert np.abs(modes - MODES).max() < 2e-4
