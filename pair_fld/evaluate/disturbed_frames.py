"""What a model makes of crops that are off as a detector's are: its NME at one, two and three deviations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pair_fld.data.dataset import stored_covariance
from pair_fld.evaluate.confidence import GOOD_NME, calibration_error, rank_correlation
from pair_fld.evaluate.metrics import nme
from pair_fld.evaluate.validate import Predictor, Truth, load_crops
from pair_fld.runtime.blazeface_calibration import BUILT_IN
from pair_fld.runtime.calibration import calibration_from_json
from pair_fld.runtime.confidence import TRACKED_DETECTOR_SCORE, Confidence, confidence_from_json, face_features
from pair_fld.runtime.frame import Frame, frame_matrix, move_frame
from pair_fld.runtime.geometry import transform_points, warp
from pair_fld.runtime.session import Model, read_metadata

LOOSE = 1.8  # side of the crops that are loaded, over that of the crops cut from them: room for three deviations
DEVIATIONS = (0.0, 1.0, 2.0, 3.0)


@dataclass(frozen=True)
class DisturbedScore:
    """One row.

    Attributes:
        deviations: what the detector's residuals are multiplied by; 0 for the labels' own frames.
        nme_outer_corners_percent: mean over the faces that have both corners.
        rank_correlation: of the mean spread of a face's heatmaps with its NME; None for a model without heatmaps.
        score_rank_correlation: of a face's score with its NME; None for a model file without a confidence.
        calibration_error: see `confidence.calibration_error`; None likewise.
    """

    deviations: float
    faces: int
    nme_outer_corners_percent: float
    rank_correlation: float | None
    score_rank_correlation: float | None = None
    calibration_error: float | None = None

    def __str__(self) -> str:
        text = f"frames {self.deviations:g} deviations off: NME (outer corners) {self.nme_outer_corners_percent:.2f} %"
        if self.rank_correlation is not None:
            text += f", rank correlation of spread and error {self.rank_correlation:.2f}"
        if self.score_rank_correlation is not None:
            text += f", of score and error {self.score_rank_correlation:.2f}, calibration error "
            text += f"{self.calibration_error:.3f}"
        return text


def detector_covariance(model: Path, dataset: Path) -> np.ndarray:
    """(4, 4) covariance of the frames of the detector that a model file was packed for, else of the one that was
    measured on the training images of the data folder `dataset`, else of BlazeFace as it comes with this package."""
    if model.suffix.lower() in (".tflite", ".onnx"):
        tree = read_metadata(model).get("crop", {}).get("detector_calibration")
        if tree is not None:
            return calibration_from_json(tree).covariance
    measured = stored_covariance(dataset)
    return BUILT_IN["blazeface_128"].covariance if measured is None else measured


def disturbed_scores(
    model: Predictor,
    truth: Truth,
    covariance: np.ndarray,
    deviations: Sequence[float] = DEVIATIONS,
    seed: int = 0,
) -> tuple[DisturbedScore, ...]:
    """Score a model on crops of frames that differ from the labels' by `deviations` times a drawn residual.

    The same residuals, drawn from the covariance, serve every row: rows differ by their factor alone.

    Args:
        covariance: (4, 4) of `frame.frame_residual`.
        seed: of the residuals.
    """
    rng = np.random.default_rng(seed)
    # not Cholesky's: a detector of boxes only knows no roll, and its covariance is singular
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    size = round(LOOSE * model.input_size)
    errors: list[list[float]] = [[] for _ in deviations]
    spreads: list[list[float]] = [[] for _ in deviations]
    scores: list[list[float]] = [[] for _ in deviations]
    tree = model.metadata.get("confidence") if isinstance(model, Model) else None
    confidence = None if tree is None else confidence_from_json(tree)
    for _, loaded in load_crops(truth, size, LOOSE * model.margin, []):
        residuals = [root @ rng.standard_normal(4) for _ in loaded]
        for row, factor in enumerate(deviations):
            matrices = []
            for crop, residual in zip(loaded, residuals, strict=True):
                x, y, side, roll = (float(v) for v in crop.frame)
                frame = move_frame(Frame((x, y), side, roll), factor * residual)
                matrices.append(frame_matrix(frame, model.input_size, model.margin))
            crops = np.stack([warp(c.image, m, model.input_size) for c, m in zip(loaded, matrices, strict=True)])
            predicted, spread = model.locate(crops) if isinstance(model, Model) else (model.predict(crops), None)
            labels = np.stack([transform_points(m, c.points) for c, m in zip(loaded, matrices, strict=True)])
            errors[row] += nme(predicted, labels, np.stack([c.point_mask for c in loaded])).tolist()
            if spread is not None:
                spreads[row] += spread.mean(axis=1).tolist()
            if spread is not None and confidence is not None:
                scores[row] += crop_scores(predicted, spread, model.input_size, model.margin, confidence)
    return tuple(
        _row(factor, np.array(error), np.array(spread), np.array(score))
        for factor, error, spread, score in zip(deviations, errors, spreads, scores, strict=True)
    )


def crop_scores(
    points_crop: np.ndarray, spreads_crop: np.ndarray, size: int, margin: float, confidence: Confidence
) -> list[float]:
    """Scores of faces whose crops no detector cut; points that span no face have 0.

    Args:
        points_crop: (B, 51, 2).
        spreads_crop: (B, 51).
        size: side of the crops.
        margin: side over the face's size.
    """
    frame, scores = Frame(((size - 1) / 2, (size - 1) / 2), size / margin), list[float]()
    for points, spreads in zip(points_crop, spreads_crop, strict=True):
        try:
            scores.append(confidence.score(face_features(points, spreads, frame, TRACKED_DETECTOR_SCORE)))
        except ValueError:
            scores.append(0.0)
    return scores


def _row(factor: float, errors: np.ndarray, spreads: np.ndarray, scores: np.ndarray) -> DisturbedScore:
    known = np.isfinite(errors)
    mean = float(errors[known].mean()) * 100 if known.any() else float("nan")
    of_spread = of_score = apart = None
    if len(spreads) and known.sum() > 1:
        of_spread = rank_correlation(spreads[known], errors[known])
    if len(scores) and known.sum() > 1:
        of_score = rank_correlation(scores[known], errors[known])
        apart = calibration_error(scores[known], errors[known] < GOOD_NME)
    return DisturbedScore(factor, int(known.sum()), mean, of_spread, of_score, apart)
