"""Images made harder, with their labels: turned, occluded, blurred. Used to calibrate scores and to test them."""

from __future__ import annotations

import cv2
import numpy as np

from pair_fld.runtime.frame import Frame, frame_matrix
from pair_fld.runtime.geometry import points_box, transform_points, warp

DISTURBANCES = ("none", "turned", "occluded", "blurred")


def disturb(
    image: np.ndarray, points: np.ndarray, kind: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) and its face's points (51, 2) _img (nan where not labelled), made harder in one way."""
    if kind == "turned":
        return turn(image, points, float(rng.uniform(-180, 180)))
    if kind == "occluded":
        return occlude(image, points, rng), points
    if kind == "blurred":
        return _blur(image, points, rng), points
    return image, points


def turn(image: np.ndarray, points: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The image turned clockwise on screen by `degrees`, on a black square that holds all of it; nothing is scaled."""
    height, width = image.shape[:2]
    side = int(np.ceil(np.hypot(height, width))) + 1
    view = Frame(((width - 1) / 2, (height - 1) / 2), side, -degrees)
    matrix = frame_matrix(view, side, 1.0)
    return warp(image, matrix, side), transform_points(matrix, points)


def _face(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Box and its longer side."""
    box = points_box(points, np.asarray(np.isfinite(points).all(axis=1)))
    return box, float((box[2:] - box[:2]).max())


def occlude(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One or two patches over the face: a colour, or a part of the image itself, up to two thirds of its box."""
    box, side = _face(points)
    height, width = image.shape[:2]
    out = image.copy()
    for _ in range(int(rng.integers(1, 3))):
        extent = np.maximum(rng.uniform(0.25, 0.75, 2) * side, 2)
        centre = rng.uniform(box[:2], box[2:])
        low = np.clip(centre - extent / 2, 0, [width - 2, height - 2]).astype(int)
        high = np.minimum((low + extent).astype(int) + 1, [width, height])
        target = out[low[1] : high[1], low[0] : high[0]]
        if rng.random() < 0.5:
            start = rng.integers(0, [width, height] - (high - low) + 1)
            patch = image[start[1] : start[1] + target.shape[0], start[0] : start[0] + target.shape[1]].copy()
        else:
            patch = np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), target.shape)
        target[:] = patch
    return out


def _blur(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur of 1 to 7 % of the face's size."""
    return cv2.GaussianBlur(image, (0, 0), max(0.3, rng.uniform(0.01, 0.07) * _face(points)[1]))
