"""The labelled faces of a report, and what each model predicts on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pair_fld.data.sample import Excluded
from pair_fld.errors import PairError
from pair_fld.evaluate.report import Result, evaluate
from pair_fld.evaluate.validate import Predictor, Truth, load_crops
from pair_fld.progress import Progress, no_progress
from pair_fld.report.attributes import CROP_MARGIN, face_attributes
from pair_fld.runtime.confidence import Confidence, confidence_from_json
from pair_fld.runtime.frame import Frame
from pair_fld.runtime.geometry import invert, transform_points
from pair_fld.runtime.session import Model

TILE = 224  # side of the crops that are kept, pixels
_QUALITY = 88  # of the JPEG in which they are kept


@dataclass(frozen=True)
class FaceSet:
    """N labelled faces.

    Attributes:
        names, sources: of each face.
        points: (N, 51, 2) _img, zero where not labelled.
        point_mask: (N, 51) bool.
        matrices: (N, 2, 3), image to tile.
        tiles: JPEG files (TILE x TILE) of upright crops.
        attributes: (N, 6), see `attributes.ATTRIBUTES`.
        left_out: what could not be read.
    """

    names: tuple[str, ...]
    sources: tuple[str, ...]
    points: np.ndarray
    point_mask: np.ndarray
    matrices: np.ndarray
    tiles: tuple[bytes, ...]
    attributes: np.ndarray
    left_out: tuple[Excluded, ...]

    def tile(self, k: int) -> np.ndarray:
        """(TILE, TILE, 3) uint8 BGR of face k."""
        image = cv2.imdecode(np.frombuffer(self.tiles[k], np.uint8), cv2.IMREAD_COLOR)
        assert image is not None  # it was encoded here
        return image

    def on_tile(self, k: int, points_img: np.ndarray) -> np.ndarray:
        """Points (51, 2) of face k, _img, in its tile's pixels."""
        return transform_points(self.matrices[k], points_img)


@dataclass(frozen=True)
class Predictions:
    """One model on a `FaceSet`: points (N, 51, 2) _img, deviations (N, 51) _img or None, scores."""

    points: np.ndarray
    deviations: np.ndarray | None
    result: Result


def load_faces(truth: Truth, progress: Progress = no_progress) -> FaceSet:
    """Read the labelled faces; PairError when none can be read."""
    left_out = list(truth.left_out)
    names, sources, points, masks, matrices, tiles, attributes = [], [], [], [], [], [], []
    for samples, crops in load_crops(truth, TILE, CROP_MARGIN, left_out):
        for sample, crop in zip(samples, crops, strict=True):
            back = invert(crop.matrix)
            points_img = np.where(crop.point_mask[:, None], transform_points(back, crop.points), 0.0)
            scale = float(np.sqrt(abs(np.linalg.det(back[:, :2]))))
            x, y = transform_points(back, np.full(2, (TILE - 1) / 2))
            roll = float(np.degrees(np.arctan2(back[1, 0], back[0, 0])))
            frame = Frame((float(x), float(y)), TILE / CROP_MARGIN * scale, roll)
            names.append(sample.key)
            sources.append(truth.config.sources[sample.source].name)
            points.append(points_img)
            masks.append(crop.point_mask)
            matrices.append(crop.matrix)
            tiles.append(cv2.imencode(".jpg", crop.image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
            attributes.append(face_attributes(crop.image, frame, points_img, crop.point_mask))
        progress(len(names) + len(left_out), len(truth.samples) + len(truth.left_out))
    if not names:
        raise PairError("the labelled faces", "at least one that can be read", "none", left_out[0].sentence)
    return FaceSet(
        tuple(names), tuple(sources), np.stack(points), np.stack(masks), np.stack(matrices), tuple(tiles),
        np.stack(attributes), tuple(left_out),
    )  # fmt: skip


def predict_faces(model: Predictor, truth: Truth, faces: FaceSet, progress: Progress = no_progress) -> Predictions:
    """A model on every face of `faces`, which `load_faces` read from the same `truth`."""
    points, deviations = [], []
    left_out: list[Excluded] = []
    confidence = _confidence(model)
    for _, crops in load_crops(truth, model.input_size, model.margin, left_out):
        images = np.stack([crop.image for crop in crops])
        found, spreads = model.locate(images) if isinstance(model, Model) else (model.predict(images), None)
        for k, crop in enumerate(crops):
            back = invert(crop.matrix)
            points.append(transform_points(back, found[k]))
            if spreads is not None and confidence is not None:
                scale = float(np.sqrt(abs(np.linalg.det(back[:, :2]))))
                size = model.input_size / model.margin * scale
                deviations.append(confidence.deviations(spreads[k] * scale, size))
        progress(len(points), len(faces.names))
    predicted = np.stack(points)
    result = evaluate(predicted, faces.points, faces.point_mask, faces.sources, faces.names)
    return Predictions(predicted, np.stack(deviations) if deviations else None, result)


def _confidence(model: Predictor) -> Confidence | None:
    """What an exported model knows of its own errors; None where it carries nothing."""
    tree = model.metadata.get("confidence") if isinstance(model, Model) else None
    return None if tree is None else confidence_from_json(tree)


def ranked(result: Result, sources: Sequence[str] | None = None) -> np.ndarray:
    """Indices of the faces with an NME under outer_corners, the best first; of some sources only, where named."""
    errors = result.nme["outer_corners"]
    known = ~np.isnan(errors)
    if sources is not None:
        known &= np.isin(np.array(result.source_names), list(sources))
    return np.flatnonzero(known)[np.argsort(errors[known], kind="stable")]
