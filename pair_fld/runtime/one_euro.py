"""The One-Euro filter, and how it smooths a face: in the face's own frame.

Casiez, Roussel and Vogel, "1 Euro Filter: a simple speed-based low-pass filter for noisy input in interactive
systems" (CHI 2012): what rests is smoothed much, what moves is hardly delayed.
"""

from __future__ import annotations

import numpy as np

from .frame import Frame, place

SPEED_CUTOFF = 3.0  # Hz, of the filter of the speeds; the paper's 1 Hz lets a sudden movement trail
# Cutoff at rest (Hz) and its rise with speed (Hz per face size and second), of the frame (place, size, roll) and of the
# 51 points in it. The frame is the mean of 51 points, so it is steady by itself; a head's movement is all in it.
# Chosen on rendered videos, the least jitter of a still face at which the NME of a moving one stays what it is:
# pairfld benchmark tracking --seed 1.
FRAME_CUTOFF, FRAME_SLOPE = 1.0, 60.0
SHAPE_CUTOFF, SHAPE_SLOPE = 1.0, 30.0


class OneEuroFilter:
    """Smooths rows of numbers, each by its own speed.

    Args:
        cutoff: (n, 1) or a number, Hz: of a row at rest. slope: the same, Hz per unit and second: what speed adds.
    """

    def __init__(self, cutoff: np.ndarray | float, slope: np.ndarray | float) -> None:
        self.cutoff, self.slope = cutoff, slope
        self._values: np.ndarray | None = None
        self._speeds = np.zeros(0)

    def __call__(self, values: np.ndarray, seconds: float, units: np.ndarray | float = 1.0) -> np.ndarray:
        """The smoothed rows (n, d) of new ones.

        Args:
            seconds: since the last call, > 0; the first call's does not matter.
            units: (n, 1) or a number: what of the rows' numbers is one unit of speed.
        """
        if self._values is None:
            self._values, self._speeds = values.copy(), np.zeros_like(values)
            return values.copy()
        speeds = (values - self._values) / (units * seconds)
        self._speeds = self._speeds + _share(SPEED_CUTOFF, seconds) * (speeds - self._speeds)
        speed = np.sqrt(np.square(self._speeds).sum(axis=1, keepdims=True))
        share = _share(self.cutoff + self.slope * speed, seconds)
        self._values = self._values + share * (values - self._values)
        return self._values.copy()


def _share(cutoff: np.ndarray | float, seconds: float) -> np.ndarray | float:
    """What a first-order low-pass filter takes of a new value (0 ... 1)."""
    turn = 2 * np.pi * cutoff * seconds
    return turn / (turn + 1)


class FaceFilter:
    """Smooths the points of one face from frame to frame.

    A frame is z = a m + b in complex numbers (see `frame.fit_frame`): b / size and log a = log size + i roll are two
    rows, the points in the frame are 51 more, all in units of the face's size.

    Args:
        strength: 0: points stay as they are; 1: as chosen on rendered videos; the cutoffs are divided by it.
    """

    def __init__(self, strength: float) -> None:
        self.strength = strength
        if strength > 0:
            rows = np.ones((53, 1))
            rows[:2], rows[2:] = FRAME_CUTOFF / strength, SHAPE_CUTOFF / strength
            slopes = np.ones((53, 1))
            slopes[:2], slopes[2:] = FRAME_SLOPE / strength, SHAPE_SLOPE / strength
            self._filter = OneEuroFilter(rows, slopes)
        self._roll = 0.0

    def __call__(self, points: np.ndarray, frame: Frame, seconds: float) -> np.ndarray:
        """The smoothed points (51, 2) _img of new ones with their frame; seconds: since the last call, > 0."""
        if self.strength <= 0:
            return points
        self._roll += (frame.roll - self._roll + 180) % 360 - 180  # no jump from 180 to -180 degrees
        angle = np.deg2rad(self._roll)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shape = (points - np.asarray(frame.centre)) @ turn / frame.size
        rows = np.vstack([frame.centre, [np.log(frame.size), angle], shape])
        units = np.ones((53, 1))
        units[0] = frame.size
        rows = self._filter(rows, seconds, units)
        x, y = rows[0]
        smooth = Frame((float(x), float(y)), float(np.exp(rows[1, 0])), float(np.rad2deg(rows[1, 1])))
        return place(smooth, rows[2:])
