"""From an image to its faces: views, detections, frames, crops, points. This is where an image becomes crops.

The detector looks at views of the image (`search`), its key points give each face a frame (`calibration`, `frame`),
the frame cuts an upright crop, the landmark model finds the points in it, and what both networks say of the face
becomes its score (`confidence`). Refinement cuts the crop anew by the frame of the points just found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .calibration import DetectorCalibration, calibration_from_json
from .confidence import (
    FIRST_BOUNDS,
    FURTHER_BOUNDS,
    TURNED_BOUNDS,
    Confidence,
    FaceBounds,
    confidence_from_json,
    face_features,
    second_crop,
    second_features,
)
from .detection import Detection, box_iou
from .detector import load_detector
from .face import Face
from .frame import Frame, fit_frame, frame_matrix, frame_residual, snapped
from .geometry import invert, transform_points
from .image_file import ImageFile
from .metadata import metadata_errors
from .search import FoundFace, SearchConfig, SearchStep, search_steps
from .session import Model, load_model

# Cutting the crop anew around the first result gains little with frames as steady as these, at twice the model's cost.
# A model's metadata may say otherwise.
DEFAULT_REFINE = 0
MAX_REFINE = 100
DEFAULT_MIN_SCORE = 0.0  # what is no face is thrown out before; this is for callers who want sure ones only
# About 2.5 deviations of a detector's frames: shift and logarithm of the size in units of the face, degrees of roll. A
# crop that missed its face by more is cut anew around the points found in it.
MISSED_SHIFT, MISSED_GROWTH, MISSED_TURN = 0.05, 0.12, 9.0
# So often at most is the crop of a found face cut anew when the crop cut anew missed it as well.
MORE_CROPS = 2
# Two faces whose 51-point boxes overlap by more than this are one that was found twice.
SAME_FACE_IOU = 0.4
# So are two that overlap less, if one stands on its head: no face lies upside down on another.
SAME_FACE_IOU_REVERSED = 0.1


class FaceDetector(Protocol):
    """What the pipeline needs of a detector; `search.SearchingDetector` is one."""

    name: str
    side: int
    search: SearchConfig
    key_points: tuple[str, ...]
    calibration: DetectorCalibration | None

    def detect_in(self, image_bgr: np.ndarray, views: Sequence[Frame]) -> list[Detection]: ...


class LandmarkModel(Protocol):
    """What the pipeline needs of `session.Model`."""

    metadata: dict[str, Any]
    input_size: int
    margin: float

    def locate(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]: ...


@dataclass(frozen=True)
class PipelineOptions:
    """What a caller may decide; None leaves it to the model's metadata.

    Attributes:
        refine: refinement passes: crop again around the predicted points and predict again.
        turned, smallest: see `search.SearchConfig`.
        min_score: faces below this score are left out.
    """

    refine: int | None = None
    turned: str | None = None
    smallest: float | None = None
    min_score: float | None = None


class Pipeline:
    """Faces of an image. One pipeline serves one thread at a time.

    Args:
        detector: finds the faces. model: finds the points. options: see `PipelineOptions`.

    Raises:
        ValueError: nothing is known of how this detector's key points or boxes relate to faces.
    """

    def __init__(self, detector: FaceDetector, model: LandmarkModel, options: PipelineOptions | None = None) -> None:
        self.detector, self.model = detector, model
        with metadata_errors():
            self._configure(options or PipelineOptions(), model.metadata)

    def _configure(self, options: PipelineOptions, metadata: dict[str, Any]) -> None:
        detector = self.detector
        self.calibration = _calibration(detector, metadata)
        detector.calibration = self.calibration
        own = metadata.get("search", {})
        chosen = {k: v for k in ("turned", "smallest") if (v := _first(getattr(options, k), own.get(k))) is not None}
        detector.search = replace(detector.search, **chosen)
        self.min_score = float(_first(options.min_score, own.get("min_score"), DEFAULT_MIN_SCORE))
        self.refine = int(_first(options.refine, metadata["crop"].get("refine"), DEFAULT_REFINE))
        if self.refine > MAX_REFINE:
            raise ValueError(f"expected at most {MAX_REFINE} refinement passes, found {self.refine}")
        tree = metadata.get("confidence")
        # what another model's numbers mean is nobody's guess: without its own, the detector's score stands
        self.confidence: Confidence | None = None if tree is None else confidence_from_json(tree)

    def faces(self, image_bgr: np.ndarray) -> list[Face]:
        """Every face of a (H, W, 3) uint8 BGR image, from the image's right to left."""
        return self.faces_of(ImageFile.of_array(image_bgr))

    def faces_of_file(self, path: Path) -> list[Face]:
        """`faces` of an image file. Raises OSError, ValueError as `image.read_image`."""
        return self.faces_of(ImageFile.open(path))

    def faces_of(self, image: ImageFile, turned: bool = True) -> list[Face]:
        """The story of the whole package: search, coarse to fine, until a certain face makes further steps idle.

        turned: False leaves out the steps of turned views.
        """
        found: list[Face] = []
        for number, step in enumerate(self._steps(image)):
            if turned or not step.turned:
                found = self._with_step(image, number, step, found)
        return order_right_to_left([face for face in found if (face.score or 0.0) >= self.min_score])

    def faces_in_turn(self, image: ImageFile, turn: int, views: Sequence[Frame]) -> list[Face]:
        """The search of a video's frame while nobody is seen: the first step of `faces_of`, these views, and one of
        the further steps, the first at turn 0 and all in turn."""
        steps = self._steps(image)
        found = self.faces_in(image, [*steps[0].views, *views])
        if len(steps) > 1:
            number = 1 + turn % (len(steps) - 1)
            found = self._with_step(image, number, steps[number], found)
        return found

    def _steps(self, image: ImageFile) -> list[SearchStep]:
        height, width = image.reduced.shape[:2]
        return list(search_steps(width, height, self.detector))

    def _with_step(self, image: ImageFile, number: int, step: SearchStep, found: list[Face]) -> list[Face]:
        """The faces found before, and those of a step, if it is wanted."""
        if not step.wanted([self._found_face(face, image.factor) for face in found]):
            return found
        bounds = TURNED_BOUNDS if step.turned else FURTHER_BOUNDS if number else FIRST_BOUNDS
        return distinct_faces(found + self.faces_in(image, step.views, bounds))

    def faces_in(self, image: ImageFile, views: Sequence[Frame], bounds: FaceBounds = FIRST_BOUNDS) -> list[Face]:
        """The faces in these views (of the reduced image) that reach these bounds."""
        detections = self.detector.detect_in(image.reduced, views)
        framed = [(d, frame) for d in detections if (frame := self._frame(d)) is not None]
        frames = [image.enlarge_frame(frame) for _, frame in framed]
        return self.predict(image, frames, [d.score for d, _ in framed], bounds)

    def _found_face(self, face: Face, factor: int) -> FoundFace:
        """A face for the search, in pixels of the reduced image."""
        score = face.score or 0.0
        if self.confidence is None and score >= FURTHER_BOUNDS.detector:
            score = 1.0  # a detector's own score seldom reaches what a calibrated one does for a certain face
        return FoundFace(face.frame.size / factor, face.frame.roll, score)

    def _frame(self, detection: Detection) -> Frame | None:
        try:
            return self.calibration.frame(detection)
        except ValueError:  # key points that all fell onto one place: no face
            return None

    def predict(
        self,
        image: ImageFile,
        frames: Sequence[Frame],
        detector_scores: Sequence[float],
        bounds: FaceBounds = FIRST_BOUNDS,
    ) -> list[Face]:
        """The faces in `frames` (_img of the whole image); what does not reach `bounds` is left out as no face."""
        frames, points, spreads = self.settle(image, frames)
        faces = []
        for k, frame in enumerate(frames):
            spread = None if spreads is None else spreads[k]
            face = self._face(image, points[k], spread, frame, detector_scores[k], bounds)
            if face is not None:
                faces.append(self._in_its_crop(image, face, frame, detector_scores[k], bounds))
        return faces

    def settle(self, image: ImageFile, frames: Sequence[Frame]) -> tuple[list[Frame], np.ndarray, np.ndarray | None]:
        """Points (n, 51, 2) and spreads (n, 51), both _img, and the frames that they were predicted in.

        Crops are cut anew around the points as often as `refine` says, and once more where a crop missed its face.
        """
        frames = list(frames)
        points, spreads = self.locate(image, frames)
        for number in range(self.refine + 1):
            again = [k for k in range(len(frames)) if number < self.refine or _missed(frames[k], points[k])]
            if not again:
                break
            for k in again:
                frames[k] = _refined(frames[k], points[k])
            better, sharper = self.locate(image, [frames[k] for k in again])
            points[again] = better
            if spreads is not None and sharper is not None:
                spreads[again] = sharper
        return frames, points, spreads

    def _in_its_crop(
        self, image: ImageFile, face: Face, crop: Frame, detector_score: float, bounds: FaceBounds
    ) -> Face:
        """A face that was found in the frame `crop`; where that missed it by far, as it is in a better one.

        A better crop moves the points, but makes nobody surer: the lowest score stands. A face that is seen upside down
        looks the likelier the better its crop is.
        """
        for _ in range(MORE_CROPS):
            if not missed(crop, face.frame):
                break
            crop = face.frame
            (points,), spreads = self.locate(image, [crop])
            better = self._face(image, points, None if spreads is None else spreads[0], crop, detector_score, bounds)
            if better is None:
                break
            face = replace(better, score=min(better.score or 0.0, face.score or 0.0))
        return face

    def landmarks(self, image_bgr: np.ndarray, frames: Sequence[Frame]) -> np.ndarray:
        """Points (n, 51, 2) float64 _img of the faces in `frames`, unrefined."""
        return self.locate(ImageFile.of_array(image_bgr), frames)[0]

    def locate(self, image: ImageFile, frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray | None]:
        """Points (n, 51, 2) and spreads (n, 51) _img."""
        if not len(frames):
            return np.zeros((0, 51, 2)), None
        size = self.model.input_size
        frames = [snapped(frame) for frame in frames]
        matrices = [frame_matrix(frame, size, self.model.margin) for frame in frames]
        crops = np.stack([image.crop(matrix, size) for matrix in matrices])
        points_crop, spreads_crop = self.model.locate(crops)
        points = np.stack([transform_points(invert(m), p) for m, p in zip(matrices, points_crop)])  # noqa: B905
        if spreads_crop is None:
            return points, None
        pixel = np.array([frame.size for frame in frames]) * self.model.margin / size
        return points, np.asarray(spreads_crop, np.float64) * pixel[:, None]

    def second_crop_features(self, image: ImageFile, points: np.ndarray, frame: Frame) -> np.ndarray:
        """`confidence.second_features` (2,) of a face's points (51, 2) _img, whose frame this is."""
        (again,), spreads = self.locate(image, [second_crop(frame)])
        if spreads is None:
            raise TypeError("a model without heatmaps has no second opinion to give")
        return second_features(points, again, spreads[0], frame.size)

    def _face(
        self,
        image: ImageFile,
        points: np.ndarray,
        spreads: np.ndarray | None,
        frame: Frame,
        detector_score: float,
        bounds: FaceBounds,
    ) -> Face | None:
        try:
            own = fit_frame(points)
            if spreads is None or self.confidence is None:
                return Face(points, None, detector_score, own) if detector_score >= bounds.detector else None
            features = face_features(points, spreads, frame, detector_score)
        except ValueError:
            return None
        presence = self.confidence.presence(features)
        if self.confidence.doubts(presence):
            presence = self.confidence.presence_again(features, self.second_crop_features(image, points, own))
        if presence < bounds.presence:
            return None
        # a score knows faces only: what may be none, or one that is seen upside down, is the less certain for it
        score = presence * self.confidence.score(features)
        return Face(points, self.confidence.deviations(spreads, own.size), score, own)


