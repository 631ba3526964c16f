"""Target maps, drawn for a whole batch at once on its device: Gaussians on points, lines along the facial curves."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch.nn import functional as F

from pair_fld.runtime.codec import cell_centres
from pair_fld.runtime.scheme import CURVES, NUM_POINTS

_SPANS = 24  # a multiple of every curve's number of spans (3, 4, 6, 8, 12)
_SHARP = 2.0  # its square, 4, is the root that `curve_maps` takes


def axis_log_gaussian(centre: torch.Tensor, side: int, sigma: float | torch.Tensor) -> torch.Tensor:
    """-(distance / sigma)^2 / 2 of the cells of one axis from `centre`.

    Args:
        centre: (...), normalised.
        sigma: in cells, a number or (...).

    Returns:
        (..., side).
    """
    grid = torch.from_numpy(cell_centres(side)).to(centre)
    spread = sigma[..., None] if isinstance(sigma, torch.Tensor) else sigma
    return -(((grid - centre[..., None]) * (side / 2) / spread) ** 2) / 2


def _bells(centre: torch.Tensor, side: int, sigma: float) -> torch.Tensor:
    """exp of `axis_log_gaussian`, in one piece of memory: targets need no gradients."""
    scale = side / (2 * math.sqrt(2) * sigma)
    grid = torch.from_numpy(cell_centres(side) * np.float32(scale)).to(centre)
    return (grid - (centre * scale)[..., None]).square_().neg_().exp_()


def point_maps(points: torch.Tensor, height: int, width: int, sigma: float) -> torch.Tensor:
    """Gaussians of height 1 around (B, P, 2) normalised points, sigma in cells: (B, P, height, width)."""
    gx, gy = _bells(points[..., 0], width, sigma), _bells(points[..., 1], height, sigma)
    return gy[..., :, None] * gx[..., None, :]


def normal_maps(mean: torch.Tensor, covariance: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Heatmaps that sum to 1 of two-dimensional normal distributions.

    A cell's own extent is added to the covariance: a narrower distribution than a cell cannot be drawn on the grid.

    Args:
        mean: (B, P, 2) normalised.
        covariance: (B, P, 2, 2) in squared normalised units.

    Returns:
        (B, P, height, width).
    """
    a = covariance[..., 0, 0] + (2 / width) ** 2 / 12
    c = covariance[..., 1, 1] + (2 / height) ** 2 / 12
    b = covariance[..., 0, 1]
    determinant = (a * c - b * b).clamp_min(1e-12)
    dx = torch.from_numpy(cell_centres(width)).to(mean) - mean[..., 0, None]
    dy = torch.from_numpy(cell_centres(height)).to(mean) - mean[..., 1, None]
    across = c[..., None] * dx**2  # (B, P, W)
    down = a[..., None] * dy**2
    both = (b[..., None] * dx)[..., None, :] * dy[..., :, None]
    exponent = -(across[..., None, :] + down[..., :, None] - 2 * both) / (2 * determinant[..., None, None])
    return torch.softmax(exponent.flatten(2), dim=-1).view_as(both)


def curve_maps(points: torch.Tensor, height: int, width: int, sigma: float) -> torch.Tensor:
    """The eight facial curves as lines with a Gaussian profile of height 1, sigma in cells: (B, 8, height, width).

    Each is a Catmull-Rom spline through its points. The integral of a Gaussian along a line is the line blurred: its
    profile across is that Gaussian, whatever the line's speed. A narrow Gaussian, of sigma / `_SHARP`, is integrated,
    and the `_SHARP`^2-th root taken, which makes the profile exp(-d^2 / (2 sigma^2)) and keeps the line's ends and its
    neighbours apart. The sum over samples is one matrix product a curve, with no loop over cells, samples or faces.

    Args:
        points: (B, 51, 2) normalised.
    """
    samples = _SPANS * math.ceil(max(height, width) / _SPANS)  # less than a cell apart on the longest curves
    knots = (_spline(samples).to(points) @ points).unflatten(1, (len(CURVES), samples + 1))  # (B, 8, K, 2) normalised
    steps = (knots.diff(dim=2) * points.new_tensor([width / 2, height / 2])).norm(dim=-1)  # in cells
    length = (F.pad(steps, (1, 0)) + F.pad(steps, (0, 1))) / 2  # what each sample stands for
    narrow = sigma / _SHARP
    gx = _bells(knots[..., 0], width, narrow)  # (B, 8, K, W)
    gy = _bells(knots[..., 1], height, narrow).mul_((length / (narrow * math.sqrt(2 * math.pi)))[..., None])
    return (gy.mT @ gx).clamp_(0, 1).sqrt_().sqrt_()  # (B, 8, H, W)


def curve_weights(weight: torch.Tensor) -> torch.Tensor:
    """(B, 51) weights of points -> (B, 8) weights of curves: the lowest of their points', 0 where one is missing."""
    return torch.stack([weight[:, list(members)].amin(dim=1) for members in CURVES.values()], dim=1)


@cache
def _spline(samples: int) -> torch.Tensor:
    """(8 (samples + 1), 51): samples evenly spread over the spans of all curves, as sums of the points.

    A uniform Catmull-Rom span from p1 to p2 with neighbours p0 and p3 is, at u in 0..1,
    ((-u + 2 u^2 - u^3) p0 + (2 - 5 u^2 + 3 u^3) p1 + (u + 4 u^2 - 3 u^3) p2 + (-u^2 + u^3) p3) / 2
    (Catmull and Rom, 1974). An open curve's ends are continued by their mirror images, 2 p1 - p2.
    """
    rows = np.zeros((len(CURVES), samples + 1, NUM_POINTS))
    identity = np.eye(NUM_POINTS)
    for curve, members in enumerate(CURVES.values()):
        p = identity[list(members)]
        closed = members[0] == members[-1]
        before, after = (p[-2], p[1]) if closed else (2 * p[0] - p[1], 2 * p[-1] - p[-2])
        p = np.concatenate([before[None], p, after[None]])
        each = samples // (len(members) - 1)  # of a span
        for k in range(samples + 1):
            span = min(k // each, len(members) - 2)
            u = k / each - span
            weights = (-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, -(u**2) + u**3)
            rows[curve, k] = np.dot(weights, p[span : span + 4]) / 2
    return torch.from_numpy(rows.reshape(-1, NUM_POINTS)).float()
