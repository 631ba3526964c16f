"""Labels that are probably wrong, and faces too poor to learn from: checks on the points of many faces at once.

Shape: the mean face is fitted to each label by a similarity (`runtime.frame`), which cannot mirror. What then remains,
in units of the face's size, is small for any pose (0.03 to 0.15 on people's labels) and large for points in a wrong
order; a label that fits well once an error is undone has that error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from pair_fld.data.zero_points import Shift, estimate_shift, eye_distance, remove_shift
from pair_fld.runtime.mean_face import MEAN_FACE

EXCHANGED = "left and right exchanged (mirrored without the swap)"
XY_EXCHANGED = "x and y exchanged"
Y_FROM_BELOW = "y counted from below"
REVERSED = "points in reversed order"
UPSIDE_DOWN = "upside down"
FAR_POINTS = "points far from the face"
NO_SHAPE = "not the shape of a face"
SHIFTED = "shifted against the reference"
DISAGREES = "another place than the reference"
NO_FACE = "no face there for the reference"
UNSURE = "the reference contradicts itself there"
OTHER_LABEL = "another label than its near-duplicate"
SMALL = "too small"
SOFT = "too soft"

# Errors of a whole label: what undoes each.
_UNDO: tuple[tuple[str, Callable[[np.ndarray], np.ndarray]], ...] = (
    (EXCHANGED, lambda p: p * [-1, 1]),
    (XY_EXCHANGED, lambda p: p[..., ::-1]),
    (Y_FROM_BELOW, lambda p: p * [1, -1]),
    (REVERSED, lambda p: p[:, ::-1]),
)
BAD_SHAPE = 0.2  # residual from which a label may have one of these errors
UNDONE = 0.6  # it has it if undoing leaves less than this share of the residual ...
UPRIGHT = 75.0  # ... and an upright face, degrees
NO_FACE_SHAPE = 0.25  # residual of what is no face whatever is undone
FAR = 0.6  # of the face's size: a point so far from where the others put it is far
MANY_FAR = 12  # more far points than these are no outliers
DISAGREEMENT = 12.0  # percent of the eye distance, mean over the points, the source's own shift taken out
FLIPS_APART = 4.0  # percent of the eye distance, median over the points, between a reference's answers on both flips:
# beyond it a disagreement says more of the reference than of the label (of the 20 gravest of 13,945 faces, 18 were so,
# and all 18 labels were right)
OFF = 8.0  # percent of the eye distance that a whole label may be shifted, the source's own shift taken out
OFF_SOURCE = 1.0  # percent of the eye distance: a source whose labels are shifted further is named
DIFFERENT = 6.0  # percent of the eye distance between the labels of two near-duplicates
MIN_SIZE = 24.0  # pixels of the image: the size of the face's frame
MIN_SHARPNESS = 0.035  # see `sharpness`
SHARPNESS_SIDE = 64


@dataclass(frozen=True)
class Verdict:
    """One doubt about a face. row: which. reason: a constant of this module. weight: for ranking, 1 = at the bound.
    detail: in a sentence's words, with the figure."""

    row: int
    reason: str
    weight: float
    detail: str

    def to_json(self) -> dict[str, Any]:
        return {"reason": self.reason, "weight": round(self.weight, 2), "detail": self.detail}