def _first(*values: Any) -> Any:
    """The first value that is not None."""
    return next((value for value in values if value is not None), None)


def _calibration(detector: FaceDetector, metadata: dict[str, Any]) -> DetectorCalibration:
    tree = metadata["crop"].get("detector_calibration")
    calibration = detector.calibration if tree is None else calibration_from_json(tree)
    if calibration is None:
        raise ValueError(
            f"neither the model nor the detector {detector.name!r} says where its key points lie in a face "
            "(crop.detector_calibration); package it with pairfld again"
        )
    if calibration.detector != detector.name:
        raise ValueError(
            f"the detector calibration is of {calibration.detector!r}, found the detector {detector.name!r}; "
            "package it with the detector at hand"
        )
    if calibration.key_points != detector.key_points:
        names = [", ".join(points) or "none" for points in (calibration.key_points, detector.key_points)]
        raise ValueError(
            f"the detector calibration is of key points {names[0]}, found the detector {detector.name!r} with "
            f"{names[1]}; package it with the detector at hand"
        )
    return calibration


def missed(frame: Frame, found: Frame) -> bool:
    """Whether a crop's frame is farther from that of the points in it than a detector's usually is."""
    shift_x, shift_y, growth, turn = frame_residual(frame, found)
    return bool(np.hypot(shift_x, shift_y) > MISSED_SHIFT or abs(growth) > MISSED_GROWTH or abs(turn) > MISSED_TURN)


