"""Conventions: where a source's annotators put each point. Some draw brows higher, others mouth corners further out.

A source's convention is the difference of its labels from a reference (an annotator's or a teacher's points), point by
point, beside its zero point: the mean over the points is 0. It is the same for a face and for its mirror image, so
training on mirrored images takes nothing from it.

Offsets are percent of a face's `face_unit`, along the axes of the upright face: x to the right and y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pair_fld.data.zero_points import face_unit
from pair_fld.runtime.frame import fit_frame
from pair_fld.runtime.scheme import FLIP, NUM_POINTS

# What counts, percent of the face unit: answers on both flips at most so far apart, labels at most so far from them.
FLIPS_APART, FARTHEST = 4.0, 12.0
CONVENTION_FACES = 1000  # of a source, evenly spread: a point's median is then known to 0.1 % of the eye distance
LEAST_FACES = 20  # a point that fewer faces show has no offset; a source with fewer has no zero point either


@dataclass(frozen=True, eq=False)
class PointConvention:
    """Where labels lie against a reference, point by point.

    Attributes:
        offsets: (51, 2) percent, symmetric and of mean 0; nan where too few faces show the point.
        faces: how many have a point that counted.
    """

    offsets: np.ndarray
    faces: int

    @property
    def rms(self) -> float:
        """Root of the mean squared length of the offsets, percent."""
        return rms(self.offsets)

    def to_json(self) -> dict[str, Any]:
        points = [None if np.isnan(x) else [round(float(x), 3), round(float(y), 3)] for x, y in self.offsets]
        return {"rms_percent": round(self.rms, 3), "faces": self.faces, "points_percent": points}


def rms(offsets: np.ndarray) -> float:
    """Root of the mean squared length of offsets (51, 2); points that are nan do not count, nan where all are."""
    known = offsets[~np.isnan(offsets).any(axis=1)]
    return float(np.sqrt((known**2).sum(axis=1).mean())) if len(known) else np.nan


def estimate_convention(
    labels: np.ndarray, reference: np.ndarray, apart: np.ndarray, mask: np.ndarray
) -> PointConvention | None:
    """The convention of labels (N, 51, 2) against a reference in the same images.

    Each point's offset is the median over faces of label minus reference in the upright face; then the mean over the
    points is taken out, and the mean with the mirror image is formed.

    Args:
        apart: (N, 51) how far the reference's answers on both flips lie apart, in the labels' unit; nan does not count.
        mask: (N, 51) bool, the labelled points; a reference that is not finite does not count either.

    Returns:
        None where no point is known from LEAST_FACES faces.
    """
    off = np.full(labels.shape, np.nan)
    for face, (points, said, gap, known) in enumerate(zip(labels, reference, apart, mask, strict=True)):
        unit, turn = face_unit(points, known) if known.any() else np.nan, upright_axes(points, known)
        if turn is None or not unit > 0:
            continue
        away = (points - said) @ turn / unit * 100
        near = np.linalg.norm(np.nan_to_num(away, nan=np.inf), axis=1) <= FARTHEST
        counted = known & near & (np.nan_to_num(gap, nan=np.inf) <= FLIPS_APART / 100 * unit)
        off[face, counted] = away[counted]
    seen = ~np.isnan(off[..., 0])
    enough = seen.sum(axis=0) >= LEAST_FACES
    if not enough.any():
        return None
    middle = np.full((NUM_POINTS, 2), np.nan)
    middle[enough] = np.nanmedian(off[:, enough], axis=0)
    return PointConvention(symmetric(middle), int(seen.any(axis=1).sum()))


def mean_convention(conventions: Sequence[PointConvention]) -> np.ndarray:
    """The mean (51, 2) of several conventions, each counting alike; 0 where none of them knows the point."""
    return np.nan_to_num(symmetric(_mean_of_known([one.offsets for one in conventions])))


def symmetric(offsets: np.ndarray) -> np.ndarray:
    """Offsets (51, 2) less their mean over the points, averaged with their mirror image; again of mean 0.

    A point that is nan takes its mirror image's offset; a pair that is nan stays so.
    """
    offsets = offsets - np.nanmean(offsets, axis=0)
    both = _mean_of_known([offsets, offsets[list(FLIP)] * [-1, 1]])
    return both - np.nanmean(both, axis=0)


def move_points(points: np.ndarray, offsets: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Points (51, 2) of one face moved by offsets (51, 2) in its upright axes; those outside the mask (51,) stay.

    A face whose labelled points give no frame stays as it is.
    """
    turn = upright_axes(points, mask)
    if turn is None:
        return points
    moved = points + offsets @ turn.T * face_unit(points, mask) / 100
    return np.where(mask[:, None], moved, points)


def upright_axes(points: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """The axes of a face (51, 2) as columns (2, 2) of unit length: vectors @ them are in the upright face.

    None where the points inside the mask (51,) give no frame.
    """
    try:
        angle = np.deg2rad(fit_frame(points, weights=mask).roll)
    except ValueError:
        return None
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def _mean_of_known(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of tables (51, 2), point by point over those that are not nan there; nan where all are."""
    stack = np.stack(tables)
    known = ~np.isnan(stack)
    count = known.sum(axis=0)
    total = np.where(known, stack, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
