"""The core of every run: find the faces, crop, run the landmark model, return to picture coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .detection import Detector, box_iou, landmark_box
from .detector import load_detector
from .geometry import crop_matrix, invert, points_box, transform_points, warp
from .image import decode, decode_reduced, enlarge, read_bytes
from .landmark_files import order_right_to_left
from .session import Model, load_model

# Cutting the crop anew around the first result gains little with boxes as steady as these, at twice the model's cost:
# the baseline's student on held-back training faces, NME outer corners, none -> once: lfpw 4.10 -> 3.97 %,
# ytf 4.26 -> 4.28 %, aaf 2.19 -> 2.14 %. A model's metadata may say otherwise.
DEFAULT_REFINE = 0
# Two answers whose 51-point boxes overlap by more than this are one face that was found twice.
SAME_FACE_IOU = 0.5
# Longer side at which faces are looked for in a large JPEG; a face too small for the landmark model there is
# cut from the whole picture, so that nothing is lost.
SEARCH_SIDE = 800


class LandmarkModel(Protocol):
    """What the pipeline needs of `session.Model`."""

    metadata: dict[str, Any]
    input_size: int
    margin: float

    def predict(self, crops: np.ndarray) -> np.ndarray: ...


class Pipeline:
    """Faces of a picture as 51 points each. One pipeline serves one thread at a time.

    Args:
        detector: finds the faces. model: finds the points. refine: how often the crop is cut anew around the
            points just found; None: what the model's metadata says (crop.refine), else DEFAULT_REFINE.

    Raises:
        ValueError: the model does not know how this detector's boxes relate to landmark boxes.
    """

    def __init__(self, detector: Detector, model: LandmarkModel, refine: int | None = None) -> None:
        crop = model.metadata["crop"]
        policy = crop.get("from_detector")
        if policy is None:
            raise ValueError("the model carries no box policy (crop.from_detector); package it with pairfld again")
        if policy.get("detector", detector.name) != detector.name:
            raise ValueError(
                f"the model's box policy was learnt for the detector {policy['detector']!r}, found "
                f"{detector.name!r}; package it with the detector at hand"
            )
        self.detector, self.model, self.policy = detector, model, policy
        self.refine = int(crop.get("refine", DEFAULT_REFINE)) if refine is None else refine

    def faces(self, image_bgr: np.ndarray) -> list[np.ndarray]:
        """Every face of a (H, W, 3) uint8 BGR picture: (51, 2) float64 _img each, from the picture's right to
        left."""
        return self._points(image_bgr, self.boxes(image_bgr))

    def faces_of_file(self, path: Path, whole: bool = False) -> tuple[list[np.ndarray], np.ndarray]:
        """`faces` of a picture file, and the picture as far as it was decoded: in full size if `whole`.

        Raises:
            OSError, ValueError: as `image.read_image`.
        """
        data = read_bytes(path)
        if whole:
            image = decode(data, path)
            return self.faces(image), image
        image, factor = decode_reduced(data, path, SEARCH_SIDE)
        boxes = self.boxes(image)
        if factor > 1 and len(boxes):
            narrowest = (boxes[:, 2:] - boxes[:, :2]).max(axis=1).min()
            if narrowest * self.model.margin < self.model.input_size:
                boxes, image, factor = enlarge(boxes, factor), decode(data, path), 1
        return [enlarge(face, factor) for face in self._points(image, boxes)], image

    def boxes(self, image_bgr: np.ndarray) -> np.ndarray:
        """51-point boxes (n, 4) _img of the faces found, best first."""
        return landmark_box(self.detector.detect(image_bgr)[0], self.policy)

    def _points(self, image_bgr: np.ndarray, boxes_img: np.ndarray) -> list[np.ndarray]:
        if len(boxes_img) == 0:
            return []
        points = self.landmarks(image_bgr, boxes_img)
        for _ in range(self.refine):
            points = self.landmarks(image_bgr, np.array([points_box(p) for p in points]))
        return order_right_to_left(_distinct(list(points)))

    def landmarks(self, image_bgr: np.ndarray, boxes_img: np.ndarray) -> np.ndarray:
        """Points (n, 51, 2) float64 _img of the faces whose 51-point boxes are `boxes_img` (n, 4)."""
        size = self.model.input_size
        matrices = [crop_matrix(box, size, self.model.margin) for box in boxes_img]
        crops = np.stack([warp(image_bgr, m, size) for m in matrices])
        points_crop = self.model.predict(crops)
        points_img = [transform_points(invert(m), p) for m, p in zip(matrices, points_crop)]  # noqa: B905 (Python 3.9)
        return np.stack(points_img)


def _distinct(faces: list[np.ndarray]) -> list[np.ndarray]:
    """Faces (best score first) without those that fell onto an earlier one."""
    kept: list[np.ndarray] = []
    for face in faces:
        others = np.array([points_box(k) for k in kept]).reshape(-1, 4)
        if not (box_iou(points_box(face), others) > SAME_FACE_IOU).any():
            kept.append(face)
    return kept


def load_pipeline(folder: str | Path, threads: int = 1, refine: int | None = None) -> Pipeline:
    """The pipeline of an unpacked archive: its model.* and detector.*, in whatever runtime is installed.

    Raises:
        ValueError: files are missing or no installed runtime can open them.
    """
    folder = Path(folder)
    model = _first_that_opens([folder / "model.tflite", folder / "model.onnx"], threads)
    return Pipeline(load_detector(folder, threads), model, refine)


def _first_that_opens(paths: Sequence[Path], threads: int) -> Model:
    present = [p for p in paths if p.is_file()]
    if not present:
        raise ValueError(f"{paths[0].parent}: expected {' or '.join(p.name for p in paths)}, found neither")
    faults = []
    for path in present:
        try:
            return load_model(path, threads)
        except ValueError as fault:
            faults.append(str(fault))
    raise ValueError("; ".join(faults))
