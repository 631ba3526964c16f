"""Learning what a face's score means, from faces that the model was not trained on and images without any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch.nn import functional as F

from pair_fld.evaluate.disturbances import DISTURBANCES, disturb
from pair_fld.evaluate.metrics import nme
from pair_fld.runtime.confidence import FEATURES, SECOND_FEATURES, Confidence, face_features
from pair_fld.runtime.detection import box_iou
from pair_fld.runtime.frame import fit_frame
from pair_fld.runtime.geometry import points_box
from pair_fld.runtime.image_file import ImageFile
from pair_fld.runtime.pipeline import Pipeline
from pair_fld.runtime.search import search_steps

GOOD_NME = 0.08  # outer corners: a face below it counts as right
FACE_NME, NO_FACE_NME = 0.2, 0.5  # below: a face that was found; above: none, or one that is seen upside down
SAME_FACE = 0.15  # IoU of a detection's box and a label's, from which they are one face
RANKS = 9  # errors between which the score is to tell faces apart: so many quantiles of those of the faces
_LEAST, _LEAST_OF_A_KIND = 60, 12  # candidates, and right or wrong ones among them: fewer tell nothing


@dataclass(frozen=True)
class Candidates:
    """What a pipeline saw.

    Attributes:
        features: (n, F), see `runtime.confidence.FEATURES`.
        nme: (n,) fractions under outer corners; inf for what is no face.
        second: (n, 2) of a second crop, see `runtime.confidence.SECOND_FEATURES`.
        spreads, errors: (n, 51) spread of each point's heatmap and distance from its label, over the face's size; nan
            where a point is not labelled.
    """

    features: np.ndarray
    nme: np.ndarray
    second: np.ndarray
    spreads: np.ndarray
    errors: np.ndarray


def collect_candidates(
    pipeline: Pipeline, images: Iterable[tuple[np.ndarray, Sequence[np.ndarray]]], seed: int = 0
) -> Candidates:
    """Everything in the first views, upright and turned, that the detector takes for a face, doubtful ones included.

    Args:
        pipeline: its detector and model; its own scores and thresholds play no part.
        images: (image (H, W, 3) uint8 BGR, labelled faces (51, 2) _img, nan where a point is not labelled). An image
            with a face is looked at disturbed in each of the ways of `disturbances`; in it only what lies on the first
            labelled face is taken, because others may be faces that nobody labelled. A face whose outer corners are
            not labelled has no error to learn from and is left out.
        seed: of the disturbances.
    """
    rng = np.random.default_rng(seed)
    search = pipeline.detector.search
    pipeline.detector.search = replace(
        search,
        first_threshold=0.75 * search.first_threshold,
        second_threshold=0.75 * search.second_threshold,
        turned="auto",
    )
    rows = []
    try:
        for image, faces in images:
            if not faces:
                rows += _candidates(pipeline, image, None)
                continue
            for kind in DISTURBANCES:
                rows += _candidates(pipeline, *disturb(image, faces[0], kind, rng))
    finally:
        pipeline.detector.search = search
    widths = (len(FEATURES), 1, len(SECOND_FEATURES), 51, 51)
    columns = zip(*rows, strict=True) if rows else [np.zeros((0, n)) for n in widths]
    features, errors_of_faces, second, spreads, errors = (np.array(list(column), np.float64) for column in columns)
    return Candidates(features, errors_of_faces.reshape(-1), second, spreads, errors)


def _candidates(
    pipeline: Pipeline, image: np.ndarray, label: np.ndarray | None
) -> list[tuple[np.ndarray, float, np.ndarray, np.ndarray, np.ndarray]]:
    height, width = image.shape[:2]
    valid = None if label is None else np.asarray(np.isfinite(label).all(axis=1))
    file, rows = ImageFile.of_array(image), []
    steps = islice(search_steps(width, height, pipeline.detector), 2)
    for detection in (d for step in steps for d in pipeline.detector.detect_in(image, step.views)):
        if label is not None and box_iou(detection.box, points_box(label, valid)[None])[0] < SAME_FACE:
            continue
        try:
            (frame,), (points,), spreads = pipeline.settle(file, [pipeline.calibration.frame(detection)])
            if spreads is None:
                raise TypeError("a model without heatmaps has no spread to learn a confidence from")
            features = face_features(points, spreads[0], frame, detection.score)
            second = pipeline.second_crop_features(file, points, fit_frame(points))
        except ValueError:
            continue
        error, errors = np.inf, np.full(len(points), np.nan)
        if label is not None and valid is not None:
            known = np.nan_to_num(label)
            error = float(nme(points[None], known[None], valid[None])[0])
            if np.isnan(error):
                continue
            errors = np.where(valid, np.linalg.norm(points - known, axis=1), np.nan) / frame.size
        rows.append((features, error, second, spreads[0] / frame.size, errors))
    return rows


def learn_confidence(candidates: Candidates) -> Confidence:
    """What tells good faces from bad ones, and faces from none, and the gain from spreads to deviations.

    Raises:
        ValueError: too few candidates, or too few of one kind.
    """
    good = candidates.nme < GOOD_NME
    if len(good) < _LEAST or min(good.sum(), (~good).sum()) < _LEAST_OF_A_KIND:
        raise ValueError(
            f"expected {_LEAST} or more candidates, right ones and wrong ones among them, found {len(good)} with "
            f"{good.sum()} right"
        )
    weights, bias = _score_law(candidates.features, candidates.nme)
    # what lies between is a face that is badly seen: it teaches neither
    plain = (candidates.nme < FACE_NME) | (candidates.nme > NO_FACE_NME)
    face = candidates.nme[plain, None] < FACE_NME
    presence_weights, (presence_bias,) = _logistic(candidates.features[plain], face)
    more = np.column_stack([candidates.features, candidates.second])
    again_weights, (again_bias,) = _logistic(more[plain], face)
    gain, power = _deviation_law(candidates)
    return Confidence(
        weights, bias, presence_weights, float(presence_bias), gain, power, len(good), again_weights, float(again_bias)
    )


def _score_law(features: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and intercept of the probability that a face's NME is below GOOD_NME.

    The weights are those of proportional odds (McCullagh, "Regression Models for Ordinal Data", 1980): one set that
    tells smaller errors from larger ones at each of RANKS quantiles, so that the score orders all faces and not only
    those near GOOD_NME. Their scale and the intercept then make the score a probability.
    """
    good, face = errors < GOOD_NME, errors < NO_FACE_NME
    bounds = np.unique(np.quantile(errors[face], np.linspace(0, 1, RANKS + 2)[1:-1]))
    direction, _ = _logistic(features[face], errors[face, None] <= bounds)
    if min((good & face).sum(), (~good & face).sum()) < _LEAST_OF_A_KIND:
        face = np.ones(len(errors), bool)  # hardly a bad face: what is none stands in for it
    scale, (bias,) = _logistic(features[face] @ direction[:, None], good[face, None])
    return direction * scale[0], float(bias)


