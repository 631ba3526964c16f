"""Where a detector looks in an image: square views, from coarse to fine, upright and turned.

A view is a frame (`frame.Frame`): the square of side `size` around `centre`, turned by `roll`. A network sees one
view at a time. The first pass sees these views. The second pass confirms each of its detections in a view of its own,
which shows the face upright and at the size that the network knows best.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np

from .calibration import DetectorCalibration
from .detection import Detection, box_iou, weighted_nms
from .frame import Frame, frame_matrix, snapped
from .geometry import invert, transform_points, warp

TURNED = ("auto", "always", "never")
# Degrees by which further views are turned. BlazeFace sees a face at any roll within 60 degrees of a view's (98 of 100
# training faces of lfpw, helen and afw that fill a sixth of the view or more), so three views see every roll; where key
# points tell nothing, a face's roll is its view's, which must be near.
THIRD_TURNS, QUARTER_TURNS = (120.0, -120.0), (90.0, -90.0, 180.0)
# A face is found from this share of the view's side upward (its 51-point box; 97 of 100 of the same faces).
SMALLEST_IN_VIEW = 0.12
# Side of the smallest views that are turned when `turned` is auto, as a share of the image's longer side: small faces
# that are turned by more than 60 degrees are rare, and views that small are most of a search's cost.
SMALLEST_TURNED_VIEW = 0.3
PROBABLE = 0.5  # score from which a face counts at all when it is decided where to look further
# Score from which turned views are idle. Upright faces reach it in seven of eight training images; faces that are seen
# upside down reach 0.7 in one of a hundred, and 0.92 at most.
CERTAIN = 0.95
UPRIGHT = 60.0  # degrees of roll up to which upright views show a face
NEAR_LIMIT = 1.5  # faces up to this multiple of the smallest that a view shows call for finer views

# In the metadata of detectors that an earlier version trained.
_FORMER_NAMES = {"candidate": "first_threshold", "second_look": "second_view", "threshold": "second_threshold"}


@dataclass(frozen=True)
class SearchConfig:
    """Where a detector looks and what it believes.

    Attributes:
        zooms: sides of square views centred on the image, as multiples of its longer side; above 1 a face that
            fills the image is seen whole.
        tiles: sides of smaller views that cover the image, coarse to fine; only those that faces of `smallest` need
            are looked at.
        smallest: longer side of the smallest 51-point box to be found, as a share of the image's longer side.
        turned: when turned views are looked at: "auto", where the upright ones leave nothing certain, down to
            SMALLEST_TURNED_VIEW; "always", beside each upright one; "never".
        first_threshold: lowest score of a detection of the first pass. With 0.25 the second pass confirms 99 of 100
            training faces of 19 to 24 pixels in 1000 x 750, with 0.4 97; one more second pass comes with 25 views.
        second_threshold: lowest score of a detection of the second pass.
        second_view: side of the second pass's view as a multiple of the box of the first pass.
        overlap: IoU from which two boxes are one face.
    """

    zooms: tuple[float, ...] = (1.0,)
    tiles: tuple[float, ...] = (0.6, 0.3, 0.16)
    smallest: float = 0.02
    turned: str = "auto"
    first_threshold: float = 0.25
    second_threshold: float = 0.4
    second_view: float = 2.4
    overlap: float = 0.3

    def __post_init__(self) -> None:
        if self.turned not in TURNED:
            raise ValueError(f"turned: expected one of {', '.join(TURNED)}, found {self.turned!r}")
        if not 0 < self.smallest <= 1:
            raise ValueError(
                f"smallest: expected a share of the longer side above 0 and up to 1, found {self.smallest}"
            )


def search_from_json(tree: dict[str, Any]) -> SearchConfig:
    """A `SearchConfig` from a model's metadata: JSON knows no tuples, and what a later version added is left out."""
    known = {field.name for field in fields(SearchConfig)}
    renamed = {_FORMER_NAMES.get(name, name): value for name, value in tree.items()}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in renamed.items() if k in known}
    return SearchConfig(**values)


