"""Zero points: sources count pixels from 0 or from 1 and were cut in different ways, so that the labels of one lie a
little to one side of another's. The shift is estimated against a reference (an annotator's or a teacher's points).

Shifts are in percent of the distance of the outer eye corners, x to the right and y down, in the image's axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pair_fld.runtime.scheme import OUTER_EYE_CORNERS

# Outer corners' distance over the root of the 51-point box's area, mean of frontal faces: stands in on profiles.
EYES_PER_BOX = 0.79
MIN_POINTS = 25  # labelled points that a face needs to count
SPREAD_OF_MAD = 1.4826  # standard deviation over median absolute deviation, of a normal distribution


@dataclass(frozen=True)
class Shift:
    """How far labels lie from a reference, percent of the eye distance.

    Attributes:
        x, y: median over faces of each face's mean.
        spread: standard deviation of these means (x, y), robust.
        faces: how many counted.
    """

    x: float
    y: float
    spread: tuple[float, float]
    faces: int

    @property
    def size(self) -> float:
        return float(np.hypot(self.x, self.y))

    @property
    def vector(self) -> np.ndarray:
        return np.array([self.x, self.y])

    def to_json(self) -> dict[str, float | int | list[float]]:
        return {
            "x_percent": round(self.x, 3),
            "y_percent": round(self.y, 3),
            "spread_percent": [round(v, 3) for v in self.spread],
            "faces": self.faces,
        }


def eye_distance(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Distance (N,) of the outer eye corners of faces (N, 51, 2); where one is not labelled, what the box tells.

    nan where fewer than two points are labelled. mask: (N, 51) bool.
    """
    left, right = OUTER_EYE_CORNERS
    distance = np.linalg.norm(points[:, left] - points[:, right], axis=-1)
    enough = mask.sum(axis=1) >= 2
    low = np.where(mask[..., None], points, np.inf).min(axis=1)
    high = np.where(mask[..., None], points, -np.inf).max(axis=1)
    extent = np.where(enough[:, None], high, 0.0) - np.where(enough[:, None], low, 0.0)
    by_box = EYES_PER_BOX * np.sqrt(np.prod(extent, axis=1))
    found = np.where(mask[:, left] & mask[:, right], distance, by_box)
    return np.where(enough & (found > 0), found, np.nan)


def face_unit(points: np.ndarray, mask: np.ndarray) -> float:
    """The unit of one face (51, 2): the eye distance, or what the box tells where that is longer.

    The eye distance of a turned face is short, and its labels are no better for it.
    """
    by_box = EYES_PER_BOX * np.sqrt(np.prod(np.ptp(points[mask], axis=0)))
    return float(np.fmax(by_box, eye_distance(points[None], mask[None])[0]))


def estimate_shift(labels: np.ndarray, reference: np.ndarray, mask: np.ndarray, unit: np.ndarray) -> Shift:
    """The shift of labels (N, 51, 2) against a reference in the same frame.

    Args:
        mask: (N, 51) bool, the labelled points; a reference that is not finite does not count either.
        unit: (N,) eye distances, in the points' unit.

    Returns:
        zeros, over 0 faces, where no face has MIN_POINTS points and a unit.
    """
    counted = mask & np.isfinite(reference).all(axis=-1)
    off = np.where(counted[..., None], labels - reference, 0.0).sum(axis=1)
    usable = (counted.sum(axis=1) >= min(MIN_POINTS, mask.shape[1])) & np.isfinite(unit) & (unit > 0)
    if not usable.any():
        return Shift(0.0, 0.0, (0.0, 0.0), 0)
    means = off[usable] / counted[usable].sum(axis=1)[:, None] / unit[usable][:, None] * 100
    middle = np.median(means, axis=0)
    spread = SPREAD_OF_MAD * np.median(np.abs(means - middle), axis=0)
    return Shift(float(middle[0]), float(middle[1]), (float(spread[0]), float(spread[1])), int(usable.sum()))


def remove_shift(labels: np.ndarray, shift: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Labels (N, 51, 2) brought to the reference's zero point. shift: (2,) percent. unit: (N,) eye distances."""
    return labels - np.nan_to_num(unit)[:, None, None] * np.asarray(shift) / 100
