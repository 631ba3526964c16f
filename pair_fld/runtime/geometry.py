"""Crop geometry: one matrix takes image to crop, its inverse brings the points back.

Pixel convention, stated here once for the whole project: an integer coordinate is the CENTRE of a pixel and the
origin is the centre of the top-left pixel (OpenCV's convention; label files are scored as they stand). An image
of width W therefore spans [-0.5, W - 0.5].

Frames: `_img` image pixels; `_crop` pixels of a square crop of side S; `_norm` normalised crop coordinates,
-1 and +1 at the crop's outer edges, so u_norm = (2 u_crop + 1) / S - 1 (torch's `align_corners=False`).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

_FRACTIONS = 1024  # of a pixel, in which a crop's rows and columns are added up
_OFF_HALF = 2.0**-20  # so that a half, which plain views are full of, is rounded alike whatever a last bit says
_FAR = 2**29  # in these: 524,288 pixels, farther than any image reaches
_REMAP_SIDE = 32766  # of an image that `cv2.remap` addresses by 16 bits
# Above this shrink factor bilinear sampling skips source pixels, so the source is averaged first.
AREA_SHRINK = 2.0


def points_box(points: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Axis-aligned box (x0, y0, x1, y1) of the valid points (N, 2); ValueError when none is valid."""
    points = np.asarray(points, np.float64)
    if valid is not None:
        points = points[np.asarray(valid, bool)]
    if len(points) == 0:
        raise ValueError("a box needs at least one valid point, found none")
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def invert(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a 2x3 affine matrix, as 2x3."""
    full = np.vstack([np.asarray(matrix, np.float64), [0.0, 0.0, 1.0]])
    return np.linalg.inv(full)[:2]


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 2) through a 2x3 affine matrix, float64."""
    matrix = np.asarray(matrix, np.float64)
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Draw the (size, size) crop of `image` that `matrix` (image -> crop, 2x3) describes; outside is black.

    Bilinear. When the crop shrinks the image by more than 2, the image's region is first averaged over
    whole blocks of pixels (area filter), so that a large face is not aliased.

    Args:
        image: (H, W) or (H, W, C) uint8.
    """
    matrix = np.asarray(matrix, np.float64)
    shrink = 1.0 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if shrink > AREA_SHRINK:
        image, matrix = _average_region(image, matrix, size, int(shrink))
    return _bilinear(image, matrix, size)


def _bilinear(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """`warp` without averaging, in whole numbers: 1/32 of a pixel, weights of 15 bits.

    Not `cv2.warpAffine`: its pixels differ by 1 to 4 grey levels between OpenCV 4.11 and 5.0, which moved the points of
    an int8 model by 0.2 % of the eye distance. Integer maps give the same crop in every version, on every processor.
    """
    inverse = invert(matrix)
    if max(image.shape[:2]) > _REMAP_SIDE:  # longer sides than maps of 16 bits reach: the part under the crop will do
        corners = transform_points(inverse, np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float64))
        limits = np.array(image.shape[1::-1]) - 1
        low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 2, 0, limits)
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 3, low + 1, limits + 1)
        image, inverse = image[low[1] : high[1], low[0] : high[0]], inverse - np.column_stack([np.zeros((2, 2)), low])
    cells = np.arange(size)
    along = np.rint(np.outer(inverse[:, 0], cells) * _FRACTIONS + _OFF_HALF).clip(-_FAR, _FAR).astype(np.int32)
    down = np.rint((np.outer(inverse[:, 1], cells) + inverse[:, 2:]) * _FRACTIONS + _OFF_HALF)
    down = down.clip(-_FAR, _FAR).astype(np.int32)
    at = np.empty((2, size, size), np.int32)  # x and y in 1/32 of a pixel; whole arrays at a time, which is faster
    np.add((down + 16)[:, :, None], along[:, None, :], out=at)
    at >>= 5
    fraction = (at[1] & 31) << 5
    fraction |= at[0] & 31
    at >>= 5
    if at.min() < -_REMAP_SIDE or at.max() > _REMAP_SIDE:
        at = at.clip(-_REMAP_SIDE, _REMAP_SIDE)
    whole = np.empty((size, size, 2), np.int16)
    whole[:, :, 0], whole[:, :, 1] = at
    return cv2.remap(image, whole, fraction.astype(np.uint16), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def _average_region(image: np.ndarray, matrix: np.ndarray, size: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Average the part of `image` under the crop over block x block pixels; return it and the matrix that fits it."""
    corners_crop = np.array([[-1, -1], [size, -1], [size, size], [-1, size]], np.float64)
    corners_img = transform_points(invert(matrix), corners_crop)
    height, width = image.shape[:2]
    low = np.clip(np.floor(corners_img.min(axis=0)).astype(int) - block, 0, [width - 1, height - 1])
    high = np.clip(np.ceil(corners_img.max(axis=0)).astype(int) + block + 1, low + 1, [width, height])
    columns, rows = -(-(high - low) // block)
    region = image[low[1] : high[1], low[0] : high[0]]
    pad_x, pad_y = columns * block - region.shape[1], rows * block - region.shape[0]
    if pad_x or pad_y:  # whole blocks only; the replicated rim lies outside the image or outside the crop
        region = cv2.copyMakeBorder(region, 0, int(pad_y), 0, int(pad_x), cv2.BORDER_REPLICATE)
    small = cv2.resize(region, (int(columns), int(rows)), interpolation=cv2.INTER_AREA)
    # small pixel j covers image pixels low + block*j ... low + block*j + block-1, centre low + block*j + (block-1)/2
    to_img = np.array([[block, 0, low[0] + (block - 1) / 2], [0, block, low[1] + (block - 1) / 2]])
    linear = matrix[:, :2] @ to_img[:, :2]
    return small, np.column_stack([linear, matrix[:, :2] @ to_img[:, 2] + matrix[:, 2]])


def to_norm(points_crop: Any, size: int) -> Any:
    """Crop pixels to normalised crop coordinates: an array or a torch tensor of any shape, the same kind back."""
    return (points_crop * 2 + 1) / size - 1


def from_norm(points_norm: Any, size: int) -> Any:
    """Normalised crop coordinates to crop pixels: an array or a torch tensor of any shape, the same kind back."""
    return ((points_norm + 1) * size - 1) / 2
