"""Angles of projected heads, against the renderer's own camera."""

from __future__ import annotations

import numpy as np
import pytest

from pair_fld.data.synthetic.camera import Camera, rotation
from pair_fld.report.pose import angles, head_pose, mean_head

ANGLES = [(0, 0, 0), (40, 0, 0), (-35, 10, 0), (0, 20, -15), (20, -15, 25)]


@pytest.mark.parametrize("truth", ANGLES)
def test_a_rotation_gives_its_angles_back(truth: tuple[float, float, float]) -> None:
    assert angles(rotation(*truth)) == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize("truth", ANGLES)
def test_the_pose_of_a_projected_mean_head(truth: tuple[float, float, float]) -> None:
    """A camera 1 m away that looks at the neck, 45 mm below the eyes: 2.6 degrees, and some for another distance."""
    camera = Camera(rotation(*truth), np.eye(3), 1000.0, 2.0, np.array([300.0, 200.0]))
    points, _ = camera.project(mean_head())
    assert head_pose(points, np.ones(51, bool)) == pytest.approx(truth, abs=4.0)


def test_too_few_points_leave_it_open() -> None:
    assert np.isnan(head_pose(np.random.default_rng(0).normal(size=(51, 2)), np.arange(51) < 19)).all()
