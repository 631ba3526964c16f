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


def heatmap_moments(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Soft-argmax and spread: mean and standard deviation of the cell centres under softmax(logits).

    Args:
        logits: (..., H, W), any real numbers.

    Returns:
        mean (..., 2) x, y, and deviation (...) along one axis (the root of the mean of both variances), normalised.
    """
    weights = np.exp(logits - logits.max(axis=(-2, -1), keepdims=True))
    weights /= weights.sum(axis=(-2, -1), keepdims=True)
    return _moments(weights.sum(axis=-2), weights.sum(axis=-1))


def simcc_moments(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`heatmap_moments` of SimCC outputs, which are two distributions: one over x, one over y.

    Args:
        logits: (..., 2 L), those of the L bins of x and then those of y; bins lie as a heatmap's cells do.
    """
    bins = logits.shape[-1] // 2
    axes = logits.reshape(*logits.shape[:-1], 2, bins)
    weights = np.exp(axes - axes.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return _moments(weights[..., 0, :], weights[..., 1, :])


def _moments(x_weights: np.ndarray, y_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = [], []
    for weights in (x_weights, y_weights):
        grid = cell_centres(weights.shape[-1])
        mean.append(weights @ grid)
        variance.append(np.maximum(weights @ grid**2 - mean[-1] ** 2, 0))
    return np.stack(mean, axis=-1), np.sqrt((variance[0] + variance[1]) / 2)