def _missed(frame: Frame, points: np.ndarray) -> bool:
    try:
        return missed(frame, fit_frame(points))
    except ValueError:
        return False


def _refined(frame: Frame, points: np.ndarray) -> Frame:
    try:
        return fit_frame(points)
    except ValueError:
        return frame


def distinct_faces(faces: Sequence[Face]) -> list[Face]:
    """Faces, best score first, without those that fell onto a better one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -(face.score or 0.0)):
        others = np.array([other.box for other in kept]).reshape(-1, 4)
        turns = np.array([(face.frame.roll - other.frame.roll + 180) % 360 - 180 for other in kept])
        bounds = np.where(np.abs(turns) > 90, SAME_FACE_IOU_REVERSED, SAME_FACE_IOU)
        if not (box_iou(face.box, others) > bounds).any():
            kept.append(face)
    return kept


def order_right_to_left(faces: Sequence[Face]) -> list[Face]:
    """The contest's order of several faces: box centre x descending."""
    return sorted(faces, key=lambda face: -float(face.box[0] + face.box[2]))


def load_pipeline(folder: str | Path, threads: int = 1, options: PipelineOptions | None = None) -> Pipeline:
    """The pipeline of an unpacked archive: its model.* and detector.*, in whatever runtime is installed.

    Raises:
        ValueError: files are missing or no installed runtime can open them.
    """
    folder = Path(folder)
    model = _first_that_opens([folder / "model.tflite", folder / "model.onnx"], threads)
    return Pipeline(load_detector(folder, threads), model, options)


def _first_that_opens(paths: Sequence[Path], threads: int) -> Model:
    present = [p for p in paths if p.is_file()]
    if not present:
        raise ValueError(f"{paths[0].parent}: expected {' or '.join(p.name for p in paths)}, found neither")
    errors = []
    for path in present:
        try:
            return load_model(path, threads)
        except ValueError as error:
            errors.append(str(error))
    raise ValueError("; ".join(errors))
