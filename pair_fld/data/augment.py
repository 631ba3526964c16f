"""Views of packed crops, drawn in batches on the training device: one warp, then photometrics.

A view is the crop that `geometry.crop_matrix` would cut from the face's box, disturbed. Everything is a function of
the generator handed in, so a training step can be repeated exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from pair_fld.config import AugmentConfig
from pair_fld.runtime.scheme import FLIP


@dataclass(frozen=True)
class Views:
    """Geometry of a batch: `linear` (B, 2, 2) and `offset` (B, 2) take normalised view to normalised pack
    coordinates; `flipped` (B,) bool says which are mirrored."""

    linear: torch.Tensor
    offset: torch.Tensor
    flipped: torch.Tensor


def plan_views(
    boxes: torch.Tensor, pack_size: int, margin: float, config: AugmentConfig | None, generator: torch.Generator | None
) -> Views:
    """Choose the views of a batch.

    Args:
        boxes: (B, 4) _pack, x0 y0 x1 y1 of the 51 points.
        margin: crop side over the box's longer side.
        config: how to disturb; None gives the crop of `geometry.crop_matrix` itself.
    """
    batch, device = len(boxes), boxes.device
    size = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, 2:] + boxes[:, :2]) / 2
    side = size.amax(dim=1) * margin
    angle = torch.zeros(batch, device=device)
    flipped = torch.zeros(batch, dtype=torch.bool, device=device)
    if config is not None:
        normal = torch.randn(batch, 4, generator=generator, device=device).clamp(-2.5, 2.5)
        flipped = torch.rand(batch, generator=generator, device=device) < config.flip
        centre = centre + normal[:, :2] * config.shift * side[:, None]
        side = side * torch.exp(normal[:, 2] * config.scale)
        angle = torch.deg2rad(normal[:, 3] * config.rotation)
    half = side / pack_size  # view norm 1 is half a side, pack norm 1 is half the pack
    c, s = half * torch.cos(angle), half * torch.sin(angle)
    mirror = torch.where(flipped, -1.0, 1.0)
    linear = torch.stack([torch.stack([c * mirror, -s], -1), torch.stack([s * mirror, c], -1)], -2)
    return Views(linear, (centre * 2 + 1) / pack_size - 1, flipped)


def view_images(images: torch.Tensor, views: Views, size: int) -> torch.Tensor:
    """Warp (B, P, P, 3) uint8 packed crops to (B, 3, size, size) float32 in 0..255; outside is black."""
    theta = torch.cat([views.linear, views.offset[..., None]], dim=-1)
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images.permute(0, 3, 1, 2).float(), grid, mode="bilinear", align_corners=False)


def view_points(points_pack: torch.Tensor, views: Views, pack_size: int) -> torch.Tensor:
    """Points (B, 51, 2) _pack to normalised view coordinates, renumbered where the view is mirrored."""
    norm = (points_pack * 2 + 1) / pack_size - 1
    inverse = torch.linalg.inv(views.linear)
    points = torch.einsum("bij,bpj->bpi", inverse, norm - views.offset[:, None])
    return mirror_order(points, views.flipped)


def mirror_order(values: torch.Tensor, flipped: torch.Tensor) -> torch.Tensor:
    """Renumber per-point values (B, 51, ...) of the mirrored samples by the scheme's mirror permutation."""
    swapped = values[:, list(FLIP)]
    return torch.where(flipped.view(-1, *[1] * (values.ndim - 1)), swapped, values)


def unview_points(points_norm: torch.Tensor, views: Views, pack_size: int) -> torch.Tensor:
    """Inverse of `view_points`: normalised view coordinates (B, 51, 2) back to _pack."""
    points = mirror_order(points_norm, views.flipped)
    norm = torch.einsum("bij,bpj->bpi", views.linear, points) + views.offset[:, None]
    return ((norm + 1) * pack_size - 1) / 2


def photometrics(images: torch.Tensor, config: AugmentConfig, generator: torch.Generator | None) -> torch.Tensor:
    """Disturb the look of (B, 3, S, S) images in 0..255, which are changed in place; returns them."""
    batch, _, size, _ = images.shape
    device = images.device

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, device=device) * (high - low) + low

    def chosen(probability: float) -> torch.Tensor:
        return torch.nonzero(uniform(batch) < probability).flatten()

    rows = chosen(config.photometric)
    if len(rows):
        n = len(rows)
        part = (images[rows] / 255).clamp_(0, 1) ** torch.exp(uniform(n, 1, 1, 1, low=-0.5, high=0.5))
        gain = uniform(n, 3, 1, 1, low=0.85, high=1.15) * uniform(n, 1, 1, 1, low=0.6, high=1.3)
        images[rows] = (part * gain + uniform(n, 1, 1, 1, low=-0.15, high=0.15)) * 255
    rows = chosen(config.grey)
    if len(rows):
        luma = torch.tensor([0.114, 0.587, 0.299], device=device).view(1, 3, 1, 1)  # BGR, ITU-R BT.601
        images[rows] = (images[rows] * luma).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    rows = chosen(config.blur)
    if len(rows):
        factor = int(torch.randint(2, 4, (1,), generator=generator, device=device))
        small = F.avg_pool2d(images[rows], factor, ceil_mode=True)
        images[rows] = F.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
    rows = chosen(config.occlude)
    if len(rows):
        images[rows] = _occlude(images[rows], images[rows.roll(1)], uniform)
    rows = chosen(config.noise)
    if len(rows):
        noise = torch.randn(images[rows].shape, generator=generator, device=device)
        images[rows] += noise * uniform(len(rows), 1, 1, 1, low=2, high=16)
    return images.clamp_(0, 255)


def _occlude(images: torch.Tensor, others: torch.Tensor, uniform) -> torch.Tensor:
    """Lay a rectangle or an ellipse over each image: half a flat colour, half a piece of another picture."""
    batch, _, size, _ = images.shape
    line = torch.linspace(-1, 1, size, device=images.device)
    centre, extent = uniform(batch, 2, low=-0.9, high=0.9), uniform(batch, 2, low=0.1, high=0.45)
    dx = (line[None] - centre[:, :1]).abs() / extent[:, :1]
    dy = (line[None] - centre[:, 1:]).abs() / extent[:, 1:]
    power = torch.where(uniform(batch, 1) < 0.5, 2.0, 16.0)  # ellipse or nearly a rectangle
    inside = ((dx**power)[:, None, :] + (dy**power)[:, :, None] < 1)[:, None]
    flat = uniform(batch, 3, 1, 1, high=255).expand_as(images)
    filling = torch.where(uniform(batch, 1, 1, 1) < 0.5, flat, others)
    return torch.where(inside, filling, images)
