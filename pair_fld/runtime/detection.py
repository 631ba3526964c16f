"""What a face detector gives, and what becomes of several detections of one face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAME_KEY_POINTS = 0.3  # mean distance of two detections' key points, over the box's side, up to which they agree
SAME_TURN = 60.0  # degrees


@dataclass(frozen=True)
class Detection:
    """One face as a detector sees it.

    Attributes:
        box: (4,) x0, y0, x1, y1 _img. Its sides lie along the image's axes, whatever the face's roll.
        key_points: (K, 2) _img, in the order of the detector's key-point names; K = 0 for a detector of boxes only.
        score: the network's confidence, 0 ... 1.
        roll: degrees by which the view was turned that showed the face upright, or nearly so.
    """

    box: np.ndarray
    key_points: np.ndarray
    score: float
    roll: float = 0.0


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logistic function; logits are clipped to +-80 so that float32 cannot overflow."""
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


def box_iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (n,) of one box (4,) with boxes (n, 4); 0 for boxes without area."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    inner = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - inner
    return np.where(union > 0, inner / np.where(union > 0, union, 1), 0.0)


def weighted_nms(detections: Sequence[Detection], overlap: float) -> list[Detection]:
    """Non-maximum suppression that averages: the best detection takes the score-weighted mean of those it covers.

    A single anchor's box jitters; the mean of all anchors that saw the face is steadier (BlazeFace paper, section
    "Post-processing"). Detections of differently turned views mix, because their points are image pixels all alike.
    Two that overlap but see the face turned differently are not one: a face seen upside down has its eyes in the
    mouth's place, and the mean of both would be neither.

    Args:
        overlap: IoU from which two boxes are one face.

    Returns:
        One detection per group, best first; a group's score is its best one.
    """
    rest = sorted(detections, key=lambda d: -d.score)
    kept = []
    while rest:
        best = rest[0]
        near = box_iou(best.box, np.array([d.box for d in rest])) >= overlap
        same = [k == 0 or bool(close and _agree(best, d)) for k, (close, d) in enumerate(zip(near, rest))]  # noqa: B905
        group = [d for d, member in zip(rest, same) if member]  # noqa: B905 (Python 3.9)
        weights = np.array([d.score for d in group])
        weights = weights / weights.sum()
        box = np.tensordot(weights, np.array([d.box for d in group]), 1)
        key_points = np.tensordot(weights, np.array([d.key_points for d in group]), 1)
        kept.append(Detection(box, key_points, best.score, best.roll))
        rest = [d for d, member in zip(rest, same) if not member]  # noqa: B905 (Python 3.9)
    return kept


def _agree(a: Detection, b: Detection) -> bool:
    """Whether two overlapping detections see the face turned alike: by their key points, else by their views."""
    if not len(a.key_points):
        return abs((a.roll - b.roll + 180) % 360 - 180) <= SAME_TURN
    apart = np.hypot(*(a.key_points - b.key_points).T).mean()
    return bool(apart <= SAME_KEY_POINTS * max(a.box[2:] - a.box[:2]))
