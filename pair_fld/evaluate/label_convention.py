"""Learns where a data set's labels lie against a model's points: on training faces, for `runtime.label_convention`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import ConventionConfig, DataConfig, load_section
from pair_fld.data.sample import Excluded
from pair_fld.errors import PairError
from pair_fld.evaluate.metrics import masked_mean, nme
from pair_fld.evaluate.validate import Predictor, Truth, label_shift_of, listed_truth, load_crops
from pair_fld.runtime.label_convention import NEUTRAL

FOLDS = 5  # of the cross-validation
MIN_FACES = 50  # of a source: below, a point's mean shift is noise


@dataclass(frozen=True)
class Residuals:
    """A model's points on one source's labelled faces, both in units of the face frame's size.

    Attributes:
        predicted, labels: (N, 51, 2), along the axes of the upright crop.
        mask: (N, 51) bool, labelled points.
        weight: of the source, > 0.
    """

    predicted: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    weight: float

    def part(self, rows: np.ndarray) -> Residuals:
        """The faces of a row mask (N,)."""
        return Residuals(self.predicted[rows], self.labels[rows], self.mask[rows], self.weight)

    def nme_percent(self, shift: np.ndarray) -> np.ndarray:
        """NME (N,) under outer_corners with `shift` (51, 2) added to the predictions."""
        return nme(self.predicted + shift, self.labels, self.mask) * 100


@dataclass(frozen=True)
class LabelConvention:
    """What is added to a model's points, and what it is worth.

    Attributes:
        name: of the convention.
        shift: (51, 2) in units of the face frame's size.
        faces: how many it was learnt on.
        per_point: every point has a shift of its own; else all share one.
        nme_percent: NME (outer corners) on faces that the shift did not see, the sources weighted: with nothing added
            ("neutral"), with one shift for all points ("common"), with one for each ("per_point").
    """

    name: str
    shift: np.ndarray
    faces: int
    per_point: bool
    nme_percent: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """As the metadata hold it."""
        return {
            "name": self.name,
            "shift": np.round(self.shift, 5).tolist(),
            "faces": self.faces,
            "per_point": self.per_point,
            "cross_validated_nme_outer_corners_percent": {k: round(v, 3) for k, v in self.nme_percent.items()},
        }


@dataclass(frozen=True)
class ConventionSource:
    """A convention by name, and the faces to learn it on."""

    name: str
    truths: Sequence[Truth]
    weights: Sequence[float]


def open_convention(name: str) -> ConventionSource | None:
    """A convention by name (configs/convention) or path; None for `neutral`.

    Raises:
        PairError: no such convention, or no such faces.
    """
    if name == NEUTRAL:
        return None
    config = load_section(ConventionConfig, "convention", name)
    used = [source for source in config.sources if source.weight > 0]
    if not used:
        raise PairError(f"convention {name}", "a source of weight above 0", "none", "Correct its weights.")
    truths = [listed_truth(DataConfig(sources=[source], root=config.root)) for source in used]
    return ConventionSource(Path(name).stem, truths, [source.weight for source in used])


def learn_convention(model: Predictor, convention: ConventionSource) -> LabelConvention:
    """The mean of labels minus predictions in the face's frame: per point, or one for all where that predicts better.

    Raises:
        PairError: a source has too few faces that can be read.
    """
    sources: list[Residuals] = []
    for truth, weight in zip(convention.truths, convention.weights, strict=True):
        sources.append(_residuals(model, truth, weight))
        if (found := len(sources[-1].labels)) < MIN_FACES:
            remedy = "Name a folder with more faces in a copy of the convention's file."
            raise PairError(f"convention {convention.name}", f"{MIN_FACES} faces of each source", f"{found}", remedy)
    scores = {
        "neutral": _weighted(sources, [s.nme_percent(np.zeros((51, 2))) for s in sources]),
        "common": _cross_validated(sources, per_point=False),
        "per_point": _cross_validated(sources, per_point=True),
    }
    per_point = scores["per_point"] <= scores["common"]
    faces = sum(len(source.labels) for source in sources)
    return LabelConvention(convention.name, mean_shift(sources, per_point), faces, per_point, scores)


def mean_shift(sources: Sequence[Residuals], per_point: bool) -> np.ndarray:
    """(51, 2): labels minus predictions, mean over each source's faces, then over the sources by weight.

    A point that a source does not label takes that source's mean over the others.
    """
    shifts = []
    for source in sources:
        off = np.where(source.mask[..., None], source.labels - source.predicted, np.nan)
        points = masked_mean(np.moveaxis(off, 0, -1))  # (51, 2)
        whole = masked_mean(points.T)
        shifts.append(np.where(np.isfinite(points), points, whole) if per_point else np.tile(whole, (51, 1)))
    return np.average(shifts, axis=0, weights=[source.weight for source in sources])


def _cross_validated(sources: Sequence[Residuals], *, per_point: bool) -> float:
    """NME percent of faces whose fold the shift was not learnt on."""
    errors = [np.full(len(source.labels), np.nan) for source in sources]
    for fold in range(FOLDS):
        held = [np.arange(len(source.labels)) % FOLDS == fold for source in sources]
        shift = mean_shift([s.part(~rows) for s, rows in zip(sources, held, strict=True)], per_point)
        for error, source, rows in zip(errors, sources, held, strict=True):
            error[rows] = source.part(rows).nme_percent(shift)
    return _weighted(sources, errors)


def _weighted(sources: Sequence[Residuals], errors: Sequence[np.ndarray]) -> float:
    return float(np.average([masked_mean(e) for e in errors], weights=[source.weight for source in sources]))


def _residuals(model: Predictor, truth: Truth, weight: float) -> Residuals:
    predicted: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    left_out: list[Excluded] = []
    own, unit = label_shift_of(model), model.margin / model.input_size  # crop pixels to the frame's size
    for _, crops in load_crops(truth, model.input_size, model.margin, left_out):
        predicted += list(model.predict(np.stack([crop.image for crop in crops])) - own)
        labels += [crop.points for crop in crops]
        masks += [crop.point_mask for crop in crops]
    shape = (-1, 51, 2)
    return Residuals(
        np.reshape(predicted, shape) * unit, np.reshape(labels, shape) * unit,
        np.reshape(masks, (-1, 51)).astype(bool), weight,
    )  # fmt: skip
