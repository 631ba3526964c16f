"""Contact sheets: a grid of crops with their points drawn, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]
GREEN, ORANGE = (80, 255, 80), (0, 160, 255)  # BGR
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def contact_sheet(
    images: np.ndarray | Sequence[np.ndarray],
    points: np.ndarray,
    valid: np.ndarray,
    columns: int,
    scale: float = 1.0,
    colours: Sequence[Colour] | None = None,
) -> np.ndarray:
    """Draw crops in rows of `columns`, the valid points as dots.

    Args:
        images: n crops (S, S, 3) uint8 BGR.
        points: (n, 51, 2) in crop pixels.
        valid: (n, 51) bool.
        scale: enlargement of each crop.
        colours: BGR of each crop's points, green when not given.

    Returns:
        (rows * T, columns * T, 3) uint8 BGR with T = round(S * scale); unused cells are black.
    """
    if columns < 1 or len(images) == 0:
        raise ValueError(f"expected at least one crop and one column, found {len(images)} and {columns}")
    tile = max(1, round(len(images[0]) * scale))
    ratio = tile / len(images[0])
    sheet = np.zeros((-(-len(images) // columns) * tile, columns * tile, 3), np.uint8)
    for k, image in enumerate(images):
        cell = cv2.resize(image, (tile, tile), interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR)
        # pixel centres: crop coordinate u is (u + 0.5) * ratio - 0.5 in the cell
        dots = (np.asarray(points[k], np.float64) + 0.5) * ratio - 0.5
        colour = GREEN if colours is None else colours[k]
        for x, y in np.rint(dots[np.asarray(valid[k], bool)] * 2**_SHIFT).astype(int):
            cv2.circle(cell, (int(x), int(y)), 2**_SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)
        row, column = divmod(k, columns)
        sheet[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile] = cell
    return sheet