def search_to_json(search: SearchConfig) -> dict[str, Any]:
    """The reverse of `search_from_json`."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(search).items()}


class ViewDetector(Protocol):
    """What `search_steps` needs of a detector."""

    side: int
    search: SearchConfig
    key_points: tuple[str, ...]


class SearchingDetector:
    """A detector built on a network that sees one square view at a time. A subclass gives `infer`.

    Attributes:
        name: of the detector.
        side: of the network's input.
        search: its views and thresholds.
        key_points: names of the points that `infer` gives, in order.
        calibration: where its key points lie in a face; None before it is learnt, and a face's roll is then its view's.
    """

    name: str
    side: int
    search: SearchConfig
    key_points: tuple[str, ...]
    calibration: DetectorCalibration | None

    def infer(self, view: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What reaches a score of `threshold` in a (S, S, 3) uint8 BGR view: boxes (n, 4) x0, y0, x1, y1 and key
        points (n, K, 2), both in fractions of the side, and scores (n,)."""
        raise NotImplementedError

    def detect(self, image_bgr: np.ndarray) -> list[Detection]:
        """Faces of a (H, W, 3) uint8 BGR image, best first: all of the first upright views and no others."""
        return self.detect_in(image_bgr, next(search_steps(image_bgr.shape[1], image_bgr.shape[0], self)).views)

    def detect_in(self, image_bgr: np.ndarray, views: Sequence[Frame]) -> list[Detection]:
        """Faces of the first pass over these views that the second pass confirms, best first."""
        search = self.search
        seen = [d for view in views for d in self._detect_in_view(image_bgr, view, search.first_threshold)]
        confirmed = []
        for first in weighted_nms(seen, search.overlap):
            near = self._detect_in_view(image_bgr, self._second_view(first), search.second_threshold)
            near = [d for d in near if box_iou(first.box, d.box[None])[0] >= search.overlap]
            for number, second in enumerate(weighted_nms(near, search.overlap)):
                # of one face: the place is the second pass's, the score the better one's
                confirmed.append(second if number else replace(second, score=max(second.score, first.score)))
        return weighted_nms(confirmed, search.overlap)

    def _second_view(self, first: Detection) -> Frame:
        """The view of the second pass for a detection of the first."""
        low, high = first.box[:2], first.box[2:]
        roll = first.roll if self.calibration is None else self.calibration.roll(first)
        centre = (low + high) / 2
        return Frame((float(centre[0]), float(centre[1])), float((high - low).max()) * self.search.second_view, roll)

    def _detect_in_view(self, image_bgr: np.ndarray, view: Frame, threshold: float) -> list[Detection]:
        """Detections from a score of `threshold` up in one view, in image pixels."""
        view = snapped(view)
        matrix = frame_matrix(view, self.side, 1.0)
        boxes, key_points, scores = self.infer(warp(image_bgr, matrix, self.side), threshold)
        back, scale = invert(matrix), view.size / 2
        found = []
        for k in range(len(scores)):
            # a fraction f of the side is pixel f S - 1/2
            middle = transform_points(back, (boxes[k, :2] + boxes[k, 2:]) / 2 * self.side - 0.5)
            half = (boxes[k, 2:] - boxes[k, :2]) * scale
            points = transform_points(back, key_points[k] * self.side - 0.5)
            found.append(Detection(np.concatenate([middle - half, middle + half]), points, float(scores[k]), view.roll))
        return found


@dataclass(frozen=True)
class FoundFace:
    """A face that an earlier step found: size (_img), roll (degrees) and score."""

    size: float
    roll: float
    score: float


@dataclass(frozen=True)
class SearchStep:
    """Views that belong together: all of them are searched, or none.

    Attributes:
        views: the squares.
        below: size (_img) of faces that this step shows better than those before it.
        turned: whether these are the turned views of what upright ones showed before.
    """

    views: tuple[Frame, ...]
    below: float
    turned: bool = False

    def wanted(self, found: Sequence[FoundFace]) -> bool:
        """Whether its views are needed, after these faces were found.

        Faces of one image are of similar sizes and turned alike: finer views add nothing where all that were found
        are large, turned ones nothing where all are upright and one is certain.
        """
        probable = [face for face in found if face.score >= PROBABLE]
        if not probable:
            return True
        if min(face.size for face in probable) >= self.below:
            return False
        certain = max(face.score for face in probable) >= CERTAIN
        return not self.turned or not certain or any(abs(face.roll) > UPRIGHT for face in probable)


def search_steps(width: int, height: int, detector: ViewDetector) -> Iterator[SearchStep]:
    """The steps of a search, coarse to fine; of each size the upright views, then the turned ones."""
    search, longer = detector.search, max(width, height)
    # an image has no more to show than its pixels, and a view that is too large shows the smallest faces too small
    tiles = [tile for tile in search.tiles if tile * longer >= detector.side]
    tiles = [tile for k, tile in enumerate(tiles) if k == 0 or tiles[k - 1] > search.smallest / SMALLEST_IN_VIEW]
    coarse = [_whole(width, height, zoom) for zoom in search.zooms]
    levels = [(coarse + [view for tile in tiles[:1] for view in _tiles(width, height, tile * longer)], np.inf)]
    for above, tile in zip(tiles, tiles[1:]):  # noqa: B905, RUF007 (Python 3.9)
        levels.append((_tiles(width, height, tile * longer), NEAR_LIMIT * SMALLEST_IN_VIEW * above * longer))
    rolls = THIRD_TURNS if detector.key_points else QUARTER_TURNS
    for views, below in levels:
        turned = [Frame(view.centre, view.size, roll) for roll in rolls for view in views]
        yield SearchStep((*views, *turned) if search.turned == "always" else tuple(views), below)
        if search.turned == "auto" and views[-1].size >= SMALLEST_TURNED_VIEW * longer:
            yield SearchStep(tuple(turned), below, turned=True)


def _whole(width: int, height: int, zoom: float) -> Frame:
    return Frame(((width - 1) / 2, (height - 1) / 2), max(width, height) * zoom)


def _tiles(width: int, height: int, side: float) -> list[Frame]:
    """Views that cover the image. They overlap by a quarter at least, so that a face cut by one tile's edge is whole
    in the next."""
    return [Frame((x, y), side) for y in _tile_centres(height, side) for x in _tile_centres(width, side)]


def _tile_centres(length: int, side: float) -> list[float]:
    """Middles of tiles of `side` along an edge of pixels, evenly spread; one in the middle when it covers the edge."""
    if length <= side:
        return [(length - 1) / 2]
    count = int(np.ceil((length - side) / (0.75 * side))) + 1
    return (np.linspace(0, length - side, count) + side / 2 - 0.5).tolist()
