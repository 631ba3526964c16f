"""`pairfld fit-scheme`: learn the linear map from N points to the 51 by ridge regression, one map a flip.

Both shapes are brought to the face frame (`data.point_map`); there each of the 51 is regressed on all N points, brought
to their principal components first so that 478 points cost no more than 110. Faces that fit badly (a wrong label, a
mesh that slipped) count less: iteratively reweighted least squares. The ridge is chosen by cross-validation over people
or images. The sources' zero points are estimated together with the map (`data.zero_points`): map and shifts in turn,
until the shifts stand still; the map is learnt at the zero point of one of the sources, or at that of `MIRROR`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pair_fld.annotators.pairs import Pairs
from pair_fld.data.point_map import PointMap
from pair_fld.data.sample import evenly_spread
from pair_fld.data.zero_points import Shift, estimate_shift, eye_distance, remove_shift
from pair_fld.errors import PairError
from pair_fld.evaluate.metrics import masked_mean
from pair_fld.progress import Progress, no_progress
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.scheme import FLIP, NUM_POINTS, REGIONS

RIDGES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
COMPONENTS = 220
FOLDS = 5
LEAST_FACES = 20
STILL = 0.003  # percent of the eye distance: shifts that change less have settled
ROUNDS = 40
ZERO_FACES = 400  # of a source, evenly spread, that its zero point is estimated on: known to 0.05 % then
# A zero point of no source. x: where the points of a face and of its mirror image agree, so that training on mirrored
# faces does not see every label in two places; y: the mean of the faces.
MIRROR = "mirror"
OUTLIER = 2.5  # times the median residual, from where a face counts less


@dataclass(frozen=True)
class FitReport:
    """What a map is worth: cross-validated NME in percent of the outer corners' distance, each source's shift removed.

    Attributes:
        ridges: NME by ridge, mean of the sources.
        regions, sources: NME of the chosen one.
        own_convention: by source, what is left of it when the map's points are moved to where the source's annotators
            put each: by the median over the source's faces of the other folds.
        shifts: by source, label minus map.
        zero: the source that gives the zero point, or MIRROR.
        faces, missed: by source.
    """

    ridge: float
    nme: float
    ridges: Mapping[float, float]
    regions: Mapping[str, float]
    sources: Mapping[str, float]
    own_convention: Mapping[str, float]
    shifts: Mapping[str, Shift]
    faces: Mapping[str, int]
    missed: Mapping[str, int]
    zero: str

    def to_json(self) -> dict[str, Any]:
        return {
            "ridge": self.ridge,
            "nme_outer_corners_percent": round(self.nme, 4),
            "nme_by_ridge_percent": {f"{ridge:g}": round(v, 4) for ridge, v in self.ridges.items()},
            "nme_by_region_percent": {k: round(v, 4) for k, v in self.regions.items()},
            "nme_by_source_percent": {k: round(v, 4) for k, v in self.sources.items()},
            "nme_by_source_at_own_convention_percent": {k: round(v, 4) for k, v in self.own_convention.items()},
            "shifts": {k: v.to_json() for k, v in self.shifts.items()},
            "faces": dict(self.faces),
            "missed": dict(self.missed),
            "zero_point": self.zero,
        }


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of m faces as complex numbers (m,): image point = scale * local point + origin (`runtime.frame`)."""

    scale: np.ndarray
    origin: np.ndarray

    @classmethod
    def fit(cls, points_img: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None) -> Frames:
        """The frames of (m, P, 2) points by their (P, 2) reference, as `runtime.frame.fit_frame` finds them."""
        z, r = points_img @ [1, 1j], (reference @ [1, 1j])[None]
        weight = np.ones(z.shape) if mask is None else mask.astype(np.float64)
        z = np.where(weight > 0, z, 0)
        weight = weight / weight.sum(axis=1, keepdims=True)
        z_mean, r_mean = (weight * z).sum(axis=1, keepdims=True), (weight * r).sum(axis=1, keepdims=True)
        spread = (weight * np.abs(r - r_mean) ** 2).sum(axis=1)
        scale = (weight * (z - z_mean) * np.conj(r - r_mean)).sum(axis=1) / spread
        return cls(scale, z_mean[:, 0] - scale * r_mean[:, 0])

    def to_local(self, points_img: np.ndarray) -> np.ndarray:
        """(m, P, 2) _img in the frames."""
        return _xy((points_img @ [1, 1j] - self.origin[:, None]) / self.scale[:, None])

    def to_image(self, local: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Local points (m', P, 2) of the chosen faces, _img."""
        return _xy(self.scale[chosen, None] * (local @ [1, 1j]) + self.origin[chosen, None])


def _xy(z: np.ndarray) -> np.ndarray:
    return np.stack([np.real(z), np.imag(z)], axis=-1)


@dataclass(frozen=True, eq=False)
class _Flip:
    """One flip's m faces, ready for regression. rows: which pairs. features: (m, k + 1), (local - mean) @ axes and 1.
    reference: (N, 2). mean: (2N,). axes: (2N, k)."""

    rows: np.ndarray
    features: np.ndarray
    frames: Frames
    reference: np.ndarray
    mean: np.ndarray
    axes: np.ndarray

    def predict(self, weights: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(m', 51, 2) _img of the chosen faces of this flip."""
        return self.frames.to_image(np.tensordot(self.features[chosen], weights, axes=1), chosen)


def fit_scheme(
    pairs: Pairs, *, zero: str | None = None, ridges: Sequence[float] = RIDGES, progress: Progress = no_progress
) -> tuple[PointMap, FitReport]:
    """Learn the map.

    Args:
        zero: name of the source whose zero point the map gets, by default the first one; or MIRROR.

    Raises:
        PairError: too few faces, no source of that name, or MIRROR without answers on both flips.
    """
    if len(pairs) < LEAST_FACES:
        raise PairError("fit-scheme", f"{LEAST_FACES} faces or more", str(len(pairs)), "Annotate more images.")
    zero = pairs.sources[0] if zero is None else zero
    if zero not in (*pairs.sources, MIRROR):
        raise PairError("--zero", f"one of {', '.join(pairs.sources)}, {MIRROR}", zero, "Correct the name.")
    mirrored = zero not in pairs.sources
    reference = 0 if mirrored else pairs.sources.index(zero)
    flips = _flips(pairs)
    if mirrored and len(flips) < 2:
        raise PairError(f"--zero {MIRROR}", "answers on both flips", "one flip", "Annotate without --one-flip.")
    unit = eye_distance(pairs.target, pairs.mask)
    few = pairs.pick(_few(pairs))
    steps = 1 + len(ridges)
    progress(0, steps, "zero points")
    shifts = _settle(few, reference, ridges[len(ridges) // 2])
    target = _at_zero(pairs, shifts, unit)
    fold = _folds(pairs.group)
    scores: dict[float, np.ndarray] = {}
    for k, ridge in enumerate(ridges):
        progress(1 + k, steps, f"ridge {ridge:g}")
        scores[ridge] = _cross_validate(pairs, flips, target, unit, fold, ridge)
    by_ridge = {ridge: _mean_of_sources(pairs, masked_mean(_length(off))) for ridge, off in scores.items()}
    best = min(by_ridge, key=by_ridge.__getitem__)
    shifts = _settle(few, reference, best, shifts)
    if mirrored:
        shifts = _at_mirror(few, shifts, best)
    target = _at_zero(pairs, shifts, unit)
    errors, own = _length(scores[best]), masked_mean(_length(_at_own_convention(scores[best], pairs.source, fold)))
    regions = {name: _mean_of_sources(pairs, masked_mean(errors[:, list(of)])) for name, of in REGIONS.items()}
    point_map = _point_map(pairs, flips, target, best, np.array([by_ridge[best], *regions.values()]))
    progress(steps, steps)
    return point_map, FitReport(
        best,
        by_ridge[best],
        by_ridge,
        regions,
        {name: _mean(masked_mean(errors[pairs.source == k])) for k, name in enumerate(pairs.sources)},
        {name: _mean(own[pairs.source == k]) for k, name in enumerate(pairs.sources)},
        {name: shifts[k] for k, name in enumerate(pairs.sources)},
        {name: int((pairs.source == k).sum()) for k, name in enumerate(pairs.sources)},
        dict(zip(pairs.sources, pairs.missed, strict=True)),
        zero,
    )


def _prepare(pairs: Pairs, flip: int) -> _Flip | None:
    """A flip's features; None where no face was answered on it."""
    rows = np.flatnonzero(np.isfinite(pairs.points[:, flip]).all(axis=(1, 2)) & (pairs.mask.sum(axis=1) >= 2))
    if not len(rows):
        return None
    points = pairs.points[rows, flip]
    # the mean shape in the frames of the labels; then every face is aligned to it by its own N points alone
    labelled = Frames.fit(pairs.target[rows], MEAN_FACE, pairs.mask[rows])
    reference = np.median(labelled.to_local(points), axis=0)
    frames = Frames.fit(points, reference)
    usable = np.isfinite(frames.scale) & (np.abs(frames.scale) > 0)
    rows, points, frames = rows[usable], points[usable], Frames(frames.scale[usable], frames.origin[usable])
    local = frames.to_local(points).reshape(len(rows), -1)
    mean = local.mean(axis=0)
    centred = local - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, : min(COMPONENTS, local.shape[1])]
    features = np.column_stack([centred @ axes, np.ones(len(local))])
    return _Flip(rows, features, frames, reference, mean, axes)


def _solve(flip: _Flip, target: np.ndarray, weight: np.ndarray, ridge: float) -> np.ndarray:
    """Weights (k + 1, 51, 2) of the ridge regression. target: (m, 51, 2) in the frames; weight: (m, 51)."""
    x = flip.features
    penalty = np.diag(np.append(np.full(x.shape[1] - 1, ridge), 1e-9))
    # faces with all points share one Gram matrix; the few others are added point by point
    whole = (weight == weight[:, :1]).all(axis=1)
    weighted = x[whole] * weight[whole, :1]
    gram = weighted.T @ x[whole] + penalty
    right = np.tensordot(weighted.T, target[whole], axes=1)
    part, part_target, part_weight = x[~whole], target[~whole], weight[~whole]
    out = np.empty((x.shape[1], NUM_POINTS, 2))
    for j in range(NUM_POINTS):
        mine = part * part_weight[:, j : j + 1]
        out[:, j] = np.linalg.solve(gram + mine.T @ part, right[:, j] + mine.T @ part_target[:, j])
    return out


def _fit(flip: _Flip, pairs: Pairs, target: np.ndarray, use: np.ndarray, ridge: float) -> np.ndarray:
    """Weights learnt from the faces that `use` (n,) allows; those that fit badly count less."""
    local = flip.frames.to_local(target[flip.rows])
    mask = pairs.mask[flip.rows] & use[flip.rows][:, None]
    weight = mask.astype(np.float64)
    found = _solve(flip, local, weight, ridge)
    residual = np.linalg.norm(np.tensordot(flip.features, found, axes=1) - local, axis=-1)
    face = masked_mean(np.where(mask, residual, np.nan))
    limit = OUTLIER * np.nanmedian(face)
    trust = np.minimum(1.0, (limit / np.maximum(np.nan_to_num(face, nan=limit), 1e-12)) ** 2)
    return _solve(flip, local, weight * trust[:, None], ridge)


def _predict(pairs: Pairs, flips: Sequence[_Flip], weights: Sequence[np.ndarray], use: np.ndarray) -> np.ndarray:
    """(n, 51, 2) _img: the mean of the flips, nan where none answers or `use` is False."""
    total, count = np.zeros((len(pairs), NUM_POINTS, 2)), np.zeros(len(pairs))
    for flip, own in zip(flips, weights, strict=True):
        chosen = use[flip.rows]
        if chosen.any():
            total[flip.rows[chosen]] += flip.predict(own, chosen)
            count[flip.rows[chosen]] += 1
    return np.where(count[:, None, None] > 0, total / np.maximum(count, 1)[:, None, None], np.nan)


def _flips(pairs: Pairs) -> list[_Flip]:
    return [flip for k in (0, 1) if (flip := _prepare(pairs, k)) is not None]


def _few(pairs: Pairs) -> np.ndarray:
    """Rows of at most ZERO_FACES faces of each source."""
    rows = [np.flatnonzero(pairs.source == k) for k in range(len(pairs.sources))]
    return np.concatenate([r[evenly_spread(len(r), ZERO_FACES)] for r in rows])


def _settle(pairs: Pairs, zero: int, ridge: float, start: list[Shift] | None = None) -> list[Shift]:
    """The sources' shifts against that of `zero`, estimated in turn with the map."""
    flips, unit = _flips(pairs), eye_distance(pairs.target, pairs.mask)
    everyone = np.ones(len(pairs), bool)
    shifts = start or [Shift(0.0, 0.0, (0.0, 0.0), 0)] * len(pairs.sources)
    if len(pairs.sources) == 1:
        return shifts
    for _ in range(ROUNDS):
        target = _at_zero(pairs, shifts, unit)
        weights = [_fit(flip, pairs, target, everyone, ridge) for flip in flips]
        found = _predict(pairs, flips, weights, everyone)
        raw = []
        for k in range(len(pairs.sources)):
            of = pairs.source == k
            raw.append(estimate_shift(pairs.target[of], found[of], pairs.mask[of], unit[of]))
        base = raw[zero]
        new = [Shift(s.x - base.x, s.y - base.y, s.spread, s.faces) for s in raw]
        change = max(np.abs(a.vector - b.vector).max() for a, b in zip(new, shifts, strict=True))
        shifts = new
        if change < STILL:
            break
    return shifts


def _at_mirror(pairs: Pairs, shifts: Sequence[Shift], ridge: float) -> list[Shift]:
    """The shifts against the zero point of `MIRROR`.

    One map is learnt for images and mirror images alike. Labels that lie to the right of the faces lie to the left of
    the mirrored ones, so the map can have neither: half the difference of what remains is how far they are off.
    """
    unit = eye_distance(pairs.target, pairs.mask)
    mask, mirror, order = pairs.mask, np.array([-1, 1]), list(FLIP)
    points = np.concatenate([pairs.points[:, 0], pairs.points[:, 1] * mirror])
    both = replace(
        pairs,
        points=np.stack([points, np.full_like(points, np.nan)], axis=1),
        target=np.concatenate([pairs.target, pairs.target]),  # replaced in every round
        mask=np.concatenate([mask, mask[:, order]]),
        source=np.tile(pairs.source, 2),
        group=np.tile(pairs.group, 2),
    )
    everyone = np.ones(len(both), bool)
    faces = [shift.faces or int((pairs.source == k).sum()) for k, shift in enumerate(shifts)]
    down = float(np.average([shift.y for shift in shifts], weights=faces))
    shifts = [replace(shift, y=shift.y - down) for shift in shifts]
    for _ in range(ROUNDS):  # the map has a part of a shift: how the faces are turned tells some of it
        target = _at_zero(pairs, shifts, unit)
        both = replace(both, target=np.concatenate([target, target[:, order] * mirror]))
        flip = _prepare(both, 0)
        assert flip is not None  # there are answers on both flips
        found = _predict(both, [flip], [_fit(flip, both, both.target, everyone, ridge)], everyone)
        there, back = slice(len(pairs)), slice(len(pairs), None)
        right, left = (estimate_shift(both.target[k], found[k], both.mask[k], unit).x for k in (there, back))
        shifts = [replace(shift, x=shift.x + (right - left) / 2) for shift in shifts]
        if abs(right - left) / 2 < STILL:
            break
    return shifts


def _at_zero(pairs: Pairs, shifts: Sequence[Shift], unit: np.ndarray) -> np.ndarray:
    out = pairs.target.copy()
    for k, shift in enumerate(shifts):
        of = pairs.source == k
        out[of] = remove_shift(pairs.target[of], shift.vector, unit[of])
    return out


def _folds(group: np.ndarray) -> np.ndarray:
    """(n,) fold of each face; a group is in one fold. Fixed, whatever the order."""
    _, index = np.unique(group, return_inverse=True)
    return (np.random.default_rng(0).permutation(index.max() + 1) % FOLDS)[index]


def _cross_validate(
    pairs: Pairs, flips: Sequence[_Flip], target: np.ndarray, unit: np.ndarray, fold: np.ndarray, ridge: float
) -> np.ndarray:
    """Errors (n, 51, 2) of faces that the map did not see, percent, in the axes of the upright face.

    nan where a point is not labelled or not found.
    """
    out = np.full((len(pairs), NUM_POINTS, 2), np.nan)
    scale = Frames.fit(target, MEAN_FACE, pairs.mask).scale
    upright = np.abs(scale) / scale  # turns a difference _img
    for k in range(FOLDS):
        held = fold == k
        if not held.any():
            continue
        weights = [_fit(flip, pairs, target, ~held, ridge) for flip in flips]
        found = _predict(pairs, flips, weights, held)
        off = _xy((found - target) @ [1, 1j] * (upright / unit)[:, None] * 100)
        out[held] = np.where(pairs.mask[..., None], off, np.nan)[held]
    return out


def _at_own_convention(off: np.ndarray, source: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Errors (n, 51, 2) less the median of their point over the faces of the same source in other folds (n,)."""
    out = off.copy()
    for mine in (source == k for k in np.unique(source)):
        for held in (fold == k for k in np.unique(fold)):
            others = off[mine & ~held]
            seen = ~np.isnan(others[..., 0]).all(axis=0)  # (51,)
            out[np.ix_(mine & held, seen)] -= np.nanmedian(others[:, seen], axis=0)
    return out


def _length(off: np.ndarray) -> np.ndarray:
    return np.linalg.norm(off, axis=-1)


def _mean_of_sources(pairs: Pairs, errors: np.ndarray) -> float:
    """Each source counts alike, however many faces it has."""
    return _mean(np.array([_mean(errors[pairs.source == k]) for k in range(len(pairs.sources))]))


def _mean(values: np.ndarray) -> float:
    return float(masked_mean(values))


def _point_map(pairs: Pairs, flips: Sequence[_Flip], target: np.ndarray, ridge: float, scores: np.ndarray) -> PointMap:
    everyone = np.ones(len(pairs), bool)
    matrices = []
    for flip in flips:
        weights = _fit(flip, pairs, target, everyone, ridge)
        linear = np.tensordot(flip.axes, weights[:-1], axes=1)
        constant = weights[-1] - np.tensordot(flip.mean, linear, axes=1)
        matrices.append(np.concatenate([linear, constant[None]]))
    return PointMap(
        np.array([flip.reference for flip in flips]),
        np.array(matrices).astype(np.float32),
        pairs.mask.sum(axis=0) >= LEAST_FACES,
        scores,
        np.array(ridge),
        np.array(len(pairs)),
    )
