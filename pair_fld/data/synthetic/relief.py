"""Hidden-surface drawing of a vertex grid: which place of the grid each pixel shows."""

from __future__ import annotations

import cv2
import numpy as np


def rasterise(xy: np.ndarray, depth: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the grid's cells from far to near and invert each cell's map.

    Args:
        xy: (R, C, 2) vertices in pixels (integers are pixel centres). depth: (R, C), larger is nearer.
        shape: height and width of the picture.

    Returns:
        row, column: (h, w) float32 grid coordinates seen at every pixel (0 where nothing is), and
        mask (h, w) uint8, 255 where something is. Cells seen from behind are left out.
    """
    rows, columns = depth.shape
    height, width = shape
    xy = xy.astype(np.float32)
    p00, p01, p11, p10 = xy[:-1, :-1], xy[:-1, 1:], xy[1:, 1:], xy[1:, :-1]
    ex = (p01 + p11 - p00 - p10) / 2
    ey = (p10 + p11 - p00 - p01) / 2
    middle = (p00 + p01 + p11 + p10) / 4
    area = ex[..., 0] * ey[..., 1] - ex[..., 1] * ey[..., 0]
    reach = np.float32(abs(ex).max() + abs(ey).max())
    inside = (middle > -reach).all(-1) & (middle < (width + reach, height + reach)).all(-1)
    cells = np.flatnonzero((area > 0.02) & inside)
    near = (depth[:-1, :-1] + depth[1:, 1:]).ravel()[cells]
    cells = cells[np.argsort(near, kind="stable")]
    corners = np.stack([p00, p01, p11, p10], axis=2).reshape(-1, 4, 2)
    corners = np.rint(corners[cells] * 16).astype(np.int32)
    buffer = np.zeros(shape, np.int32)
    draw = cv2.fillConvexPoly
    for cell, polygon in zip((cells + 1).tolist(), corners, strict=True):
        draw(buffer, polygon, cell, 8, 4)
    # Each cell is nearly a parallelogram: grid coordinate = middle of the cell + inverse Jacobian x pixel offset.
    # Entry 0 of the table is "nothing here".
    inverse = np.float32(1) / np.where(area > 0.02, area, 1)
    i, j = np.mgrid[: rows - 1, : columns - 1].astype(np.float32) + np.float32(0.5)
    a, b = ey[..., 1] * inverse, -ey[..., 0] * inverse
    c, d = -ex[..., 1] * inverse, ex[..., 0] * inverse
    e = j - a * middle[..., 0] - b * middle[..., 1]
    f = i - c * middle[..., 0] - d * middle[..., 1]
    a, b, e, c, d, f = (np.concatenate([[0], t.ravel()]).astype(np.float32)[buffer] for t in (a, b, e, c, d, f))
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]
    return c * x + d * y + f, a * x + b * y + e, cv2.compare(buffer, 0, cv2.CMP_GT)
