"""The mean of several models, of several views of each face, and of an annotator: what a teacher of them is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pair_fld.data.augment.geometric import VIEW_PAIRS
from pair_fld.data.sample import Crop, Sample
from pair_fld.data.second_opinion import Reference
from pair_fld.data.zero_points import face_unit
from pair_fld.errors import PairError
from pair_fld.evaluate.validate import Predictor, label_shift_of
from pair_fld.runtime.frame import Frame, frame_matrix
from pair_fld.runtime.geometry import invert, transform_points, warp
from pair_fld.runtime.scheme import FLIP, NUM_POINTS

MAX_VIEWS = 2 * len(VIEW_PAIRS)
ROOM = 1.25  # the farthest corner of these views lies 1.06 (cos 8 + sin 8) = 1.20 half sides from the middle

# How far predictions go towards an annotator's answer, and the bounds on its use, percent of the eye distance: between
# its answers on both flips, and between it and the predictions. Chosen on 267 held-back training faces, where weights
# of 0.3 to 0.5, flips of 2 to 6, agreements of 5 to 100 and weights that follow the deviations of both differ by a
# hundredth of a point.
ANNOTATOR_WEIGHT, FLIPS_APART, AGREEMENT = 0.35, 4.0, 10.0


def _mirrored(model: Predictor, crops: np.ndarray) -> np.ndarray:
    """A model's answer on the mirror images of crops, mirrored back: (B, 51, 2) crop pixels, less its label shift."""
    points = model.predict(np.ascontiguousarray(crops[:, :, ::-1])) - label_shift_of(model)
    points = points[:, list(FLIP)]
    points[..., 0] = model.input_size - 1 - points[..., 0]
    return points


class MirrorAverage:
    """A Predictor whose answer is the mean of another's on each crop and on its mirror image.

    The shift of a model's label convention is one of the image's axes: it is not mirrored.
    """

    def __init__(self, model: Predictor) -> None:
        self.model, self.input_size, self.margin = model, model.input_size, model.margin
        self.label_shift = label_shift_of(model)

    def predict(self, crops: np.ndarray) -> np.ndarray:
        return (self.model.predict(crops) + _mirrored(self.model, crops) + self.label_shift) / 2


class ModelAverage:
    """A Predictor whose answer is the mean of several on the same crops; PairError when they want different ones."""

    def __init__(self, models: Sequence[Predictor]) -> None:
        self.models, self.input_size, self.margin = models, models[0].input_size, models[0].margin
        self.label_shift = np.mean([label_shift_of(model) for model in models], axis=0)
        crops = sorted({(model.input_size, model.margin) for model in models})
        if len(crops) > 1:
            found = ", ".join(f"{size} px at margin {margin:g}" for size, margin in crops)
            raise PairError("models to average", "equal crops", found, "Average models of one input_size and margin.")

    def predict(self, crops: np.ndarray) -> np.ndarray:
        return np.mean([model.predict(crops) for model in self.models], axis=0)


class ViewAverage:
    """A Predictor whose answer is the mean of several models', each on several views of the face.

    All views are cut from one crop, wider than those of the models and as fine as the finest of them, so the models
    may want crops of different sizes and margins.

    Args:
        views: views of each face that are averaged: 1 is the plain crop, 2 adds its mirror image, 3 to 10 are also
            turned and scaled a little.
    """

    def __init__(self, models: Sequence[Predictor], views: int = 1) -> None:
        if not 1 <= views <= MAX_VIEWS:
            raise PairError("--views", f"1 to {MAX_VIEWS}", str(views), "Give another number.")
        self.models, self.views = models, views
        self.margin = ROOM * max(model.margin for model in models)
        self.input_size = round(self.margin * max(model.input_size / model.margin for model in models))

    def predict(self, crops: np.ndarray) -> np.ndarray:
        """(B, S, S, 3) uint8 BGR crops to (B, 51, 2) crop pixels."""
        return np.mean([self._view(model, crops, k) for model in self.models for k in range(self.views)], axis=0)

    def _view(self, model: Predictor, crops: np.ndarray, number: int) -> np.ndarray:
        degrees, scale = VIEW_PAIRS[number // 2]
        middle, size = (self.input_size - 1) / 2, self.input_size / self.margin
        matrix = frame_matrix(Frame((middle, middle), size * scale, degrees), model.input_size, model.margin)
        seen = np.stack([warp(crop, matrix, model.input_size) for crop in crops])
        shift = label_shift_of(model)
        points = _mirrored(model, seen) if number % 2 else model.predict(seen) - shift
        placed = transform_points(invert(matrix), points.reshape(-1, 2)).reshape(points.shape)
        # a shift of the labels' convention is one of the upright crop: it neither turns nor is mirrored
        return placed + shift * (model.margin * size / model.input_size)


def towards_annotator(
    predicted: np.ndarray, samples: Sequence[Sample], crops: Sequence[Crop], annotator: Reference
) -> np.ndarray:
    """Predictions (B, 51, 2) _crop, moved towards an annotator's answers where these agree with themselves and them.

    A point stays where the annotator's two flips, or it and the prediction, lie too far apart, and where it found no
    face: on large yaw a mesh fails and the networks lead.
    """
    out = predicted.astype(np.float64)
    for points, sample, crop in zip(out, samples, crops, strict=True):
        answer = annotator.answer(sample.key, sample.path)
        if answer is None:
            continue
        unit, scale = face_unit(points, np.ones(NUM_POINTS, bool)), np.sqrt(abs(np.linalg.det(crop.matrix[:, :2])))
        away = transform_points(crop.matrix, np.nan_to_num(answer[0])) - points
        apart = np.nan_to_num(answer[1] * scale, nan=np.inf)
        used = np.isfinite(answer[0]).all(axis=1) & (apart <= FLIPS_APART / 100 * unit)
        used &= np.linalg.norm(away, axis=1) <= AGREEMENT / 100 * unit
        points[used] += ANNOTATOR_WEIGHT * away[used]
    return out
