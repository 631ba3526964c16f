"""What the face detector learns from: square views with faces of all sizes at any roll."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from pair_fld.runtime.centre_detector import KEY_POINTS, MIRRORED
from pair_fld.runtime.frame import Frame, frame_matrix
from pair_fld.runtime.geometry import transform_points, warp
from pair_fld.runtime.metadata import PIXEL_MEAN, PIXEL_STD

VISIBLE = 0.65  # share of a face's box that must lie in the view to be wanted
ANY_ROLL = 0.4  # share of the views that are turned by any angle
NEAR_UPRIGHT = 10.0  # deviation of the others' roll, degrees
SECOND_VIEW = 3.2  # side of the second pass's view over a 51-point box
HARD = 0.15  # share of the views that show a false detection of an earlier step, once there are any
LONGEST_SIDE = 384  # of an image, as it is kept


@dataclass(frozen=True)
class View:
    """An image to cut views from, or such a view.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        boxes: (n, 4) _img, 51-point boxes of its faces.
        certain: (n,) bool, False where a face may be or not.
        key_points: (n, 5, 2) _img, see `centre_detector.KEY_POINTS`; nan where a label lacks one.
    """

    image: np.ndarray
    boxes: np.ndarray
    certain: np.ndarray
    key_points: np.ndarray


def without_faces(image: np.ndarray) -> View:
    """An image (H, W, 3) that holds no face."""
    return View(image, np.zeros((0, 4)), np.zeros(0, bool), np.zeros((0, len(KEY_POINTS), 2)))


def net_input(views: Sequence[View]) -> torch.Tensor:
    """Views (S, S, 3) of one size as a net takes them: (B, 3, S, S) float32, -1 to 1."""
    pixels = torch.from_numpy(np.stack([view.image for view in views])).permute(0, 3, 1, 2).float()
    return pixels.sub_(PIXEL_MEAN).div_(PIXEL_STD)


def shrunk(view: View) -> View:
    """An image in the size that it is kept in."""
    image = view.image
    ratio = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
    if ratio < 1:
        image = cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
    boxes, key_points = ((places + 0.5) * ratio - 0.5 for places in (view.boxes, view.key_points))
    return View(image, boxes, view.certain, key_points)


def draw_view(
    images: Sequence[View],
    negatives: Sequence[View],
    size: int,
    rng: np.random.Generator,
    hard: Sequence[View] = (),
) -> View:
    """A random view (S, S, 3) with its boxes: of one image, a mosaic of several, or no face at all.

    Args:
        images: images with faces.
        negatives: images without faces.
        size: S.
        rng: what decides.
        hard: surroundings of false detections, each in the middle of its image (`mining`).
    """
    kind = rng.random()
    if kind < 0.12:
        return _augment(_window(_one(negatives, rng), size, rng), rng)
    if kind < 0.32:
        return _augment(_mosaic(images, negatives, size, rng), rng)
    if hard and kind < 0.32 + HARD:
        return _augment(_middle(_one(hard, rng), size, rng), rng)
    return _augment(_window(_one(images, rng), size, rng), rng)


def _one(images: Sequence[View], rng: np.random.Generator) -> View:
    return images[int(rng.integers(len(images)))]


def _window(source: View, size: int, rng: np.random.Generator) -> View:
    """A square window, placed by one of its faces, or anywhere when there is none."""
    height, width = source.image.shape[:2]
    if len(source.boxes) and rng.random() < 0.88:
        box = source.boxes[rng.integers(len(source.boxes))]
        face = float((box[2:] - box[:2]).max())
        if rng.random() < 0.4:  # as the second pass shows it
            side = face * SECOND_VIEW * np.exp(rng.normal(0, 0.2))
            centre = (box[:2] + box[2:]) / 2 + rng.normal(0, 0.12, 2) * face
        else:
            side = min(face / np.exp(rng.uniform(np.log(0.06), np.log(0.95))), 1.8 * max(height, width))
            centre = (box[:2] + box[2:]) / 2 + rng.uniform(-0.5, 0.5, 2) * max(side - face * 0.6, 0)
    else:
        side = max(height, width) * rng.uniform(0.25, 1.05)
        centre = rng.uniform(0, 1, 2) * (width, height)
    return cut(source, Frame((float(centre[0]), float(centre[1])), float(side), random_roll(rng)), size)


def _middle(source: View, size: int, rng: np.random.Generator) -> View:
    """A square window that shows the middle of the image, at any roll."""
    height, width = source.image.shape[:2]
    side = max(height, width) * rng.uniform(0.4, 0.9)
    x, y = (np.array([width, height]) - 1) / 2 + rng.uniform(-0.25, 0.25, 2) * side
    return cut(source, Frame((float(x), float(y)), float(side), float(rng.uniform(-180, 180))), size)


def random_roll(rng: np.random.Generator) -> float:
    """A view's roll in degrees: any angle, or near upright."""
    return float(rng.uniform(-180, 180) if rng.random() < ANY_ROLL else rng.normal(0, NEAR_UPRIGHT))


