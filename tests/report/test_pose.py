"""Angles of projected heads, against the renderer's own camera."""

from __future__ import annotations

import numpy as np
import pytest

from pair_fld.data.synthetic.camera import Camera, rotation
from pair_fld.data.synthetic.shape import load_prior
from pair_fld.report.pose import head_pose
from pair_fld.runtime.scheme import EYE_RIGHT, REGIONS

ANGLES = [(0, 0, 0), (40, 0, 0), (-35, 10, 0), (0, 20, -15), (20, -15, 25)]


def projected(truth: tuple[float, float, float]) -> np.ndarray:
    """The mean head's points, seen by a camera 1 m away that looks at the neck, 2.6 degrees below the eyes."""
    camera = Camera(rotation(*truth), np.eye(3), 1000.0, 2.0, np.array([300.0, 200.0]))
    return camera.project(load_prior().mean)[0]


@pytest.mark.parametrize("truth", ANGLES)
def test_the_pose_of_a_projected_mean_head(truth: tuple[float, float, float]) -> None:
    assert head_pose(projected(truth), np.ones(51, bool)) == pytest.approx(truth, abs=4.0)


@pytest.mark.parametrize("truth", ANGLES)
def test_points_that_are_not_labelled_are_not_used(truth: tuple[float, float, float]) -> None:
    """Half of the face is hidden, and its points lie at zero."""
    mask = np.ones(51, bool)
    mask[[*EYE_RIGHT, *REGIONS["brow_right"]]] = False
    points = np.where(mask[:, None], projected(truth), 0.0)
    assert head_pose(points, mask) == pytest.approx(truth, abs=5.0)


def test_too_few_points_leave_it_open() -> None:
    assert np.isnan(head_pose(np.random.default_rng(0).normal(size=(51, 2)), np.arange(51) < 19)).all()
