"""Face finders: a picture in, face boxes in picture pixels out.

`BlazeFace` decodes MediaPipe's detectors (Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face
Detection on Mobile GPUs", 2019; anchor layout and score rule as in MediaPipe's published face-detection
graphs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .geometry import crop_matrix, invert, transform_points, warp
from .session import tflite_interpreter


class Detector(Protocol):
    """Finds faces. Boxes of one detector share one policy: `landmark_box` turns them into 51-point boxes."""

    name: str

    def detect(self, image_bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Faces of a (H, W, 3) uint8 BGR picture: boxes (n, 4) float x0 y0 x1 y1 in picture pixels, scores
        (n,)."""
        ...


@dataclass(frozen=True)
class AnchorLayer:
    """One output grid: `side` x `side` cells with `per_cell` anchors each, all centred on the cell."""

    side: int
    per_cell: int


# (input side, number of anchors) -> grids, in the order of the output rows
_LAYOUTS: dict[tuple[int, int], tuple[AnchorLayer, ...]] = {
    (128, 896): (AnchorLayer(16, 2), AnchorLayer(8, 6)),  # short range
    (256, 896): (AnchorLayer(16, 2), AnchorLayer(8, 6)),  # back camera
    (192, 2304): (AnchorLayer(48, 1),),  # full range
}


def anchor_centres(layers: Sequence[AnchorLayer]) -> np.ndarray:
    """Anchor centres (n, 2) as fractions of the input's side, row by row, anchors of a cell together."""
    grids = []
    for layer in layers:
        line = (np.arange(layer.side) + 0.5) / layer.side
        y, x = np.meshgrid(line, line, indexing="ij")
        grids.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), layer.per_cell, axis=0))
    return np.concatenate(grids)


def decode_boxes(regressors: np.ndarray, centres: np.ndarray, side: int) -> np.ndarray:
    """Boxes (n, 4) x0 y0 x1 y1 as fractions of the input's side: BlazeFace's size, centred on the inner face.

    BlazeFace's own box is centred on the head, and a turned head moves the inner face inside it: measured on
    training data, the centre of the 51-point box then varies by 13 % of its size (standard deviation), against
    3.5 % around the middle of the network's key points of eyes, nose and mouth, which is taken here.

    Args:
        regressors: (n, 16), input pixels: x, y of the box centre from the anchor, width, height; then x, y from
            the anchor of right eye, left eye, nose tip, mouth and the two ears.
        centres: (n, 2) anchor centres as fractions.
    """
    inner = regressors[:, 4:12].reshape(-1, 4, 2)
    centre = (inner.min(axis=1) + inner.max(axis=1)) / 2 / side + centres
    half = regressors[:, 2:4] / side / 2
    return np.concatenate([centre - half, centre + half], axis=1)


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


class BlazeFace:
    """A MediaPipe BlazeFace .tflite file (short range, back camera or full range: its shapes tell which).

    Args:
        path: the .tflite file. threads: of the runtime. search: where to look.

    Raises:
        ValueError: no TFLite runtime, or not such a file. OSError: no such file.
    """

    def __init__(self, path: str | Path, threads: int = 1, search: Search | None = None) -> None:
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such face detector file")
        self.path, self.search = path, search or Search()
        self._run, self.side, count = _open(path, threads)
        layout = _LAYOUTS.get((self.side, count))
        if layout is None:
            raise ValueError(f"{path}: expected a BlazeFace file, found {count} anchors on {self.side} pixels")
        self.name = f"blazeface_{self.side}"
        self._centres = anchor_centres(layout)

    def detect(self, image_bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Detector.detect`; best face first."""
        search = self.search
        views = list(search_views(image_bgr.shape[1], image_bgr.shape[0], search, self.side))
        found = [self._look(image_bgr, view, search.candidate) for view in views]
        boxes, _ = merge_overlapping(*_join(found), search.overlap)
        looks = []
        for box in boxes:
            view = _square(box, search.second_look)
            near, scores = self._look(image_bgr, view, search.threshold)
            same = box_iou(box, near) >= search.overlap
            looks.append((near[same], scores[same]))
        return merge_overlapping(*_join(looks), search.overlap)

    def _look(self, image_bgr: np.ndarray, view_img: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Raw boxes (n, 4) _img and scores (n,) from `threshold` up, in one square view."""
        matrix = crop_matrix(view_img, self.side, 1.0)
        rgb = warp(image_bgr, matrix, self.side)[:, :, ::-1]
        regressors, logits = self._run(rgb.astype(np.float32) / np.float32(127.5) - 1)
        scores = sigmoid(logits)
        good = scores >= threshold
        boxes = decode_boxes(regressors[good], self._centres[good], self.side)
        corners_crop = boxes.reshape(-1, 2, 2) * self.side - 0.5  # a fraction f of the side is pixel f S - 1/2
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


def _open(path: Path, threads: int) -> tuple[Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], int, int]:
    """(run: (S, S, 3) float32 -> regressors (n, 16), logits (n,)), S, n of a detector file."""
    try:
        interpreter: Any = tflite_interpreter(path, threads)
    except ValueError as fault:
        if "pip install" not in str(fault):
            raise
        raise ValueError(
            f"{path.name}: this face finder runs in a TFLite runtime only, and none is installed "
            "(onnxruntime alone cannot open it); pip install ai-edge-litert"
        ) from None
    source = interpreter.get_input_details()[0]
    outputs = interpreter.get_output_details()
    by_width = {int(d["shape"][-1]): d["index"] for d in outputs}
    if set(by_width) != {1, 16} or len(source["shape"]) != 4:
        found = [tuple(int(n) for n in d["shape"]) for d in outputs]
        raise ValueError(f"{path}: expected a BlazeFace file with outputs (1, n, 16) and (1, n, 1), found {found}")

    def run(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        interpreter.set_tensor(source["index"], np.ascontiguousarray(x[None]))
        interpreter.invoke()
        return interpreter.get_tensor(by_width[16])[0], interpreter.get_tensor(by_width[1])[0, :, 0]

    return run, int(source["shape"][1]), int(outputs[0]["shape"][1])


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
