"""Geometric augmentation: the part of a packed crop that a training sample shows, for its image and its points.

A view is the crop that `frame.frame_matrix` cuts by the face's frame, randomly mirrored, rotated, scaled and shifted.
Light, occluders and noise are in `photometric`. Random numbers come from a numpy generator on the CPU, so a training
step has the same views on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from pair_fld.config import AugmentConfig
from pair_fld.runtime.geometry import to_norm
from pair_fld.runtime.scheme import FLIP

_FLIP = torch.tensor(FLIP)

# (degrees, scale) of each pair of views whose predictions are averaged, a plain one and its mirror image
VIEW_PAIRS = ((0.0, 1.0), (8.0, 1.06), (-8.0, 0.94), (4.0, 0.94), (-4.0, 1.06))


@dataclass(frozen=True)
class ViewTransforms:
    """Affine maps of a batch from normalised view coordinates to normalised packed coordinates.

    Attributes:
        linear: (B, 2, 2).
        offset: (B, 2).
        flipped: (B,) bool, whether the view is mirrored.
    """

    linear: torch.Tensor
    offset: torch.Tensor
    flipped: torch.Tensor

    def __getitem__(self, part: slice) -> ViewTransforms:
        return ViewTransforms(self.linear[part], self.offset[part], self.flipped[part])

    def to(self, device: torch.device) -> ViewTransforms:
        return ViewTransforms(*(t.to(device, non_blocking=True) for t in (self.linear, self.offset, self.flipped)))


def sample_views(
    frames: torch.Tensor,
    pack_size: int,
    margin: float,
    config: AugmentConfig | None,
    rng: np.random.Generator | None,
    residual: np.ndarray | None = None,
) -> ViewTransforms:
    """Sample the views of a batch.

    Args:
        frames: (B, 4) centre x, y and size in _pack pixels, roll in degrees.
        margin: crop side divided by the frame's size.
        config: ranges of the random changes, drawn from `rng`; None gives the crop of `frame.frame_matrix` itself.
        residual: (4, 4) covariance of a detector's frames, see `frame.frame_residual`: views are off as the
            detector's are, and by the configured changes beyond that.
    """
    batch, device = len(frames), frames.device
    centre, side = frames[:, :2], frames[:, 2] * margin
    angle = torch.deg2rad(frames[:, 3])
    flipped = torch.zeros(batch, dtype=torch.bool, device=device)
    if config is not None and rng is not None:
        normal = rng.standard_normal((batch, 4), np.float32).clip(-2.5, 2.5)
        flipped = torch.from_numpy(rng.random(batch) < config.flip).to(device)
        drawn = torch.from_numpy(normal @ _spread(config, margin, residual).T).to(device)
        c, s = torch.cos(angle), torch.sin(angle)
        shift = torch.stack([c * drawn[:, 0] - s * drawn[:, 1], s * drawn[:, 0] + c * drawn[:, 1]], -1)
        centre = centre + shift * frames[:, 2:3]
        side = side * torch.exp(drawn[:, 2])
        angle = angle + torch.deg2rad(drawn[:, 3])
    half = side / pack_size  # view norm 1 is half a side, packed norm 1 is half the packed crop
    c, s = half * torch.cos(angle), half * torch.sin(angle)
    mirror = torch.where(flipped, -1.0, 1.0)
    linear = torch.stack([torch.stack([c * mirror, -s], -1), torch.stack([s * mirror, c], -1)], -2)
    return ViewTransforms(linear, to_norm(centre, pack_size), flipped)


def _spread(config: AugmentConfig, margin: float, residual: np.ndarray | None) -> np.ndarray:
    """(4, 4) float32 root of the covariance of the views' residuals: the detector's and the configured one, added."""
    own = np.array([config.shift * margin, config.shift * margin, config.scale, config.rotation])
    if residual is None or config.detector == 0:
        return np.diag(own).astype(np.float32)
    # not Cholesky's: a detector of boxes only knows no roll, and its covariance is singular
    values, vectors = np.linalg.eigh(config.detector**2 * residual + np.diag(own**2))
    return (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)


def warp_images(images: torch.Tensor, views: ViewTransforms, size: int) -> torch.Tensor:
    """Warp (B, P, P, 3) uint8 packed crops to (B, 3, size, size) float32 whole numbers 0..255; outside is black.

    Values are rounded to whole grey levels on every device, as in the shipped model's input.
    """
    if images.device.type == "cpu":  # several times faster than grid_sample there
        return torch.from_numpy(warp_crops(images.numpy(), views, size)).permute(0, 3, 1, 2).float()
    return sample_images(images, views, size)


def warp_crops(crops: np.ndarray | Sequence[np.ndarray], views: ViewTransforms, size: int) -> np.ndarray:
    """`warp_images` with OpenCV: B crops (P, P, 3) uint8, anywhere in memory, to (B, size, size, 3) uint8."""
    out = np.empty((len(crops), size, size, 3), np.uint8)
    linear, offset = views.linear.numpy().astype(np.float64), views.offset.numpy().astype(np.float64)
    # view pixel u = ((n + 1) S - 1) / 2 at normalised n, packed pixel likewise: u_pack = scale u_view + shift
    packed = crops[0].shape[0]
    matrices = np.concatenate([linear * (packed / size), np.zeros((len(crops), 2, 1))], axis=2)
    first = np.einsum("bij,j->bi", linear, np.full(2, 1 / size - 1)) + offset  # where view pixel (0, 0) is
    matrices[:, :, 2] = ((first + 1) * packed - 1) / 2
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # Copy first, in order: warping straight from uncached memory takes twice as long. With a fourth channel, OpenCV's
    # warp is twice as fast again.
    near, warped = np.empty((packed, packed, 4), np.uint8), np.empty((size, size, 4), np.uint8)
    for crop, matrix, drawn in zip(crops, matrices, out, strict=True):
        cv2.cvtColor(crop, cv2.COLOR_BGR2BGRA, dst=near)
        cv2.warpAffine(near, matrix, (size, size), dst=warped, flags=flags, borderMode=cv2.BORDER_CONSTANT)
        cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR, dst=drawn)
    return out


def sample_images(images: torch.Tensor, views: ViewTransforms, size: int) -> torch.Tensor:
    """`warp_images` with torch, in one call per batch: for accelerators."""
    theta = torch.cat([views.linear, views.offset[..., None]], dim=-1)
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    pixels = F.grid_sample(images.permute(0, 3, 1, 2).float(), grid, mode="bilinear", align_corners=False)
    return pixels.round_()


def points_to_view(points_pack: torch.Tensor, views: ViewTransforms, pack_size: int) -> torch.Tensor:
    """Points (B, 51, 2) _pack to normalised view coordinates, renumbered where the view is mirrored."""
    norm = to_norm(points_pack, pack_size)
    points = (norm - views.offset[:, None]) @ _inverse(views.linear).mT
    return mirror_order(points, views.flipped)


def _inverse(linear: torch.Tensor) -> torch.Tensor:
    """Inverses of (B, 2, 2) matrices; torch.linalg.inv takes longer than everything else done to a batch's points."""
    (a, b), (c, d) = ((row[:, 0], row[:, 1]) for row in (linear[:, 0], linear[:, 1]))
    return torch.stack([d, -b, -c, a], dim=-1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]