def _logistic(features: np.ndarray, below: np.ndarray, decay: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Weights (F,) and intercepts (K,) of the K binary columns of `below` (n, K), which share the weights, by maximum
    likelihood with a slight pull of the standardised weights to zero; `features`: (n, F)."""
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    x, y = torch.from_numpy((features - mean) / deviation), torch.from_numpy(below.astype(np.float64))
    count = features.shape[1]
    solution = torch.zeros(count + below.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([solution], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits((x @ solution[:count])[:, None] + solution[count:], y)
        loss = loss + decay * solution[:count].square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = solution.detach().numpy()
    weights = found[:count] / deviation
    return weights, found[count:] - weights @ mean


def _deviation_law(candidates: Candidates, bins: int = 12) -> tuple[float, float]:
    """(gain, power) of deviation = gain * spread ** power, from the errors' root mean squares in bins of spread.

    A distance is the length of two errors along the axes, so a deviation along one is 1 / sqrt(2) of it. Faces that
    are lost altogether (NME above 0.3) say nothing about their points.
    """
    usable = np.isfinite(candidates.errors) & (candidates.nme < 0.3)[:, None]
    spreads, errors = np.log(candidates.spreads[usable]), candidates.errors[usable]
    edges = np.quantile(spreads, np.linspace(0, 1, bins + 1))
    place = np.clip(np.searchsorted(edges, spreads, side="right") - 1, 0, bins - 1)
    filled = [k for k in range(bins) if (place == k).any()]
    x = np.array([spreads[place == k].mean() for k in filled])
    y = np.array([np.log(np.sqrt(np.square(errors[place == k]).mean() / 2)) for k in filled])
    power, gain = np.polyfit(x, y, 1)
    return float(np.exp(gain)), float(power)


def calibration_error(scores: np.ndarray, good: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: how far the share of good faces lies from the mean score, in equal bins of score,
    weighted by their faces (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017)."""
    place = np.minimum((scores * bins).astype(int), bins - 1)
    return float(
        sum(abs(scores[place == k].mean() - good[place == k].mean()) * (place == k).mean() for k in np.unique(place))
    )


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two sequences; ties take the mean of their ranks."""
    ranks = []
    for values in (a, b):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[inverse])
    return float(np.corrcoef(*ranks)[0, 1])
