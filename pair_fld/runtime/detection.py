"""What all face finders share: where they look in a picture, and what becomes of overlapping boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .geometry import crop_matrix, invert, transform_points, warp


class Detector(Protocol):
    """Finds faces. Boxes of one detector share one policy: `landmark_box` turns them into 51-point boxes."""

    name: str

    def detect(self, image_bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Faces of a (H, W, 3) uint8 BGR picture: boxes (n, 4) float x0 y0 x1 y1 in picture pixels, scores
        (n,)."""
        ...


@dataclass(frozen=True)
class Search:
    """Where a detector looks and what it believes.

    zooms: sides of square views centred on the picture, as multiples of its longer side; above 1 a face that
    fills the picture is seen whole. tiles: sides of smaller views that cover the picture, for small faces.
    candidate: lowest score in these views that earns a second look. second_look: side of that look's view as
    a multiple of the candidate's box, which shows every face at the size that the network knows best;
    threshold: lowest score there. overlap: IoU from which two boxes are one face.
    """

    zooms: tuple[float, ...] = (1.0,)
    tiles: tuple[float, ...] = (0.6,)
    candidate: float = 0.4
    second_look: float = 2.4
    threshold: float = 0.65
    overlap: float = 0.3


class SearchingDetector:
    """A detector built on a network that sees one square view at a time.

    A subclass gives `look`. Every candidate of the first views is looked at a second time, at the size that
    the network knows best.

    Attributes:
        name: of the detector and its box policy. side: of the network's input. search: where to look.
    """

    name: str
    side: int
    search: Search

    def look(self, view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every box (n, 4) x0 y0 x1 y1 in fractions of the side, and its score (n,), of a (S, S, 3) uint8 BGR view."""
        raise NotImplementedError

    def detect(self, image_bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Detector.detect`; best face first."""
        search = self.search
        views = list(search_views(image_bgr.shape[1], image_bgr.shape[0], search, self.side))
        found = [self._look(image_bgr, view, search.candidate) for view in views]
        boxes, _ = merge_overlapping(*_join(found), search.overlap)
        looks = []
        for box in boxes:
            near, scores = self._look(image_bgr, _square(box, search.second_look), search.threshold)
            same = box_iou(box, near) >= search.overlap
            looks.append((near[same], scores[same]))
        return merge_overlapping(*_join(looks), search.overlap)

    def _look(self, image_bgr: np.ndarray, view_img: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (n, 4) _img and scores (n,) from `threshold` up, in one square view."""
        matrix = crop_matrix(view_img, self.side, 1.0)
        boxes, scores = self.look(warp(image_bgr, matrix, self.side))
        good = scores >= threshold
        corners_crop = boxes[good].reshape(-1, 2, 2) * self.side - 0.5  # a fraction f of the side is pixel f S - 1/2
        return transform_points(invert(matrix), corners_crop).reshape(-1, 4), scores[good]


def search_views(width: int, height: int, search: Search, smallest: int) -> Iterator[np.ndarray]:
    """Square views (4,) x0 y0 x1 y1 _img that cover a picture: zooms, then rows of tiles.

    Tiles overlap by a quarter at least, so that a face cut by one tile's edge is whole in the next. Tiles with
    a side below `smallest` pixels are left out.
    """
    longer = max(width, height)
    whole = np.array([-0.5, -0.5, width - 0.5, height - 0.5])  # the picture's outer edges, pixel-centre convention
    for zoom in search.zooms:
        yield _square(whole, zoom)
    for tile in search.tiles:
        side = tile * longer
        if side < smallest:  # nothing to gain: the picture has no more pixels than the view
            continue
        for y in _tile_starts(height, side):
            for x in _tile_starts(width, side):
                yield np.array([x, y, x + side, y + side])


def _tile_starts(length: int, side: float) -> np.ndarray:
    """Where tiles of `side` begin along an edge, evenly spread; one centred tile when it covers the edge."""
    if length <= side:
        return np.array([(length - side) / 2 - 0.5])
    count = int(np.ceil((length - side) / (0.75 * side))) + 1
    return np.linspace(-0.5, length - side - 0.5, count)


def _square(box: np.ndarray, zoom: float) -> np.ndarray:
    centre, half = (box[:2] + box[2:]) / 2, float(np.max(box[2:] - box[:2])) * zoom / 2
    return np.concatenate([centre - half, centre + half])


def _join(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    boxes = [b for b, _ in parts] or [np.zeros((0, 4))]
    scores = [s for _, s in parts] or [np.zeros(0)]
    return np.concatenate(boxes), np.concatenate(scores)


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


def merge_overlapping(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> tuple[np.ndarray, np.ndarray]:
    """Non-maximum suppression that averages: the best box takes the score-weighted mean of those it covers.

    A single anchor's box jitters; the mean of all anchors that saw the face is steadier (BlazeFace paper,
    section "Post-processing").

    Args:
        boxes: (n, 4). scores: (n,). overlap: IoU from which two boxes are one face.

    Returns:
        boxes (m, 4), scores (m,), best first; a group's score is its best one.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    kept_boxes, kept_scores = [], []
    while len(boxes):
        same = box_iou(boxes[0], boxes) >= overlap
        same[0] = True
        weights = scores[same, None]
        kept_boxes.append((boxes[same] * weights).sum(axis=0) / weights.sum())
        kept_scores.append(scores[0])
        boxes, scores = boxes[~same], scores[~same]
    return np.array(kept_boxes, np.float64).reshape(-1, 4), np.array(kept_scores, np.float64)


def landmark_box(detector_box: np.ndarray, policy: dict[str, Any]) -> np.ndarray:
    """The 51-point box that a detector box stands for, as learnt on training data.

    Args:
        detector_box: (4,) or (n, 4) x0 y0 x1 y1, picture pixels.
        policy: metadata["crop"]["from_detector"]: `offset` [dx, dy] of the centre and `scale` [sx, sy] of the
            size, both in units of the detector box's own width and height.

    Returns:
        Same shape, picture pixels.
    """
    box = np.asarray(detector_box, np.float64)
    size = box[..., 2:] - box[..., :2]
    centre = (box[..., 2:] + box[..., :2]) / 2 + np.asarray(policy["offset"], np.float64) * size
    half = np.asarray(policy["scale"], np.float64) * size / 2
    return np.concatenate([centre - half, centre + half], axis=-1)
