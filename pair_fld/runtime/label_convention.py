"""Where one data set's annotators put the points, against where a model puts them.

Data sets count pixels from 0 or from 1, and brows and lids are drawn higher in one than in another. A model that learnt
from several of them stands between. A contest that scores one set's labels as they stand is served by adding the mean
difference, which metadata["convention"] holds:

name     of the convention, e.g. pair2024; no entry at all: neutral, nothing is added
shift    51 pairs x, y in units of the face frame's size, along the axes of the upright crop
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .scheme import NUM_POINTS

NEUTRAL = "neutral"
_LARGEST = 0.5  # of the frame's size; no annotators differ by as much


def convention_name(metadata: dict[str, Any]) -> str:
    """The convention that a model's predictions follow."""
    return str(metadata.get("convention", {}).get("name", NEUTRAL))


def label_shift(metadata: dict[str, Any]) -> np.ndarray:
    """What is added to a model's points: (51, 2) float64, pixels of its crop; zeros for a neutral model.

    Raises:
        ValueError: an entry that is no 51 pairs of numbers below half the frame's size.
    """
    entry = metadata.get("convention")
    if entry is None:
        return np.zeros((NUM_POINTS, 2))
    shift = np.asarray(entry["shift"], np.float64)
    if shift.shape != (NUM_POINTS, 2) or not (np.abs(shift) < _LARGEST).all():
        raise ValueError(f"its pair_fld metadata has a convention whose shift is not {NUM_POINTS} small pairs x, y")
    return shift * (float(metadata["input"]["size"]) / float(metadata["crop"]["margin"]))
