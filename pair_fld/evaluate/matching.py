"""Measuring a face finder, and learning how its boxes relate to the boxes of 51 points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pair_fld.runtime.detection import Detector, box_iou, landmark_box
from pair_fld.runtime.geometry import points_box

MATCH_IOU = 0.3


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
    """What a finder did on labelled pictures. unmatched: boxes without a label, real faces that nobody
    labelled among them. boxes, truth: (n, 4) _img of the pairs."""

    pictures: int
    faces: int
    found: int
    unmatched: int
    boxes: np.ndarray
    truth: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Figures with their units in the keys."""
        recall = 100 * self.found / self.faces if self.faces else None
        return {
            "pictures": self.pictures,
            "faces": self.faces,
            "found_faces": self.found,
            "recall_percent": recall,
            "unmatched_boxes": self.unmatched,
        }


def measure_detector(
    detector: Detector,
    pictures: Iterable[tuple[np.ndarray, np.ndarray]],
    policy: dict[str, Any] | None = None,
) -> DetectionResult:
    """Run a finder over (picture (H, W, 3) uint8 BGR, 51-point boxes (m, 4) _img) pairs; m = 0 for no face.

    Args:
        policy: turns the finder's boxes into 51-point boxes before they are matched. Without it a box is
            matched when it overlaps the label's by MATCH_IOU / 2, since it shows more of the head than the
            points do.
    """
    total = faces = unmatched = 0
    boxes, truth = [], []
    for image, labelled in pictures:
        found, _ = detector.detect(image)
        compared, iou = (found, MATCH_IOU / 2) if policy is None else (landmark_box(found, policy), MATCH_IOU)
        matches = match_boxes(compared, np.asarray(labelled, np.float64).reshape(-1, 4), iou)
        total, faces, unmatched = total + 1, faces + len(labelled), unmatched + len(matches.unmatched)
        boxes += [found[i] for i, _ in matches.pairs]
        truth += [labelled[j] for _, j in matches.pairs]
    return DetectionResult(
        total, faces, len(boxes), unmatched, np.array(boxes).reshape(-1, 4), np.array(truth).reshape(-1, 4)
    )


def learn_box_policy(detector_boxes: np.ndarray, landmark_boxes: np.ndarray, detector_name: str) -> dict[str, Any]:
    """The mean offset and scale from detector boxes (n, 4) to 51-point boxes (n, 4), for
    metadata["crop"]["from_detector"].

    Offsets are means of the centres' differences in units of the detector box. Scales are geometric means of
    the sizes' ratios, multiplied by one common factor that makes the longer side right on geometric average,
    because the longer side is what the crop is cut by.

    Returns:
        `landmark_box`'s policy, with `detector` (its name) and the spread that the augmentation of training
        has to
        cover: `offset_std` [dx, dy] and `log_scale_std` of the longer side.

    Raises:
        ValueError: for fewer than two pairs.
    """
    if len(detector_boxes) < 2 or len(detector_boxes) != len(landmark_boxes):
        raise ValueError(f"expected two or more pairs of boxes, found {len(detector_boxes)} and {len(landmark_boxes)}")
    d, t = np.asarray(detector_boxes, np.float64), np.asarray(landmark_boxes, np.float64)
    d_size, t_size = d[:, 2:] - d[:, :2], t[:, 2:] - t[:, :2]
    offset = ((t[:, 2:] + t[:, :2]) - (d[:, 2:] + d[:, :2])) / 2 / d_size
    scale = np.exp(np.log(t_size / d_size).mean(axis=0))
    longer = np.log(t_size.max(axis=1) / (d_size * scale).max(axis=1))
    scale = scale * np.exp(longer.mean())
    return {
        "detector": detector_name,
        "offset": [round(float(v), 5) for v in offset.mean(axis=0)],
        "scale": [round(float(v), 5) for v in scale],
        "offset_std": [round(float(v), 5) for v in offset.std(axis=0)],
        "log_scale_std": round(float(longer.std()), 5),
        "faces": len(d),
    }