def mirror_order(values: torch.Tensor, flipped: torch.Tensor) -> torch.Tensor:
    """Renumber per-point values (B, 51, ...) of mirrored samples with the scheme's mirror permutation."""
    swapped = values.index_select(1, _FLIP.to(values.device))
    return torch.where(flipped.view(-1, *[1] * (values.ndim - 1)), swapped, values)


def points_to_pack(points_norm: torch.Tensor, views: ViewTransforms, pack_size: int) -> torch.Tensor:
    """Inverse of `points_to_view`: normalised view coordinates (B, 51, 2) back to _pack."""
    points = mirror_order(points_norm, views.flipped)
    norm = torch.einsum("bij,bpj->bpi", views.linear, points) + views.offset[:, None]
    return ((norm + 1) * pack_size - 1) / 2


def covariance_to_view(covariance_pack: torch.Tensor, views: ViewTransforms, pack_size: int) -> torch.Tensor:
    """Covariances (B, 51, 2, 2) in squared _pack pixels to normalised view coordinates, renumbered like the points."""
    to_view = (_inverse(views.linear) * (2 / pack_size))[:, None]
    return mirror_order(to_view @ covariance_pack @ to_view.mT, views.flipped)


def covariance_to_pack(covariance_norm: torch.Tensor, views: ViewTransforms, pack_size: int) -> torch.Tensor:
    """Inverse of `covariance_to_view`."""
    to_pack = (views.linear * (pack_size / 2))[:, None]
    return to_pack @ mirror_order(covariance_norm, views.flipped) @ to_pack.mT


def rotate_views(views: ViewTransforms, degrees: float, scale: float) -> ViewTransforms:
    """The same views rotated about their centres, showing an area `scale` times as wide."""
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return ViewTransforms(views.linear @ torch.from_numpy(turn).to(views.linear), views.offset, views.flipped)


def mirror_views(views: ViewTransforms) -> ViewTransforms:
    """The same views mirrored."""
    return ViewTransforms(views.linear * views.linear.new_tensor([-1.0, 1.0]), views.offset, ~views.flipped)
