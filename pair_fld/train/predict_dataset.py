"""Predictions of a landmark network on a packed dataset: plain crops, or several views of each face, averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pair_fld.data.augment.geometric import (
    VIEW_PAIRS,
    ViewTransforms,
    covariance_to_pack,
    mirror_views,
    points_to_pack,
    rotate_views,
    sample_images,
    sample_views,
    warp_crops,
)
from pair_fld.data.dataset import FaceDataset
from pair_fld.models import LandmarkNet
from pair_fld.progress import Progress, no_progress
from pair_fld.runtime.metadata import PIXEL_MEAN, PIXEL_STD
from pair_fld.runtime.scheme import NUM_POINTS


@dataclass(frozen=True)
class LandmarkPredictions:
    """Predicted landmarks of N faces and their uncertainty.

    Attributes:
        points: (N, 51, 2) float32 _pack.
        covariance: (N, 51, 2, 2) float32, squared _pack pixels.
        side: (N,) float32, side of the crop that was predicted on, _pack pixels.
    """

    points: np.ndarray
    covariance: np.ndarray
    side: np.ndarray

    @property
    def sigma(self) -> np.ndarray:
        """(N, 51) standard deviation, percent of the crop's side."""
        variance = np.trace(self.covariance, axis1=-2, axis2=-1)
        return np.sqrt(np.maximum(variance, 0)) / self.side[:, None] * 100


@torch.inference_mode()
def predict_dataset(
    model: LandmarkNet,
    dataset: FaceDataset,
    indices: np.ndarray,
    *,
    views: int = 1,
    amp: bool = False,
    batch_size: int = 64,
    frames: np.ndarray | None = None,
    progress: Progress = no_progress,
) -> LandmarkPredictions:
    """Predict the landmarks of the faces at `indices`, without augmentation.

    Args:
        views: views of each face whose predictions are averaged: 1 is the plain crop, 2 adds its mirror image, 3 to 10
            are also rotated and scaled a little.
        amp: bfloat16 autocast.
        frames: (n, 4) to crop by, see `FaceTable`; the dataset's own by default.
        progress: called with the number of faces done.

    Returns:
        Means over the views. The covariance is that of the mixture of all views: the mean of their heatmaps'
        covariances (0 for a network of plain coordinates) plus the covariance of their points.
    """
    if not len(indices):
        shapes = ((0, NUM_POINTS, 2), (0, NUM_POINTS, 2, 2), (0,))
        return LandmarkPredictions(*(np.zeros(shape, np.float32) for shape in shapes))
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    parts: list[list[np.ndarray]] = []
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        part_frames = dataset.faces.frame[part] if frames is None else frames[start : start + batch_size]
        plain = sample_views(torch.from_numpy(part_frames).float(), dataset.size, model.config.margin, None, None)
        crops = _Crops(dataset, part, device)
        predictions = [_predict_view(model, crops, _view(plain, number), amp) for number in range(views)]
        points, covariances = (torch.stack(column) for column in zip(*predictions, strict=True))
        mean = points.mean(dim=0)
        off = points - mean
        covariance = (covariances + off[..., :, None] * off[..., None, :]).mean(dim=0)
        side = plain.linear.det().abs().sqrt() * dataset.size
        parts.append([values.float().cpu().numpy() for values in (mean, covariance, side)])
        progress(min(start + batch_size, len(indices)), len(indices), "faces predicted")
    model.train(was_training)
    return LandmarkPredictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))


@dataclass(frozen=True)
class _Crops:
    """Packed crops of some faces, to be warped on a device."""

    dataset: FaceDataset
    indices: np.ndarray
    device: torch.device

    def warp(self, views: ViewTransforms, size: int) -> torch.Tensor:
        """(n, 3, size, size) float32 whole numbers 0..255, on the device."""
        if self.device.type == "cpu":  # straight from the memory map
            crops = warp_crops(self.dataset.crops(self.indices), views, size)
            return torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        images = torch.from_numpy(self.dataset.images(self.indices)).to(self.device)
        return sample_images(images, views.to(self.device), size)


def _view(plain: ViewTransforms, number: int) -> ViewTransforms:
    views = rotate_views(plain, *VIEW_PAIRS[number // 2])
    return mirror_views(views) if number % 2 else views


def _predict_view(
    model: LandmarkNet, crops: _Crops, views: ViewTransforms, amp: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (n, 51, 2) _pack and covariances (n, 51, 2, 2) in squared _pack pixels, predicted on one view."""
    pixels = crops.warp(views, model.config.input_size).sub_(PIXEL_MEAN).div_(PIXEL_STD)
    with torch.autocast(crops.device.type, torch.bfloat16, enabled=amp):
        raw = model(pixels.contiguous(memory_format=torch.channels_last))
    mean, covariance = model.distribution(raw)
    views, size = views.to(crops.device), crops.dataset.size
    return points_to_pack(mean, views, size), covariance_to_pack(covariance, views, size)
