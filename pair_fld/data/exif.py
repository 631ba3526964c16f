"""Whether labels were drawn on an image as it is stored, while its EXIF rotation asks to turn it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pair_fld.runtime.frame import frame_from_box, frame_matrix
from pair_fld.runtime.geometry import points_box, transform_points, warp
from pair_fld.runtime.image import decode, jpeg_header, read_bytes

_SIDE, _MARGIN = 96, 1.5  # of the crop that both readings are compared on
_BLUR = 1.5  # sigma in its pixels


def fits_stored_image(path: Path, upright: np.ndarray, points: np.ndarray) -> bool | None:
    """Whether points (n, 2) fit the stored image better than the upright one (H, W, 3), which a JPEG's EXIF turned.

    None for images without such a rotation. Landmarks lie on edges and on what is darker than skin: of both readings
    that one counts as better in which the points do so more. (With photographs whose labels were drawn upright, the
    wrong reading wins for 4 to 6 of 100.)
    """
    if path.suffix.lower() not in (".jpg", ".jpeg", ".jpe", ".jfif"):
        return None
    data = read_bytes(path)
    header = jpeg_header(data)
    if header is None or header[2]:
        return None
    stored = decode(data, path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return _fit(stored, points) > _fit(upright, points)


def _fit(image: np.ndarray, points: np.ndarray) -> float:
    """How much more gradient, and how much less light, lies under the points than in the whole face."""
    matrix = frame_matrix(frame_from_box(points_box(points)), _SIDE, _MARGIN)
    grey = cv2.cvtColor(warp(image, matrix, _SIDE), cv2.COLOR_BGR2GRAY).astype(np.float32)
    grey = cv2.GaussianBlur(grey, (0, 0), _BLUR)
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    column, row = np.rint(transform_points(matrix, points)).astype(int).clip(0, _SIDE - 1).T
    edges = gradient[row, column].mean() / (gradient.mean() + 1e-6)
    dark = (grey.mean() - grey[row, column].mean()) / (grey.std() + 1e-6)
    return float(edges + dark)
