"""Normalised mean error, failure rate, AUC: pure functions on arrays.

Errors are fractions of the normaliser; reports print them in percent. There are three normalisers, and a figure always
names its own:

- `outer_corners`: distance of the outer eye corners, points 19 and 28, the "inter-ocular" distance of 300-W;
- `eye_centres`: distance of the means of the six points per eye, the "inter-pupil" distance of older papers;
- `box`: square root of the area of the 51 points' box, which works at any head pose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pair_fld.data.zero_points import Shift, estimate_shift, eye_distance, remove_shift
from pair_fld.runtime.scheme import EYE_LEFT, EYE_RIGHT, OUTER_EYE_CORNERS, REGIONS

THRESHOLDS = (0.08, 0.10)


def outer_corners(truth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Distance (N,) of points 19 and 28; nan where one of them is not valid."""
    left, right = OUTER_EYE_CORNERS
    distance = np.linalg.norm(truth[:, left] - truth[:, right], axis=-1)
    return np.where(valid[:, left] & valid[:, right], distance, np.nan)


def eye_centres(truth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Distance (N,) of the means of the six points of each eye; nan where one of the twelve is not valid."""
    left, right = truth[:, EYE_LEFT].mean(axis=1), truth[:, EYE_RIGHT].mean(axis=1)
    complete = valid[:, EYE_LEFT].all(axis=1) & valid[:, EYE_RIGHT].all(axis=1)
    return np.where(complete, np.linalg.norm(left - right, axis=-1), np.nan)


def box(truth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Square root of the area (N,) of the valid points' box; nan where fewer than two points are valid.

    A missing inner point (49-point labels) does not change the box; missing outer ones make it smaller.
    """
    low = np.where(valid[..., None], truth, np.inf).min(axis=1)
    high = np.where(valid[..., None], truth, -np.inf).max(axis=1)
    enough = valid.sum(axis=1) >= 2
    extent = np.where(enough[:, None], high, 0.0) - np.where(enough[:, None], low, 0.0)
    return np.where(enough, np.sqrt(np.prod(extent, axis=1)), np.nan)


Normaliser = Callable[[np.ndarray, np.ndarray], np.ndarray]
NORMALISERS: Mapping[str, Normaliser] = {
    "outer_corners": outer_corners,
    "eye_centres": eye_centres,
    "box": box,
}


def point_errors(predicted: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Distance (N, P) of each point, in the unit of the coordinates.

    It is nan where the truth is not valid, and inf where the truth is valid but the prediction is not a finite number:
    a missed point is a failure and is never left out.
    """
    error = np.linalg.norm(np.asarray(predicted, np.float64) - np.asarray(truth, np.float64), axis=-1)
    error = np.where(np.isfinite(predicted).all(axis=-1), error, np.inf)
    return np.where(valid, error, np.nan)


def masked_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without nan values; nan where all are nan (numpy's nanmean warns there)."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=-1)
    count = known.sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def nme(predicted: np.ndarray, truth: np.ndarray, valid: np.ndarray, normaliser: str = "outer_corners") -> np.ndarray:
    """Normalised mean error (N,) of each face, a fraction; nan where the normaliser or every point is missing.

    Args:
        predicted: (N, 51, 2), in any frame.
        truth: (N, 51, 2), in the same frame.
        valid: (N, 51) bool, the labelled points of the truth.
        normaliser: a key of `NORMALISERS`.

    >>> truth = np.zeros((1, 51, 2))
    >>> truth[0, 28] = [100.0, 0.0]  # the outer eye corners, points 19 and 28, are 100 apart
    >>> predicted = truth + [3.0, 4.0]  # every point is off by 5
    >>> nme(predicted, truth, np.ones((1, 51), bool)).round(3).tolist()
    [0.05]
    """
    return normalise(masked_mean(point_errors(predicted, truth, valid)), NORMALISERS[normaliser](truth, valid))


def nme_outer_corners(predicted: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """`nme` under the project's leading normaliser, (N,) fractions."""
    return nme(predicted, truth, valid, "outer_corners")


def shift_removed_nme(
    predicted: np.ndarray, truth: np.ndarray, valid: np.ndarray, normaliser: str = "outer_corners"
) -> tuple[np.ndarray, Shift]:
    """`nme` of one set of faces after its labels were moved to the predictions' zero point; (N,) fractions, and by how
    much they lay to the right and below, percent of the eye distance.

    Sets count pixels from 0 or from 1 and were cut in different ways, so that the same eye corner lies up to 2.5 % of
    the eye distance apart: this is no error of a model. The contest scores labels as they stand. Arguments as `nme`.
    """
    points, mask = np.asarray(truth, np.float64), np.asarray(valid, bool)
    unit = eye_distance(points, mask)
    shift = estimate_shift(points, np.asarray(predicted, np.float64), mask, unit)
    return nme(predicted, remove_shift(points, shift.vector, unit), mask, normaliser), shift


def normalise(error: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """error / unit, nan where the unit is missing or zero."""
    usable = np.isfinite(unit) & (unit > 0)
    return np.where(usable, error / np.where(usable, unit, 1.0), np.nan)


def region_nme(predicted: np.ndarray, truth: np.ndarray, valid: np.ndarray, normaliser: str) -> dict[str, float]:
    """Mean over faces of the NME of each region's points (scheme.REGIONS), fractions; nan for an unlabelled region."""
    errors = point_errors(predicted, truth, valid)
    unit = NORMALISERS[normaliser](truth, valid)
    return {
        name: float(masked_mean(normalise(masked_mean(errors[:, list(points)]), unit)))
        for name, points in REGIONS.items()
    }


def point_nme(predicted: np.ndarray, truth: np.ndarray, valid: np.ndarray, normaliser: str) -> np.ndarray:
    """Mean over faces of each point's error over the normaliser, (51,) fractions; nan for a point labelled nowhere.

    >>> truth = np.zeros((1, 51, 2))
    >>> truth[0, 28] = [100.0, 0.0]  # the outer eye corners are 100 apart
    >>> predicted = truth.copy()
    >>> predicted[0, 7] = [3.0, 4.0]  # one point is off by 5
    >>> point_nme(predicted, truth, np.ones((1, 51), bool), "outer_corners")[[6, 7]].tolist()
    [0.0, 0.05]
    """
    unit = NORMALISERS[normaliser](truth, valid)
    return masked_mean(normalise(point_errors(predicted, truth, valid), unit[:, None]).T)


def plain_number(value: float) -> float | None:
    """A figure for JSON, rounded to 6 decimals; None where it is not finite."""
    return round(float(value), 6) if np.isfinite(value) else None


def failure_rate(errors: np.ndarray, threshold: float) -> float:
    """Share of the scored faces (not nan) whose NME exceeds `threshold`; nan when none is scored."""
    scored = errors[~np.isnan(errors)]
    return float((scored > threshold).mean()) if len(scored) else float("nan")


def auc(errors: np.ndarray, threshold: float) -> float:
    """Area under the cumulative error distribution up to `threshold`, divided by `threshold`: 0 ... 1.

    Exact for the empirical step function: a face of error e counts from e on, so it adds max(0, 1 - e / threshold) / N.
    nan when no face is scored.

    >>> auc(np.array([0.02, 0.06, 0.30]), 0.08)  # (0.75 + 0.25 + 0) / 3
    0.3333333333333333
    """
    scored = errors[~np.isnan(errors)]
    return float(np.clip(1 - scored / threshold, 0, 1).mean()) if len(scored) else float("nan")


def ced(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps of the cumulative error distribution: sorted errors (n,), and the share (n,) of faces up to each."""
    scored = np.sort(errors[~np.isnan(errors)])
    return scored, np.arange(1, len(scored) + 1) / max(len(scored), 1)
