"""Loss terms: pure functions of outputs and targets, each masked and weighted a point.

All take predictions and targets as normalised crop coordinates (B, 51, 2) and `weight` (B, 51), which is 0 for points
without a label; they return the weighted mean over the points that count. Distances are in "crop percent", 1/100 of
the crop's side, so a setting means the same at every input size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pair_fld.runtime.codec import cell_centres

PERCENT = 50.0  # normalised coordinates span 2, so one unit is 50 % of the crop's side


@dataclass(frozen=True)
class Batch:
    """What a step's losses may look at. Coordinates are normalised view coordinates.

    points, weight: labels (B, 51, 2) and their weights (B, 51), 0 where missing.
    teacher_points, teacher_weight: the teacher's, None while training a teacher.
    """

    points: torch.Tensor
    weight: torch.Tensor
    teacher_points: torch.Tensor | None = None
    teacher_weight: torch.Tensor | None = None


@dataclass(frozen=True)
class Prediction:
    """raw: the net's output. points: (B, 51, 2) normalised. is_heatmap: raw holds (B, 51, H, W) logits."""

    raw: torch.Tensor
    points: torch.Tensor
    is_heatmap: bool


def weighted_mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of (B, 51) values under (B, 51) weights; 0 when every weight is."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)


def wing(
    predicted: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, w: float = 4.0, eps: float = 0.8
) -> torch.Tensor:
    """Wing loss (Feng et al., CVPR 2018): logarithmic below w, linear above; w and eps in crop percent.

    The paper's w = 10, eps = 2 pixels of a 256 px crop are 4 and 0.8 percent.
    """
    error = (predicted - target).abs() * PERCENT
    constant = w - w * math.log1p(w / eps)
    loss = torch.where(error < w, w * torch.log1p(error / eps), error - constant)
    return weighted_mean(loss.sum(dim=-1), weight)


def smooth_l1(predicted: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, beta: float = 1.0) -> torch.Tensor:
    """Huber loss over beta, beta in crop percent."""
    loss = torch.nn.functional.smooth_l1_loss(predicted * PERCENT, target * PERCENT, reduction="none", beta=beta)
    return weighted_mean(loss.sum(dim=-1), weight)


def heatmap_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, sigma: float
) -> torch.Tensor:
    """Cross entropy between softmax(logits) and a Gaussian around the target, less the Gaussian's entropy.

    This is the Kullback-Leibler divergence that keeps a soft-argmax heatmap peaked (Nibali et al., DSNT, 2018, use
    Jensen-Shannon); a target outside the crop gives no term.

    Args:
        logits: (B, 51, H, W). sigma: of the Gaussian, in cells.
    """
    height, width = logits.shape[-2:]

    def axis(side: int, centre: torch.Tensor) -> torch.Tensor:
        grid = torch.from_numpy(cell_centres(side)).to(centre)
        return torch.softmax(-(((grid - centre[..., None]) * side / (2 * sigma)) ** 2) / 2, dim=-1)

    gx, gy = axis(width, target[..., 0]), axis(height, target[..., 1])
    # logits may come in bfloat16: the target's precision is the one to compute in
    log_p = torch.log_softmax(logits.to(target).flatten(2), dim=-1).unflatten(2, (height, width))
    cross = -torch.einsum("bphw,bph,bpw->bp", log_p, gy, gx)
    entropy = -(torch.xlogy(gx, gx).sum(-1) + torch.xlogy(gy, gy).sum(-1))
    inside = (target.abs() <= 1).all(dim=-1)
    return weighted_mean(cross - entropy, weight * inside)


def _need_teacher(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    if batch.teacher_points is None or batch.teacher_weight is None:
        raise ValueError("a kd_ term needs a teacher; train through `pairfld distill` or remove the term")
    return batch.teacher_points, batch.teacher_weight


def _kd_heatmap(p: Prediction, b: Batch) -> torch.Tensor:
    points, weight = _need_teacher(b)
    return heatmap_cross_entropy(p.raw, points, weight, sigma=_SIGMA)


_SIGMA = 0.8  # cells; below about 0.5 a Gaussian no longer reaches the neighbouring cell and the gradient dies

Term = Callable[[Prediction, Batch], torch.Tensor]
TERMS: dict[str, Term] = {
    "wing": lambda p, b: wing(p.points, b.points, b.weight),
    "smooth_l1": lambda p, b: smooth_l1(p.points, b.points, b.weight),
    "heatmap": lambda p, b: heatmap_cross_entropy(p.raw, b.points, b.weight, sigma=_SIGMA),
    "kd_wing": lambda p, b: wing(p.points, *_need_teacher(b)),
    "kd_smooth_l1": lambda p, b: smooth_l1(p.points, *_need_teacher(b)),
    "kd_heatmap": _kd_heatmap,
}
HEATMAP_TERMS = ("heatmap", "kd_heatmap")
