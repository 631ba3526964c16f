"""Coordinates <-> heatmaps. Cell i of a heatmap of side H has its centre at (2 i + 1) / H - 1, normalised."""

from __future__ import annotations

import numpy as np


def cell_centres(side: int) -> np.ndarray:
    """Normalised coordinates (side,) of the cell centres of a heatmap; the one definition of its pixel rule."""
    return (2 * np.arange(side, dtype=np.float32) + 1) / side - 1


def encode_gaussian(points_norm: np.ndarray, side: int, sigma: float) -> np.ndarray:
    """Gaussian heatmaps (..., side, side) that sum to 1, of `points_norm` (..., 2); sigma in cells."""
    grid = cell_centres(side)
    step = 2 / side
    gx = np.exp(-(((grid - points_norm[..., 0:1]) / (step * sigma)) ** 2) / 2)
    gy = np.exp(-(((grid - points_norm[..., 1:2]) / (step * sigma)) ** 2) / 2)
    heat = gy[..., :, None] * gx[..., None, :]
    return heat / np.maximum(heat.sum(axis=(-2, -1), keepdims=True), 1e-12)


def decode_soft_argmax(logits: np.ndarray) -> np.ndarray:
    """Soft-argmax: the expectation of the cell centres under softmax(logits).

    Args:
        logits: (..., H, W), any real numbers.

    Returns:
        (..., 2) normalised x, y.
    """
    height, width = logits.shape[-2:]
    weights = np.exp(logits - logits.max(axis=(-2, -1), keepdims=True))
    weights /= weights.sum(axis=(-2, -1), keepdims=True)
    x = weights.sum(axis=-2) @ cell_centres(width)
    y = weights.sum(axis=-1) @ cell_centres(height)
    return np.stack([x, y], axis=-1)


def decode_simcc(logits: np.ndarray) -> np.ndarray:
    """Soft-argmax of SimCC outputs: the expectations of the bins' centres under two softmaxes.

    Args:
        logits: (..., 2 L), those of the L bins of x and then those of y; bins lie as a heatmap's cells do.

    Returns:
        (..., 2) normalised x, y.
    """
    bins = logits.shape[-1] // 2
    axes = logits.reshape(*logits.shape[:-1], 2, bins)
    weights = np.exp(axes - axes.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights @ cell_centres(bins)
