"""Face detectors side by side without a landmark model: recall by roll and by threshold, key points, time of a view.

Views are not turned here: a detector sees each image as it is, so a roll that it does not know is a roll at which it
misses faces.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pair_fld.data.synthetic.faceless import draw_faceless
from pair_fld.evaluate.disturbances import turn
from pair_fld.evaluate.matching import MATCH_IOU, match_boxes
from pair_fld.runtime.calibration import DetectorCalibration
from pair_fld.runtime.centre_detector import KEY_POINTS, key_points_of
from pair_fld.runtime.detection import Detection
from pair_fld.runtime.detector import open_detector
from pair_fld.runtime.frame import fit_frame, frame_residual
from pair_fld.runtime.geometry import points_box
from pair_fld.runtime.search import SearchingDetector

ROLLS = (0, 45, 90, 135, 180, 225, 270, 315)  # degrees
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SHARED_KEY_POINTS = ("right_eye", "left_eye", "nose_tip")  # those of both kinds of detector
LOWEST = 0.2  # score from which detections are collected
FACELESS_SEED, FACELESS = 2024, 200  # no training and no tuning draws from it
CALLS = 200  # per detector, when views are timed


@dataclass(frozen=True)
class RollRow:
    """One detector on faces turned by one angle, at its own threshold.

    Attributes:
        faces: labelled faces.
        found: those that were detected.
        key_point_error_percent: median distance of eyes and nose from the labels, of the eyes' distance.
        shift_percent: median shift of the detection's frame from the labels', of the face's size.
        turn_degrees: median absolute difference of the two frames' rolls.
    """

    detector: str
    roll: int
    faces: int
    found: int
    key_point_error_percent: float | None
    shift_percent: float | None
    turn_degrees: float | None


@dataclass(frozen=True)
class RollThresholdRow:
    """One detector at one threshold: faces found upright and over all rolls, images without a face with a detection."""

    detector: str
    threshold: float
    upright_recall_percent: float
    recall_percent: float
    faceless_percent: float


@dataclass(frozen=True)
class Hit:
    """A labelled face and the detection on it (None: missed); errors as in `RollRow`."""

    roll: int
    score: float
    errors: tuple[float, float, float] | None = None


def measure_rolls(
    file: Path, calibration: DetectorCalibration, faces: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[list[RollRow], list[RollThresholdRow]]:
    """Turn each face by `ROLLS`, detect it, and count.

    Args:
        file: of the detector.
        calibration: where its key points lie in a face.
        faces: images (H, W, 3) uint8 BGR with one labelled face (51, 2) _img each, nan where a point is not labelled.
    """
    detector = open_detector(file)
    own = detector.search.second_threshold
    detector.calibration = calibration
    detector.search = replace(
        detector.search,
        turned="never",
        first_threshold=min(LOWEST, detector.search.first_threshold),
        second_threshold=LOWEST,
    )
    hits = [hit for image, points in faces for hit in _hits(detector, calibration, image, points)]
    images = (draw_faceless(FACELESS_SEED, number)[1] for number in range(FACELESS))
    alarms = [max((d.score for d in detector.detect(image)), default=0.0) for image in images]
    rolls = [_roll_row(detector.name, roll, [hit for hit in hits if hit.roll == roll], own) for roll in ROLLS]
    upright = [hit.score for hit in hits if hit.roll == 0]
    every = [hit.score for hit in hits]
    thresholds = [
        RollThresholdRow(detector.name, t, _percent(upright, t), _percent(every, t), _percent(alarms, t))
        for t in THRESHOLDS
    ]
    return rolls, thresholds


def _hits(
    detector: SearchingDetector, calibration: DetectorCalibration, image: np.ndarray, points: np.ndarray
) -> Iterator[Hit]:
    for roll in ROLLS:
        turned, truth = turn(image, points, roll) if roll else (image, points)
        labelled = np.asarray(np.isfinite(truth).all(axis=1))
        found = detector.detect(turned)
        boxes = np.array([d.box for d in found]).reshape(-1, 4)
        # a detector's box shows more of the head than the points do
        pairs = match_boxes(boxes, points_box(truth, labelled)[None], MATCH_IOU / 2).pairs
        if not pairs:
            yield Hit(roll, 0.0)
            continue
        best = found[pairs[0][0]]
        shift_x, shift_y, _, turn_by = frame_residual(calibration.frame(best), fit_frame(truth, weights=labelled))
        errors = (_key_point_error(best, detector.key_points, truth), float(np.hypot(shift_x, shift_y)), abs(turn_by))
        yield Hit(roll, best.score, errors)


def _key_point_error(detection: Detection, names: Sequence[str], points: np.ndarray) -> float:
    """Mean distance of the shared key points from the labels, over the eyes' distance; nan without labels."""
    truth = dict(zip(KEY_POINTS, key_points_of(points), strict=True))
    found = dict(zip(names, detection.key_points, strict=True))
    eyes = np.linalg.norm(truth["left_eye"] - truth["right_eye"])
    return float(np.mean([np.linalg.norm(found[name] - truth[name]) for name in SHARED_KEY_POINTS]) / eyes)


def _roll_row(detector: str, roll: int, hits: Sequence[Hit], threshold: float) -> RollRow:
    errors = [hit.errors for hit in hits if hit.score >= threshold and hit.errors is not None]
    if not errors:
        return RollRow(detector, roll, len(hits), 0, None, None, None)
    key_points, shift, turn_by = np.nanmedian(np.array(errors), axis=0).tolist()
    return RollRow(detector, roll, len(hits), len(errors), 100 * key_points, 100 * shift, turn_by)


def _percent(scores: Sequence[float], threshold: float) -> float:
    """Share of the scores that reach a threshold."""
    return 100 * float(np.mean(np.array(scores) >= threshold)) if len(scores) else 0.0


def time_views(files: Sequence[Path], calls: int = CALLS) -> list[float]:
    """Time of one view per detector, the first one's as 1: medians of `calls` calls in turns, one core's own time."""
    detectors = [open_detector(file) for file in files]
    view = draw_faceless(FACELESS_SEED, 0)[1]
    views = [np.ascontiguousarray(view[: d.side, : d.side]) for d in detectors]
    taken = np.zeros((calls, len(detectors)))
    for call in range(-5, calls):  # a few to warm up
        for k, detector in enumerate(detectors):
            start = time.process_time()
            detector.infer(views[k], 0.5)
            taken[max(call, 0), k] = time.process_time() - start
    medians = np.median(taken, axis=0)
    return (medians / medians[0]).tolist()
