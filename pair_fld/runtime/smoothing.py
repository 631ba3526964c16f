"""Smooths the points of one face from frame to frame without letting them trail.

A complementary filter: the last smoothed points move on as the images say (`motion`), then a share of what is left to
the model's points is added. A cutoff sets the share. As in the One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) it
is not fixed: it rises with the distance between the two, averaged over time.
"""

from __future__ import annotations

from typing import Optional

import numpy as np

from .frame import Frame, frame_matrix, snapped
from .geometry import invert, transform_points
from .image_file import ImageFile
from .motion import grey_levels, measure_motion

# Side of the crops in pixels, and over the face's size.
CROP_SIDE, CROP_MARGIN = 96, 1.45
# Cutoff (Hz), and by how much it rises with the distance from the followed to the model's points (Hz per face size),
# which is averaged at a cutoff of its own (Hz). Chosen on rendered videos of seeds 31 to 33.
CUTOFF, SLOPE, APART_CUTOFF = 0.3, 8.0, 3.0
FAR = 0.05  # of the face's size: from this distance on the model's points count more, and from twice as far alone


class FaceFilter:
    """Smooths the points of one face from frame to frame.

    Args:
        strength: 0: points stay as they are; 1: as chosen on rendered videos; the cutoff is divided by it.
    """

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self._points: Optional[np.ndarray] = None  # noqa: UP045 (Python 3.9)
        self._crop, self._matrix, self._apart = np.zeros((0, 0)), np.zeros((2, 3)), np.zeros((51, 2))

    def __call__(self, image: ImageFile, points: np.ndarray, frame: Frame, seconds: float) -> np.ndarray:
        """The smoothed points (51, 2) _img of the model's.

        Args:
            image: the video's frame.
            points: (51, 2) _img.
            frame: of these points, or a near one. For the one that they were found in the model may have cut the crop
                that is wanted here already.
            seconds: since the last call, > 0; the first call's does not matter.
        """
        if self.strength <= 0:
            return points
        matrix = frame_matrix(snapped(frame), CROP_SIDE, CROP_MARGIN)
        crop = grey_levels(image.crop(matrix, CROP_SIDE))
        smooth = points
        if self._points is not None:
            before = transform_points(self._matrix, self._points)
            guess = transform_points(matrix, points) - before
            followed = transform_points(invert(matrix), before + measure_motion(self._crop, crop, before, guess))
            apart = (points - followed) / frame.size
            self._apart = self._apart + _share(APART_CUTOFF, seconds) * (apart - self._apart)
            cutoff = (CUTOFF + SLOPE * np.hypot(*self._apart.T)) / self.strength
            taken = np.maximum(_share(cutoff, seconds), np.clip(np.hypot(*apart.T) / FAR - 1, 0, 1))
            smooth = followed + taken[:, None] * apart * frame.size
        self._points, self._crop, self._matrix = smooth, crop, matrix
        return smooth.copy()


def _share(cutoff: np.ndarray | float, seconds: float) -> np.ndarray | float:
    """What a first-order low-pass filter takes of a new value (0 ... 1)."""
    turn = 2 * np.pi * cutoff * seconds
    return turn / (turn + 1)
