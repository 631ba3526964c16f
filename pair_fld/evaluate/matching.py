"""Measuring a face detector against labelled images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pair_fld.runtime.detection import Detection, box_iou
from pair_fld.runtime.geometry import points_box

MATCH_IOU = 0.3


class Detector(Protocol):
    """What is measured; `runtime.search.SearchingDetector` is one."""

    def detect(self, image_bgr: np.ndarray) -> list[Detection]: ...


@dataclass(frozen=True)
class Matches:
    """Pairs (found, truth) of indices, and the indices that have no partner."""

    pairs: tuple[tuple[int, int], ...]
    missed: tuple[int, ...]
    unmatched: tuple[int, ...]


def match_boxes(found: np.ndarray, truth: np.ndarray, iou: float = MATCH_IOU) -> Matches:
    """Pair boxes (n, 4) with boxes (m, 4) one to one, the greatest overlap first, down to `iou`."""
    table = np.array([box_iou(f, truth) for f in found]).reshape(len(found), len(truth))
    pairs = []
    while table.size and table.max() >= iou:
        i, j = np.unravel_index(int(table.argmax()), table.shape)
        pairs.append((int(i), int(j)))
        table[i], table[:, j] = -1, -1
    used_found, used_truth = {i for i, _ in pairs}, {j for _, j in pairs}
    return Matches(
        tuple(sorted(pairs)),
        tuple(j for j in range(len(truth)) if j not in used_truth),
        tuple(i for i in range(len(found)) if i not in used_found),
    )


def match_faces(found: Sequence[np.ndarray], truth: Sequence[np.ndarray], iou: float = MATCH_IOU) -> Matches:
    """`match_boxes` of the faces' (51, 2) boxes; points that are not finite are left out of a box."""
    return match_boxes(_boxes(found), _boxes(truth), iou)


def _boxes(faces: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([points_box(f, np.asarray(np.isfinite(f).all(axis=1))) for f in faces]).reshape(-1, 4)


@dataclass(frozen=True)
class DetectionResult:
    """What a detector did on labelled images.

    Attributes:
        images, faces, found: how many; faces and found count the labelled ones.
        unmatched: detections without a label, real faces that nobody labelled among them.
        detections, truth: of the faces found, in one order; truth (51, 2) _img, nan where a point is not labelled.
    """

    images: int
    faces: int
    found: int
    unmatched: int
    detections: tuple[Detection, ...]
    truth: tuple[np.ndarray, ...]

    def to_json(self) -> dict[str, Any]:
        """Figures with their units in the keys."""
        recall = 100 * self.found / self.faces if self.faces else None
        return {
            "images": self.images,
            "faces": self.faces,
            "found_faces": self.found,
            "recall_percent": recall,
            "unmatched_detections": self.unmatched,
        }


def measure_detector(detector: Detector, images: Iterable[tuple[np.ndarray, Sequence[np.ndarray]]]) -> DetectionResult:
    """Run a detector over (image (H, W, 3) uint8 BGR, labelled faces (51, 2) _img each) pairs.

    A detector's box shows more of the head than the points do, so overlapping by MATCH_IOU / 2 is a match.
    """
    total = faces = unmatched = 0
    detections: list[Detection] = []
    truth: list[np.ndarray] = []
    for image, labelled in images:
        found = detector.detect(image)
        matches = match_boxes(np.array([d.box for d in found]).reshape(-1, 4), _boxes(labelled), MATCH_IOU / 2)
        total, faces, unmatched = total + 1, faces + len(labelled), unmatched + len(matches.unmatched)
        detections += [found[i] for i, _ in matches.pairs]
        truth += [labelled[j] for _, j in matches.pairs]
    return DetectionResult(total, faces, len(detections), unmatched, tuple(detections), tuple(truth))
