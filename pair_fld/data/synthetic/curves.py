"""Smooth curves through points, and cv2 drawing at sub-pixel positions."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

SHIFT = 4  # fractional bits of the coordinates handed to cv2
_TURN = np.arange(20) * (math.pi / 10)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


@lru_cache(maxsize=32)
def _catmull_rom(count: int, steps: int, closed: bool) -> np.ndarray:
    """Weights (samples, count) of a Catmull-Rom spline through `count` points, `steps` samples a span."""
    t = np.arange(steps) / steps
    square, cube = t**2, t**3
    basis = (
        np.stack([-t + 2 * square - cube, 2 - 5 * square + 3 * cube, t + 4 * square - 3 * cube, cube - square], 1) / 2
    )
    spans = count if closed else count - 1
    weights = np.zeros((spans * steps + (not closed), count))
    for span in range(spans):
        for k in range(4):
            index = span + k - 1
            index = index % count if closed else min(max(index, 0), count - 1)
            weights[span * steps : (span + 1) * steps, index] += basis[:, k]
    if not closed:
        weights[-1, -1] = 1.0
    return weights


def spline(points: np.ndarray, steps: int = 5, closed: bool = False) -> np.ndarray:
    """Sample a curve through points (n, d): (m, d)."""
    weights = _catmull_rom(len(points), steps, closed)
    return weights @ points


def fixed(points: np.ndarray) -> np.ndarray:
    """Pixel coordinates as cv2's fixed-point integers."""
    return np.rint(np.asarray(points) * (1 << SHIFT)).astype(np.int32)


def fill(image: np.ndarray, points: np.ndarray, colour: object) -> None:
    """Fill a polygon (n, 2) with smooth edges."""
    cv2.fillPoly(image, [fixed(points)], colour, cv2.LINE_AA, SHIFT)  # type: ignore[call-overload]


def stroke(image: np.ndarray, points: np.ndarray, colour: object, width: float, closed: bool = False) -> None:
    """Draw a polyline (n, 2) of about `width` pixels."""
    cv2.polylines(image, [fixed(points)], closed, colour, max(1, round(width)), cv2.LINE_AA, SHIFT)  # type: ignore[call-overload]


def disc(image: np.ndarray, at: np.ndarray, axes: tuple[float, float], colour: object, angle: float = 0.0) -> None:
    """Fill an ellipse with the half axes `axes` in pixels, turned by `angle` degrees."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    axis = np.array([(axes[0] * c, axes[0] * s), (-axes[1] * s, axes[1] * c)])
    fill(image, at + _CIRCLE @ axis, colour)


def soften(mask: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a mask; a Gaussian cut at 1.8 sigma, or two boxes where that would be slow."""
    if sigma < 2.0:
        side = 2 * max(1, round(1.8 * sigma)) + 1
        return cv2.GaussianBlur(mask, (side, side), max(sigma, 0.3))
    side = round(2.4 * sigma)
    return cv2.blur(cv2.blur(mask, (side, side)), (side, side))


def lay(image: np.ndarray, tone: np.ndarray, mask: np.ndarray, strength: float = 1.0) -> None:
    """Lay tone, (3,) or (h, w, 3), over image (h, w, 3) uint8 in place, as mask (h, w) uint8 says."""
    if tone.ndim == 1:
        flat = np.empty_like(image)
        flat[:] = np.clip(tone, 0, 255)
        tone = flat
    weight = mask.astype(np.float32)
    weight *= np.float32(strength / 255)
    image[:] = cv2.blendLinear(tone, image, weight, 1 - weight)


def grained(colour: np.ndarray, level: np.ndarray) -> np.ndarray:
    """A colour (3,) times a field (h, w) float32: (h, w, 3) uint8."""
    return cv2.merge([cv2.convertScaleAbs(level, alpha=float(max(c, 0))) for c in colour])
