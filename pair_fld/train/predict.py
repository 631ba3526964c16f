"""A network on packed crops: the canonical view, both flips if wanted, points back in the pack's frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from pair_fld.data.augment import Views, mirror_order, plan_views, sample_images, unview_points, warp_crops
from pair_fld.data.pack import Pack
from pair_fld.models import LandmarkNet
from pair_fld.models.build import soft_argmax
from pair_fld.runtime.scheme import NUM_POINTS
from pair_fld.runtime.session import PIXEL_MEAN, PIXEL_RANGE
from pair_fld.train.batches import TeacherLabels
from pair_fld.train.losses import PERCENT


@torch.inference_mode()
def predict_pack(
    model: LandmarkNet, pack: Pack, rows: np.ndarray, *, flip: bool = False, amp: bool = False, batch_size: int = 64,
    boxes: np.ndarray | None = None, progress: Callable[[int, int], None] | None = None,
) -> TeacherLabels:  # fmt: skip
    """Landmarks of the given rows on undisturbed views.

    Args:
        flip: average with the mirrored view. amp: bfloat16 autocast.
        boxes: (n, 4) _pack to crop by, the pack's own when None.

    Returns:
        points (n, 51, 2) float32 _pack, sigma (n, 51) float32: the heatmap's standard deviation in crop percent, or
        half the disagreement of the two flips for a coordinate net (0 when `flip` is off).
    """
    if not len(rows):
        return TeacherLabels(np.zeros((0, NUM_POINTS, 2), np.float32), np.zeros((0, NUM_POINTS), np.float32))
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    config, points, sigmas = model.config, [], []
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        own = pack.faces.box[part] if boxes is None else boxes[start : start + batch_size]
        views = plan_views(torch.from_numpy(own).float(), pack.size, config.margin, None, None)
        pixels = _pixels(pack, part, views, config.input_size, device).sub_(PIXEL_MEAN).div_(PIXEL_RANGE)
        views = views.to(device)
        mean, sigma = _points_and_sigma(model, pixels, amp)
        if flip:
            mirrored = torch.ones(len(part), dtype=torch.bool, device=device)
            mean_b, sigma_b = _points_and_sigma(model, pixels.flip(-1), amp)
            mean_b = mirror_order(mean_b * torch.tensor([-1.0, 1.0], device=device), mirrored)
            sigma_b = mirror_order(sigma_b, mirrored)
            apart = (mean - mean_b).norm(dim=-1) / 2 * PERCENT
            mean, sigma = (mean + mean_b) / 2, torch.maximum((sigma + sigma_b) / 2, apart)
        points.append(unview_points(mean, views, pack.size).float().cpu().numpy())
        sigmas.append(sigma.float().cpu().numpy())
        if progress is not None:
            progress(min(start + batch_size, len(rows)), len(rows))
    model.train(was_training)
    return TeacherLabels(np.concatenate(points), np.concatenate(sigmas))


def _pixels(pack: Pack, rows: np.ndarray, views: Views, size: int, device: torch.device) -> torch.Tensor:
    """(n, 3, size, size) float32 whole numbers 0..255, on the device."""
    if device.type == "cpu":  # straight from the memory map
        return torch.from_numpy(warp_crops(pack.crops(rows), views, size)).permute(0, 3, 1, 2).float()
    return sample_images(torch.from_numpy(pack.images(rows)).to(device), views.to(device), size)


def _points_and_sigma(model: LandmarkNet, pixels: torch.Tensor, amp: bool) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=amp):
        raw = model(pixels)
    if model.output_kind == "heatmap":
        mean, covariance = soft_argmax(raw)
        variance = covariance.diagonal(dim1=-2, dim2=-1).sum(dim=-1).clamp_min(0)
        return mean, variance.sqrt() * PERCENT
    return raw.float(), raw.new_zeros(raw.shape[:2]).float()
