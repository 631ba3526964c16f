"""Faces with their labels, predictions and uncertainty, drawn on the tiles of a `FaceSet`."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pair_fld.report.measure import TILE, FaceSet, Predictions, ranked

TRUTH, PREDICTION, RIM = (255, 255, 255), (60, 130, 255), (30, 30, 30)  # BGR: white labels, orange predictions
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
_DEVIATIONS = 2  # of a point, that its circle shows
PER_GROUP = {"worst": 8, "median": 4, "best": 4}


@dataclass(frozen=True)
class FaceTile:
    """One face: its name, NME in percent, and the drawing (TILE, TILE, 3) uint8 BGR."""

    name: str
    source: str
    nme_percent: float
    image: np.ndarray


def draw_tile(tile: np.ndarray, truth: np.ndarray, mask: np.ndarray, predicted: np.ndarray,
              deviations: np.ndarray | None) -> np.ndarray:  # fmt: skip
    """A copy of a tile with labels (white), predictions (orange) and a circle of two deviations around each.

    Args:
        tile: (TILE, TILE, 3) uint8 BGR.
        truth, predicted: (51, 2) tile pixels.
        mask: (51,) bool, labelled points.
        deviations: (51,) tile pixels, or None.
    """
    drawn = tile.copy()
    fixed = np.rint(predicted * 2**_SHIFT).astype(np.int32)
    if deviations is not None:
        over = drawn.copy()
        for (x, y), deviation in zip(fixed.tolist(), np.minimum(deviations, TILE).tolist(), strict=True):
            radius = round(_DEVIATIONS * deviation * 2**_SHIFT)
            cv2.circle(over, (x, y), radius, PREDICTION, 1, cv2.LINE_AA, _SHIFT)
        drawn = cv2.addWeighted(over, 0.6, drawn, 0.4, 0)
    places = np.rint(truth * 2**_SHIFT).astype(np.int32)
    for (x0, y0), (x1, y1) in zip(places[mask].tolist(), fixed[mask].tolist(), strict=True):
        cv2.line(drawn, (x0, y0), (x1, y1), PREDICTION, 1, cv2.LINE_AA, _SHIFT)
    for points, colour in ((places[mask], TRUTH), (fixed, PREDICTION)):
        for x, y in points.tolist():
            cv2.circle(drawn, (x, y), round(2.9 * 2**_SHIFT), RIM, -1, cv2.LINE_AA, _SHIFT)
            cv2.circle(drawn, (x, y), round(2.0 * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
    return drawn


def face_tiles(faces: FaceSet, predictions: Predictions) -> dict[str, list[FaceTile]]:
    """The worst, median and best faces of a model under outer_corners; none twice."""
    order = ranked(predictions.result)
    errors = predictions.result.nme["outer_corners"] * 100
    worst = order[::-1][: PER_GROUP["worst"]]
    rest = np.array([k for k in order if k not in worst], int)
    best = rest[: PER_GROUP["best"]]
    middle = rest[len(best) :]
    start = max(0, len(order) // 2 - len(best) - PER_GROUP["median"] // 2)
    groups = {"worst": worst, "median": middle[start : start + PER_GROUP["median"]], "best": best}
    return {
        name: [
            FaceTile(faces.names[k], faces.sources[k], float(errors[k]), _drawn(faces, predictions, k)) for k in rows
        ]
        for name, rows in groups.items()
        if len(rows)
    }


def _drawn(faces: FaceSet, predictions: Predictions, k: int) -> np.ndarray:
    scale = float(np.sqrt(abs(np.linalg.det(faces.matrices[k][:, :2]))))
    own = None if predictions.deviations is None else predictions.deviations[k] * scale
    points = predictions.points[k]
    predicted = faces.on_tile(k, np.where(np.isfinite(points), points, 0.0))
    return draw_tile(faces.tile(k), faces.on_tile(k, faces.points[k]), faces.point_mask[k], predicted, own)


def sheet(groups: dict[str, list[FaceTile]]) -> np.ndarray:
    """All tiles as one image (H, W, 3) uint8 BGR, a row per group, the worst in two."""
    rows = []
    for tiles in groups.values():
        for start in range(0, len(tiles), 4):
            row = [tile.image for tile in tiles[start : start + 4]]
            row += [np.full((TILE, TILE, 3), 255, np.uint8)] * (4 - len(row))
            rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows)
