"""Hidden-surface drawing of a vertex grid: which cell of the grid each pixel shows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_LEAST_AREA = 0.02  # square pixels; smaller cells are seen edge-on


def _corners(grid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]


def _frame(grid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle, step along a row and step along a column of every cell, (R-1, C-1, K) each."""
    p00, p01, p11, p10 = _corners(grid)
    down, back = p11 - p00, p01 - p10
    return (p00 + p01 + p11 + p10) / 4, (down + back) / 2, (down - back) / 2


@dataclass(frozen=True)
class Relief:
    """cell: (h, w) int32, 1 + the flat index of the cell seen at each pixel, 0 where nothing is.
    frame: middle, row step and column step of the projected cells, (R-1, C-1, 2) float32 pixels each.
    """

    cell: np.ndarray
    frame: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def rasterise(cls, xy: np.ndarray, depth: np.ndarray, shape: tuple[int, int]) -> Relief:
        """Draw the grid's cells from far to near.

        Args:
            xy: (R, C, 2) vertices in pixels (integers are pixel centres).
            depth: (R, C), larger is nearer.
            shape: height and width of the image. Cells seen from behind are left out.
        """
        height, width = shape
        xy = xy.astype(np.float32)
        middle, ex, ey = _frame(xy)
        area = ex[..., 0] * ey[..., 1] - ex[..., 1] * ey[..., 0]
        across, along = (ex**2).sum(-1), (ey**2).sum(-1)
        sliver = np.minimum(across, along) < 0.005 * np.maximum(across, along)  # its inverse would be wild
        reach = np.sqrt(max(across.max(), along.max()))
        inside = (middle > -reach).all(-1) & (middle < (width + reach, height + reach)).all(-1)
        cells = np.flatnonzero((area > _LEAST_AREA) & inside & ~sliver)
        near = (depth[:-1, :-1] + depth[1:, 1:]).ravel()[cells]
        cells = cells[np.argsort(near, kind="stable")]
        polygons = np.stack(_corners(np.rint(xy * 16).astype(np.int32)), axis=2).reshape(-1, 4, 2)[cells]
        buffer = np.zeros(shape, np.int32)
        draw = cv2.fillConvexPoly
        for number, polygon in zip((cells + 1).tolist(), polygons, strict=True):
            draw(buffer, polygon, number, 8, 4)
        return cls(buffer, (middle, ex, ey))

    def interpolate(self, values: np.ndarray, step: int = 1) -> list[np.ndarray]:
        """Spread values (R, C, K) of the vertices over the pixels, linear in each cell, which is taken to be a
        parallelogram; every `step`-th pixel only. Returns K fields (h/step, w/step) float32, 0 where nothing is."""
        middle, ex, ey = self.frame
        area = ex[..., 0] * ey[..., 1] - ex[..., 1] * ey[..., 0]
        inverse = np.float32(1) / np.where(area > _LEAST_AREA, area, 1)
        value, vx, vy = _frame(values.astype(np.float32))
        a = (vx * ey[..., 1:] - vy * ex[..., 1:]) * inverse[..., None]
        b = (vy * ex[..., :1] - vx * ey[..., :1]) * inverse[..., None]
        c = value - a * middle[..., :1] - b * middle[..., 1:]
        cell = self.cell[::step, ::step]
        x = np.arange(0, self.cell.shape[1], step, dtype=np.float32)
        y = np.arange(0, self.cell.shape[0], step, dtype=np.float32)[:, None]
        fields = []
        for k in range(values.shape[-1]):
            ka, kb, kc = (np.append(np.float32(0), t[..., k].ravel()).take(cell, mode="clip") for t in (a, b, c))
            ka *= x
            kb *= y
            ka += kb
            ka += kc
            fields.append(ka)
        return fields
