"""Losses as pure functions: outputs and targets in, a value a point (or a map) out; `terms` weights and sums them.

Coordinates are normalised crop coordinates (B, 51, 2). Distances within a loss are in "crop percent", 1/100 of the
crop's side, unless the loss's source defines them otherwise, so a setting means the same at every input size.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from pair_fld.models.landmark_net import soft_argmax
from pair_fld.train.target_maps import axis_log_gaussian

PERCENT = 50.0  # normalised coordinates span 2, so one unit is 50 % of the crop's side


def wing(predicted: torch.Tensor, target: torch.Tensor, w: float = 4.0, eps: float = 0.8) -> torch.Tensor:
    """Wing loss (Feng et al., CVPR 2018): logarithmic below w, linear above; w and eps in crop percent.

    The paper's w = 10, eps = 2 pixels of a 256 px crop are 4 and 0.8 percent.

    Returns:
        (B, 51), summed over x and y.
    """
    error = (predicted - target).abs() * PERCENT
    constant = w - w * math.log1p(w / eps)
    return torch.where(error < w, w * torch.log1p(error / eps), error - constant).sum(dim=-1)


def smooth_l1(predicted: torch.Tensor, target: torch.Tensor, beta: float = 1.0) -> torch.Tensor:
    """Huber loss over beta, beta in crop percent: (B, 51), summed over x and y."""
    return F.smooth_l1_loss(predicted * PERCENT, target * PERCENT, reduction="none", beta=beta).sum(dim=-1)


def heatmap_cross_entropy(logits: torch.Tensor, target: torch.Tensor, sigma: float) -> torch.Tensor:
    """Cross entropy between softmax(logits) and a Gaussian around the target, less the Gaussian's entropy.

    This is the Kullback-Leibler divergence that keeps a soft-argmax heatmap peaked (Nibali et al., DSNT, 2018, use
    Jensen-Shannon).

    Args:
        logits: (B, 51, H, W).
        target: (B, 51, 2).
        sigma: of the Gaussian, in cells.

    Returns:
        (B, 51).
    """
    height, width = logits.shape[-2:]
    gx = torch.softmax(axis_log_gaussian(target[..., 0], width, sigma), dim=-1)
    gy = torch.softmax(axis_log_gaussian(target[..., 1], height, sigma), dim=-1)
    # logits may come in bfloat16: the target's precision is the one to compute in
    log_p = torch.log_softmax(logits.to(target).flatten(2), dim=-1).unflatten(2, (height, width))
    cross = -torch.einsum("bphw,bph,bpw->bp", log_p, gy, gx)
    return cross + torch.xlogy(gx, gx).sum(-1) + torch.xlogy(gy, gy).sum(-1)


def simcc_cross_entropy(logits: torch.Tensor, mean: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
    """SimCC's loss (Li et al., ECCV 2022): the divergence of both axes from soft targets, Gaussians over the bins.

    Args:
        logits: (B, 51, 2 L).
        mean: (B, 51, 2).
        sigma: in bins, a number or (B, 51, 2).

    Returns:
        (B, 51), summed over the axes.
    """
    axes = logits.to(mean).unflatten(-1, (2, -1))  # (B, 51, 2, L)
    target = torch.softmax(axis_log_gaussian(mean, axes.shape[-1], sigma), dim=-1)
    return (torch.xlogy(target, target) - target * torch.log_softmax(axes, dim=-1)).sum(dim=(-2, -1))


def adaptive_wing(
    logits: torch.Tensor,
    target: torch.Tensor,
    omega: float = 14,
    theta: float = 0.5,
    eps: float = 1,
    alpha: float = 2.1,
) -> torch.Tensor:
    """Adaptive wing loss between sigmoid(logits) and target maps in 0..1 (Wang et al., ICCV 2019).

    omega ln(1 + (e / eps)^(alpha - y)) for errors e below theta, and beyond it A e - C, with A and C making
    the two meet smoothly: steep where the target is high, forgiving in the background.

    Args:
        logits, target: (..., H, W).

    Returns:
        (...), the mean over the cells.
    """
    error = (target - torch.sigmoid(logits.to(target))).abs()
    power = alpha - target
    at_theta = (theta / eps) ** power
    slope = omega / (1 + at_theta) * power * at_theta / theta
    offset = theta * slope - omega * torch.log1p(at_theta)
    # an infinite slope stands at the root of 0 only for powers below 1: alpha - target is 1.1 at least
    curved = omega * torch.log1p((error / eps) ** power)
    return torch.where(error < theta, curved, slope * error - offset).mean(dim=(-2, -1))


def star(logits: torch.Tensor, target: torch.Tensor, w: float = 1.0, beta: float = 0.01) -> torch.Tensor:
    """STAR loss (Zhou et al., CVPR 2023) of heatmaps: the error along either principal axis of a heatmap is divided by
    the deviation along it, so ambiguity along a contour costs less; w (l1 + l2) keeps the deviations small.

    With mean m, covariance C and its eigenvalues l_k and unit eigenvectors v_k (all normalised coordinates):
    sum_k smoothL1_beta((target - m) . v_k) / sqrt(l_k) + w (l1 + l2).

    The 2 x 2 eigenproblem is solved in closed form, and only squared projections occur, (e . v_k)^2 =
    (|e|^2 +- (cos 2t, sin 2t) . (ex^2 - ey^2, 2 ex ey)) / 2 with t the angle of v_1. Where the eigenvalues meet, the
    direction (cos 2t, sin 2t) is undefined; it fades to 0 there, which shares the error between both axes, and all
    gradients stay finite. Deviations are kept above a thousandth of the crop.

    Args:
        logits: (B, 51, H, W).
        target: (B, 51, 2).
        beta: where smooth L1 turns linear, normalised (the authors' 0.01).

    Returns:
        (B, 51).
    """
    mean, covariance = soft_argmax(logits)
    return _star(mean, covariance, target, w, beta)


def _star(mean: torch.Tensor, covariance: torch.Tensor, target: torch.Tensor, w: float, beta: float) -> torch.Tensor:
    a, b, c = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    half, apart = (a + c) / 2, (a - c) / 2
    root = torch.sqrt(apart**2 + b**2 + _TINY**2)
    cos, sin = apart / root, b / root
    ex, ey = (target - mean).unbind(dim=-1)
    square = (ex**2 + ey**2) / 2
    split = (cos * (ex**2 - ey**2) + 2 * sin * ex * ey) / 2
    total = w * (a + c)
    for sign in (1, -1):
        deviation = torch.sqrt((half + sign * root).clamp_min(0) + _FLOOR**2)
        total = total + _smooth_l1_of_square((square + sign * split).clamp_min(0), beta) / deviation
    return total


_TINY = 1e-6  # normalised, squared: below this difference of eigenvalues, (0.05 % of the crop)^2, the axes are none
_FLOOR = 2e-3  # normalised: a thousandth of the crop's side


def _smooth_l1_of_square(square: torch.Tensor, beta: float) -> torch.Tensor:
    """smoothL1_beta(e) from e^2: e^2 / (2 beta) below beta, e - beta / 2 above."""
    safe = square.clamp_min(beta**2)  # the root's slope is infinite at 0, where it is not used
    return torch.where(square < beta**2, square / (2 * beta), torch.sqrt(safe) - beta / 2)


def heatmap_distance(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared L2 distance between softmax(logits) and target heatmaps that sum to 1; both (B, 51, H, W), gives (B, 51).

    The published distillation loss is the sum over the points of this distance between fused heatmaps.
    """
    return (torch.softmax(logits.to(target).flatten(2), dim=-1) - target.flatten(2)).square().sum(dim=-1)


def feature_distance(feature: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of two maps (B, C, H, W), each cell's channels normalised: (B,).

    `target` may have another size; it is averaged, or repeated, to that of `feature`.
    """
    channels = feature.shape[1:2]
    height, width = feature.shape[-2:]
    target = F.adaptive_avg_pool2d(target, (height, width))
    a, b = (F.layer_norm(m.permute(0, 2, 3, 1), channels) for m in (feature.to(target), target))
    return (a - b).square().mean(dim=(1, 2, 3))
