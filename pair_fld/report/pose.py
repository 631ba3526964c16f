"""Which way a head is turned, from its 51 points: perspective-n-point against the project's own mean head."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

LEAST_POINTS = 20  # fewer leave the angles open
_FOCAL = 6.0  # focal length over the extent of the points: a face some six faces away, the distance of a portrait
# from the head frame (y up, z to the viewer) to OpenCV's camera (y down, z away)
_TO_CAMERA = np.array([1.0, -1.0, -1.0])


def head_pose(points_img: np.ndarray, point_mask: np.ndarray) -> tuple[float, float, float]:
    """(yaw, pitch, roll) in degrees of a face; nan where fewer than LEAST_POINTS points are labelled.

    yaw is positive for a face that looks to the image's right, pitch for one that looks up, roll for a head turned
    clockwise on screen. The rotation is found by OpenCV's solvePnP (Levenberg-Marquardt on the reprojection error).

    Args:
        points_img: (51, 2) _img. point_mask: (51,) bool, the labelled points.
    """
    mask = np.asarray(point_mask, bool)
    if mask.sum() < LEAST_POINTS:
        return float("nan"), float("nan"), float("nan")
    flat = np.asarray(points_img, np.float64)[mask]
    low, high = flat.min(axis=0), flat.max(axis=0)
    focal, (x, y) = _FOCAL * float((high - low).max()), (low + high) / 2
    camera = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])
    # a start in front of the camera: the iteration cannot cross from behind it
    distance = _FOCAL * float(np.ptp(mean_head()[mask][:, :2], axis=0).max())
    start = np.zeros((3, 1)), np.array([[0.0], [0.0], [distance]])
    good, turn, _ = cv2.solvePnP(
        mean_head()[mask] * _TO_CAMERA, flat, camera, np.zeros(5), *start, True, cv2.SOLVEPNP_ITERATIVE
    )
    if not good or not np.isfinite(turn).all():
        return float("nan"), float("nan"), float("nan")
    return angles(np.outer(_TO_CAMERA, _TO_CAMERA) * cv2.Rodrigues(turn)[0])


def angles(turn: np.ndarray) -> tuple[float, float, float]:
    """(yaw, pitch, roll) in degrees of a rotation (3, 3) in the head frame: `data.synthetic.camera.rotation` reversed.

    >>> angles(np.eye(3))
    (0.0, 0.0, 0.0)
    """
    yaw, pitch = np.arctan2(-turn[2, 0], turn[2, 2]), np.arcsin(np.clip(-turn[2, 1], -1, 1))
    roll = np.arctan2(turn[0, 1], turn[1, 1])
    return float(np.degrees(yaw)) + 0.0, float(np.degrees(pitch)) + 0.0, float(np.degrees(roll)) + 0.0


@lru_cache(maxsize=1)
def mean_head() -> np.ndarray:
    """(51, 3) millimetres in the head frame of `data.synthetic.shape`: x right, y up, z to the viewer."""
    from pair_fld.data.synthetic.shape import load_prior

    return load_prior().mean