def fit_residual(points: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How faces (n, 51, 2) differ from the mean face; mask (n, 51) bool.

    Returns:
        residual (n,): root mean square distance of the labelled points from the fitted mean face, over the face's size.
        roll (n,): degrees. distance (n, 51): of each point, over the face's size. All nan with fewer than 5 points.
    """
    weight = mask.astype(np.float64)
    enough = weight.sum(axis=1) >= 5
    weight = np.where(enough[:, None], weight, 1.0)
    weight /= weight.sum(axis=1, keepdims=True)
    z, m = np.where(mask, points @ [1, 1j], 0), MEAN_FACE @ [1, 1j]
    z_mean, m_mean = (weight * z).sum(axis=1, keepdims=True), (weight * m).sum(axis=1, keepdims=True)
    spread = np.maximum((weight * np.abs(m - m_mean) ** 2).sum(axis=1), 1e-12)
    a = (weight * (z - z_mean) * np.conj(m - m_mean)).sum(axis=1) / spread
    # the size is taken from the points' own spread: for points in a wrong order the fitted one tends to 0
    size = np.sqrt((weight * np.abs(z - z_mean) ** 2).sum(axis=1) / spread)
    distance = np.abs(z - z_mean - a[:, None] * (m - m_mean)) / np.maximum(size, 1e-12)[:, None]
    distance = np.where(mask & enough[:, None], distance, np.nan)
    residual = np.sqrt((weight * np.nan_to_num(distance) ** 2).sum(axis=1))
    return np.where(enough, residual, np.nan), np.degrees(np.angle(a)), distance


def image_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (n, 51, 2) _pack back in the image, by matrices (n, 2, 3) image -> pack.

    A crop is cut upright by its label, so only in the image does a wrong label show how it is turned.
    """
    linear = np.linalg.inv(matrix[:, :, :2])
    return np.einsum("nij,nkj->nki", linear, points - matrix[:, None, :, 2])


def check_shapes(points: np.ndarray, mask: np.ndarray) -> list[Verdict]:
    """Doubts about labels (n, 51, 2) _img by their shape alone."""
    residual, roll, _ = fit_residual(points, mask)
    undone = []
    for name, undo in _UNDO:
        turned_mask = mask[:, ::-1] if name == REVERSED else mask
        r, angle, _ = fit_residual(undo(points), turned_mask)
        undone.append((name, np.where(np.abs(angle) < UPRIGHT, r, np.inf), np.abs(angle)))
    out = []
    for row in np.flatnonzero(residual > BAD_SHAPE).tolist():
        least = min(float(r[row]) for _, r, _ in undone)
        # all mirrorings fit alike, at angles of their own: the one that leaves the face most upright is it
        name = min((angle[row], n) for n, r, angle in undone if r[row] <= 1.05 * least)[1]
        far = _far_points(points[row], mask[row])
        if least < UNDONE * residual[row]:
            weight = 10 + residual[row] / max(least, 1e-3)
            out.append(Verdict(row, name, weight, f"fits {residual[row] / max(least, 1e-3):.1f} times better undone"))
        elif 0 < len(far) <= MANY_FAR:
            numbers = ", ".join(map(str, far[:5]))
            out.append(Verdict(row, FAR_POINTS, 5 + len(far), f"{len(far)} points: {numbers}"))
        elif residual[row] > NO_FACE_SHAPE:
            out.append(Verdict(row, NO_SHAPE, 4 * residual[row] / NO_FACE_SHAPE, f"residual {residual[row]:.2f}"))
    flipped = (np.abs(roll) > 120) & (residual <= BAD_SHAPE)
    out += [Verdict(int(k), UPSIDE_DOWN, 3.0, f"turned by {roll[k]:.0f} degrees") for k in np.flatnonzero(flipped)]
    return out


def _far_points(points: np.ndarray, mask: np.ndarray) -> list[int]:
    """Points far from where the others put them: the worst is left out until none of the rest is far."""
    left = mask.copy()
    for _ in range(MANY_FAR + 1):
        residual, _, distance = fit_residual(points[None], left[None])
        # a single far point pulls all others: the face fits again once it is out
        if not np.isfinite(residual[0]) or residual[0] <= BAD_SHAPE / 2:
            break
        left[int(np.nanargmax(distance[0]))] = False
    out = np.flatnonzero(mask & ~left)
    return out.tolist() if left.sum() >= 10 else []


def label_shifts(points: np.ndarray, mask: np.ndarray, reference: np.ndarray, source: np.ndarray) -> dict[int, Shift]:
    """Each source's shift against a reference; arguments as `check_reference`'s. Sources without a face to tell it by
    are not there."""
    unit, shifts = eye_distance(points, mask), {}
    for number in np.unique(source).tolist():
        mine = source == number
        shift = estimate_shift(points[mine], reference[mine], mask[mine], unit[mine])
        if shift.faces:
            shifts[number] = shift
    return shifts


def check_reference(
    points: np.ndarray,
    mask: np.ndarray,
    reference: np.ndarray,
    asked: np.ndarray,
    source: np.ndarray,
    apart: np.ndarray | None = None,
) -> list[Verdict]:
    """Doubts about labels (n, 51, 2) by what an annotator or a teacher says, in the same frames.

    Args:
        reference: (n, 51, 2), nan where it found no face.
        asked: (n,) bool, faces that the reference was asked about.
        source: (n,) each source's own shift is taken out before.
        apart: (n,) distance between the reference's answers on both flips, in the points' unit, nan where one is
            lacking; None: it was asked on one flip only.
    """
    unit = eye_distance(points, mask)
    found = np.asarray(np.isfinite(reference).all(axis=(1, 2)))
    labels = points.astype(np.float64)
    for number, shift in label_shifts(points, mask, reference, source).items():
        mine = source == number
        labels[mine] = remove_shift(labels[mine], shift.vector, unit[mine])
    counted = mask & found[:, None]
    off = np.where(counted[..., None], labels - np.nan_to_num(reference), 0.0)
    count = np.maximum(counted.sum(axis=1), 1)
    error = np.linalg.norm(off, axis=-1).sum(axis=1) / count / unit * 100
    mean = off.sum(axis=1) / count[:, None]
    shift = np.linalg.norm(mean, axis=-1) / unit * 100
    rest = np.linalg.norm(np.where(counted[..., None], off - mean[:, None], 0.0), axis=-1).sum(axis=1) / count / unit
    out = []
    sure = np.ones(len(points), bool) if apart is None else apart / unit * 100 <= FLIPS_APART
    for row in np.flatnonzero(counted.any(axis=1) & ((error > DISAGREEMENT) | (shift > OFF))).tolist():
        if not sure[row]:
            out.append(Verdict(row, UNSURE, 0.8, f"{error[row]:.1f} % of the eye distance apart"))
        elif shift[row] > OFF and rest[row] * 100 < OFF:
            out.append(Verdict(row, SHIFTED, shift[row] / OFF, f"by {shift[row]:.1f} % of the eye distance"))
        elif error[row] > DISAGREEMENT:
            detail = f"{error[row]:.1f} % of the eye distance apart"
            out.append(Verdict(row, DISAGREES, error[row] / DISAGREEMENT, detail))
    lost = asked & ~found & mask.any(axis=1)
    return out + [Verdict(int(k), NO_FACE, 0.9, "the reference found no face") for k in np.flatnonzero(lost)]


def check_duplicates(points: np.ndarray, mask: np.ndarray, pairs: np.ndarray) -> list[Verdict]:
    """Doubts about near-duplicates (m, 2) rows whose labels differ; points (n, 51, 2) in frames of equal crops."""
    unit = eye_distance(points, mask)
    out = []
    for a, b in pairs.tolist():
        both = np.flatnonzero(mask[a] & mask[b])
        if not len(both):
            continue
        apart = float(np.linalg.norm(points[a, both] - points[b, both], axis=-1).mean() / unit[a] * 100)
        if apart > DIFFERENT:
            out += [Verdict(k, OTHER_LABEL, apart / DIFFERENT, f"{apart:.1f} % apart from row {o}") for k, o in
                    ((a, b), (b, a))]  # fmt: skip
    return out


def sharpness(crop: np.ndarray) -> float:
    """How much fine detail a (S, S, 3) uint8 BGR crop has: RMS of its Laplacian over the RMS of its contrast.

    Measured at 64 pixels over the crop, so that it does not depend on the packed size.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float32)
    small = cv2.resize(grey, (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=cv2.INTER_AREA)
    contrast = float(small.std())
    return float(cv2.Laplacian(small, cv2.CV_32F).std()) / contrast / 4 if contrast > 1 else 0.0


def check_quality(size_px: np.ndarray, sharp: Sequence[float] | np.ndarray) -> list[Verdict]:
    """Faces with nothing to learn from. size_px: (n,) size of the frame, image pixels. sharp: (n,) `sharpness`."""
    small = [Verdict(int(k), SMALL, MIN_SIZE / max(size_px[k], 1.0), f"{size_px[k]:.0f} pixels")
             for k in np.flatnonzero(size_px < MIN_SIZE)]  # fmt: skip
    sharp = np.asarray(sharp, np.float64)
    soft = [Verdict(int(k), SOFT, min(MIN_SHARPNESS / max(sharp[k], 1e-6), 4.0), f"sharpness {sharp[k]:.3f}")
            for k in np.flatnonzero(sharp < MIN_SHARPNESS)]  # fmt: skip
    return small + soft


# What `prepare audit: drop` leaves out: labels that are wrong for certain. The rest is for people to look at.
CERTAIN = frozenset({EXCHANGED, XY_EXCHANGED, Y_FROM_BELOW, REVERSED, FAR_POINTS, NO_SHAPE})


def rank(verdicts: Sequence[Verdict]) -> list[tuple[int, list[Verdict]]]:
    """Rows with their doubts, the worst first: a row counts as its gravest doubt, ties by row."""
    by_row: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        by_row.setdefault(verdict.row, []).append(verdict)
    for mine in by_row.values():
        mine.sort(key=lambda v: -v.weight)
    return sorted(by_row.items(), key=lambda item: (-item[1][0].weight, item[0]))
