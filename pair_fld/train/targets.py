"""Target maps, drawn for a whole batch at once on its device: Gaussians on points, lines along the facial curves."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from pair_fld.runtime.codec import cell_centres
from pair_fld.runtime.scheme import CURVES, NUM_POINTS

SAMPLES = 24  # segments that a curve is drawn with: a multiple of every curve's number of spans (3, 4, 6, 8, 12)


def axis_log_gaussian(centre: torch.Tensor, side: int, sigma: float | torch.Tensor) -> torch.Tensor:
    """-(distance / sigma)^2 / 2 of the cells of one axis from `centre`.

    Args:
        centre: (...), normalised. sigma: in cells, a number or (...).

    Returns:
        (..., side).
    """
    grid = torch.from_numpy(cell_centres(side)).to(centre)
    spread = sigma[..., None] if isinstance(sigma, torch.Tensor) else sigma
    return -(((grid - centre[..., None]) * (side / 2) / spread) ** 2) / 2


def point_maps(points: torch.Tensor, height: int, width: int, sigma: float) -> torch.Tensor:
    """Gaussians of height 1 around (B, P, 2) normalised points, sigma in cells: (B, P, height, width)."""
    gx, gy = (torch.exp(axis_log_gaussian(points[..., k], side, sigma)) for k, side in ((0, width), (1, height)))
    return gy[..., :, None] * gx[..., None, :]


def normal_maps(mean: torch.Tensor, covariance: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Heatmaps that sum to 1 of two-dimensional normal distributions.

    A cell's own extent is added to the covariance: a narrower distribution than a cell cannot be drawn on the grid.

    Args:
        mean: (B, P, 2) normalised. covariance: (B, P, 2, 2) in squared normalised units.

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

    Each is a Catmull-Rom spline through its points, cut into `SAMPLES` straight segments.

    Args:
        points: (B, 51, 2) normalised.
    """
    scale = points.new_tensor([width / 2, height / 2])
    knots = (_spline().to(points) @ points * scale).unflatten(1, (len(CURVES), SAMPLES + 1))  # (B, 8, K + 1, 2) cells
    x = torch.from_numpy(cell_centres(width)).to(points) * (width / 2)
    y = torch.from_numpy(cell_centres(height)).to(points) * (height / 2)
    # of every cell the nearest knot, and only of the two segments that meet there the exact distance
    squares = [(line - knots[..., axis, None]).square() for axis, line in enumerate((x, y))]  # (B, 8, K + 1, W), ... H)
    nearest = (squares[0][..., None, :] + squares[1][..., :, None]).argmin(dim=2).flatten(2)  # (B, 8, H W)
    cells = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1).view(-1, 2)
    first = torch.tensor([SAMPLES - 1 if c[0] == c[-1] else 0 for c in CURVES.values()], device=points.device)
    before = torch.where(nearest > 0, nearest - 1, first[:, None])  # a closed curve goes on at its other end
    before = _segment_distance(cells, knots, before)
    after = _segment_distance(cells, knots, nearest.clamp_max(SAMPLES - 1))
    closest = torch.minimum(before, after).unflatten(2, (height, width))
    return torch.exp(-closest / (2 * sigma**2))


def _segment_distance(cells: torch.Tensor, knots: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """Squared distances of cells (N, 2) from the segments that begin at the knots `first` (B, 8, N): (B, 8, N)."""

    def at(index: torch.Tensor) -> torch.Tensor:
        return knots.gather(2, index[..., None].expand(*index.shape, 2))

    start = at(first)
    step, off = at(first + 1) - start, cells - start
    along = (off * step).sum(dim=-1) / step.square().sum(dim=-1).clamp_min(1e-12)
    return (off - along.clamp_(0, 1)[..., None] * step).square().sum(dim=-1)


def curve_weights(weight: torch.Tensor) -> torch.Tensor:
    """(B, 51) weights of points -> (B, 8) weights of curves: the lowest of their points', 0 where one is missing."""
    return torch.stack([weight[:, list(members)].amin(dim=1) for members in CURVES.values()], dim=1)


@cache
def _spline() -> torch.Tensor:
    """(8 (SAMPLES + 1), 51): the samples of all curves as sums of the points.

    A uniform Catmull-Rom span from p1 to p2 with neighbours p0 and p3 is, at u in 0..1,
    ((-u + 2 u^2 - u^3) p0 + (2 - 5 u^2 + 3 u^3) p1 + (u + 4 u^2 - 3 u^3) p2 + (-u^2 + u^3) p3) / 2
    (Catmull and Rom, 1974). An open curve's ends are continued by their mirror images, 2 p1 - p2.
    """
    rows = np.zeros((len(CURVES), SAMPLES + 1, NUM_POINTS))
    identity = np.eye(NUM_POINTS)
    for curve, members in enumerate(CURVES.values()):
        p = identity[list(members)]
        closed = members[0] == members[-1]
        before, after = (p[-2], p[1]) if closed else (2 * p[0] - p[1], 2 * p[-1] - p[-2])
        p = np.concatenate([before[None], p, after[None]])
        spans = len(members) - 1
        for k in range(SAMPLES + 1):
            span, part = divmod(k * spans, SAMPLES)
            span, u = (span, part / SAMPLES) if span < spans else (spans - 1, 1.0)
            weights = (-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, -(u**2) + u**3)
            rows[curve, k] = np.dot(weights, p[span : span + 4]) / 2
    return torch.from_numpy(rows.reshape(-1, NUM_POINTS)).float()
