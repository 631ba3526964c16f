"""A network on packed crops: undisturbed views, several a face if wanted, points back in the pack's frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from pair_fld.data.augment.geometric import (
    Views,
    mirror_views,
    plan_views,
    sample_images,
    turn_views,
    unview_covariance,
    unview_points,
    warp_crops,
)
from pair_fld.data.dataset import Pack
from pair_fld.models import LandmarkNet
from pair_fld.runtime.scheme import NUM_POINTS
from pair_fld.runtime.session import PIXEL_MEAN, PIXEL_RANGE
from pair_fld.train.batches import TeacherLabels

# degrees and scale of the pairs of views, plain and mirrored, beyond the first
_WARPS = ((0.0, 1.0), (8.0, 1.06), (-8.0, 0.94), (4.0, 0.94), (-4.0, 1.06))


@torch.inference_mode()
def predict_pack(
    model: LandmarkNet, pack: Pack, rows: np.ndarray, *, views: int = 1, amp: bool = False, batch_size: int = 64,
    boxes: np.ndarray | None = None, progress: Callable[[int, int], None] | None = None,
) -> TeacherLabels:  # fmt: skip
    """Landmarks of the given rows on undisturbed views.

    Args:
        views: of each face, whose answers are averaged: 1 plain, 2 and mirrored, 3 to 10 also turned and scaled a
            little. amp: bfloat16 autocast. boxes: (n, 4) _pack to crop by, the pack's own when None.

    Returns:
        Means over the views of a face. The covariance is that of all views' distributions together: of the heatmaps,
        and of the views' points among each other (all there is for a net of plain coordinates).
    """
    if not len(rows):
        shapes = ((0, NUM_POINTS, 2), (0, NUM_POINTS, 2, 2), (0,))
        return TeacherLabels(*(np.zeros(shape, np.float32) for shape in shapes))
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    parts: list[list[np.ndarray]] = []
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        own = pack.faces.box[part] if boxes is None else boxes[start : start + batch_size]
        plain = plan_views(torch.from_numpy(own).float(), pack.size, model.config.margin, None, None)
        answers = [_answer(model, pack, part, plain, k, device, amp) for k in range(views)]
        points, spread = (torch.stack(column) for column in zip(*answers, strict=True))
        mean = points.mean(dim=0)
        off = points - mean
        covariance = (spread + off[..., :, None] * off[..., None, :]).mean(dim=0)
        side = plain.linear.det().abs().sqrt() * pack.size
        parts.append([values.float().cpu().numpy() for values in (mean, covariance, side)])
        if progress is not None:
            progress(min(start + batch_size, len(rows)), len(rows))
    model.train(was_training)
    return TeacherLabels(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _answer(
    model: LandmarkNet, pack: Pack, rows: np.ndarray, plain: Views, number: int, device: torch.device, amp: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (n, 51, 2) _pack and their covariances on the view of this number."""
    views = turn_views(plain, *_WARPS[number // 2])
    views = mirror_views(views) if number % 2 else views
    pixels = _pixels(pack, rows, views, model.config.input_size, device).sub_(PIXEL_MEAN).div_(PIXEL_RANGE)
    with torch.autocast(device.type, torch.bfloat16, enabled=amp):
        raw = model(pixels.contiguous(memory_format=torch.channels_last))
    mean, covariance = model.distribution(raw)
    views = views.to(device)
    return unview_points(mean, views, pack.size), unview_covariance(covariance, views, pack.size)


def _pixels(pack: Pack, rows: np.ndarray, views: Views, size: int, device: torch.device) -> torch.Tensor:
    """(n, 3, size, size) float32 whole numbers 0..255, on the device."""
    if device.type == "cpu":  # straight from the memory map
        return torch.from_numpy(warp_crops(pack.crops(rows), views, size)).permute(0, 3, 1, 2).float()
    return sample_images(torch.from_numpy(pack.images(rows)).to(device), views.to(device), size)