def cut(source: View, frame: Frame, size: int) -> View:
    """What a frame (_img) shows of an image, as a view (S, S, 3)."""
    matrix = frame_matrix(frame, size, 1.0)
    return View(
        warp(source.image, matrix, size),
        _move(source.boxes, matrix),
        source.certain,
        transform_points(matrix, source.key_points.reshape(-1, 2)).reshape(source.key_points.shape),
    )


def _move(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Boxes whose centres are turned with the image and whose sides are scaled."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    centre = transform_points(matrix, (boxes[:, :2] + boxes[:, 2:]) / 2)
    half = (boxes[:, 2:] - boxes[:, :2]) * scale / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _mosaic(images: Sequence[View], negatives: Sequence[View], size: int, rng: np.random.Generator) -> View:
    """Several images side by side: small faces, several at once, and edges that mean nothing."""
    cells = int(rng.integers(2, 5))
    tile = -(-size // cells)
    canvas = np.zeros((tile * cells, tile * cells, 3), np.uint8)
    boxes, certain, key_points = [], [], []
    for row in range(cells):
        for column in range(cells):
            pool = negatives if rng.random() < 0.3 else images
            cell = _window(_one(pool, rng), tile, rng)
            canvas[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile] = cell.image
            inside = visible_share(cell.boxes, tile)
            at = np.array([column, row]) * tile
            kept = inside > 0.2
            boxes.append(cell.boxes[kept] + np.tile(at, 2))
            key_points.append(cell.key_points[kept] + at)
            certain.append(cell.certain[kept] & (inside[kept] > VISIBLE))
    return View(canvas[:size, :size], *map(np.concatenate, (boxes, certain, key_points)))


def visible_share(boxes: np.ndarray, size: int) -> np.ndarray:
    """How much of each box lies in the view."""
    low, high = np.clip(boxes[:, :2], -0.5, size - 0.5), np.clip(boxes[:, 2:], -0.5, size - 0.5)
    return np.prod(high - low, axis=1) / np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-9)


def _augment(view: View, rng: np.random.Generator) -> View:
    image, boxes, key_points = view.image, view.boxes, view.key_points
    if rng.random() < 0.5:
        image = image[:, ::-1]
        boxes = (len(image) - 1) - boxes[:, [2, 1, 0, 3]]
        boxes[:, [1, 3]] = view.boxes[:, [1, 3]]
        key_points = key_points[:, list(MIRRORED)] * (-1, 1) + (len(image) - 1, 0)
    if rng.random() < 0.15:
        image = cv2.cvtColor(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if rng.random() < 0.7:
        gain = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.06, 3))
        table = (np.arange(256)[:, None] / 255) ** np.exp(rng.normal(0, 0.2)) * 255 * gain + rng.normal(0, 12)
        image = cv2.LUT(np.ascontiguousarray(image), np.clip(table, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), rng.uniform(0.5, 1.3))
    if rng.random() < 0.2:
        noisy = image + rng.normal(0, rng.uniform(2, 10), image.shape)
        image = np.clip(noisy, 0, 255).astype(np.uint8)
    return View(np.ascontiguousarray(image), boxes, view.certain, key_points)
