"""Which way a labelled head is turned, also where points are not labelled, as in profiles."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from pair_fld.runtime.pose import fit_pose

LEAST_POINTS = 20  # fewer leave the angles open
_FOCAL = 7.0  # focal length over the extent of the points: a face seven faces away, as runtime.pose sees it
# from the head frame (y up, z to the viewer) to OpenCV's camera (y down, z away)
_TO_CAMERA = np.array([1.0, -1.0, -1.0])


def head_pose(points_img: np.ndarray, point_mask: np.ndarray) -> tuple[float, float, float]:
    """(yaw, pitch, roll) in degrees as `runtime.pose.Pose`; nan where fewer than LEAST_POINTS points are labelled.

    Points that are not labelled take the place that a rigid mean head has in the image (OpenCV's solvePnP,
    Levenberg-Marquardt on the reprojection error) before the pose is fitted.

    Args:
        points_img: (51, 2) _img.
        point_mask: (51,) bool, the labelled points.
    """
    mask, points = np.asarray(point_mask, bool), np.asarray(points_img, np.float64)
    unknown = float("nan"), float("nan"), float("nan")
    if mask.sum() < LEAST_POINTS:
        return unknown
    try:
        pose = fit_pose(points if mask.all() else np.where(mask[:, None], points, _rigid(points[mask], mask)))
    except ValueError:
        return unknown
    return pose.yaw, pose.pitch, pose.roll


def _rigid(flat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(51, 2) _img of the mean head, fitted to the labelled points `flat` (n, 2)."""
    low, high = flat.min(axis=0), flat.max(axis=0)
    focal, (x, y) = _FOCAL * float((high - low).max()), (low + high) / 2
    camera = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])
    solid = _mean_head() * _TO_CAMERA
    # a start in front of the camera: the iteration cannot cross from behind it
    distance = _FOCAL * float(np.ptp(solid[mask][:, :2], axis=0).max())
    turn, shift = np.zeros((3, 1)), np.array([[0.0], [0.0], [distance]])
    good, turn, shift = cv2.solvePnP(solid[mask], flat, camera, np.zeros(5), turn, shift, True, cv2.SOLVEPNP_ITERATIVE)
    if not good:
        raise ValueError("expected points that a head fits, found others")
    return cv2.projectPoints(solid, turn, shift, camera, np.zeros(5))[0].reshape(-1, 2)


@lru_cache(maxsize=1)
def _mean_head() -> np.ndarray:
    """(51, 3) millimetres in the head frame of `data.synthetic.shape`: x right, y up, z to the viewer."""
    from pair_fld.data.synthetic.shape import load_prior

    return load_prior().mean
