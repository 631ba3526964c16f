"""The named loss terms of `train.losses`: what each compares, what it counts, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import torch

from pair_fld.models import LandmarkNet
from pair_fld.models.heads import Outputs
from pair_fld.train import losses
from pair_fld.train.target_maps import curve_maps, curve_weights, normal_maps, point_maps


@dataclass(frozen=True)
class Batch:
    """What a step's losses may look at. Coordinates are normalised view coordinates.

    points, weight: labels (B, 51, 2) and their weights (B, 51), 0 where missing.
    teacher_points, teacher_weight, teacher_covariance (B, 51, 2, 2): the teacher's cached answers, None while training
    a teacher. live_raw, live_feature: what a teacher gave for these very views, None unless a term needs it.
    """

    points: torch.Tensor
    weight: torch.Tensor
    teacher_points: torch.Tensor | None = None
    teacher_weight: torch.Tensor | None = None
    teacher_covariance: torch.Tensor | None = None
    live_raw: torch.Tensor | None = None
    live_feature: torch.Tensor | None = None


@dataclass(frozen=True)
class Prediction:
    """outputs: the net's, its feature brought to the teacher's channels if a term needs that. points: (B, 51, 2)."""

    outputs: Outputs
    points: torch.Tensor

    @property
    def raw(self) -> torch.Tensor:
        return self.outputs.raw


# What a term may need: a kind of output, the maps of anisotropic attention, the teacher's answers, the teacher itself
# in every step, the teacher itself with the maps of anisotropic attention.
HEATMAP, SIMCC, MAPS, TEACHER, LIVE, LIVE_MAPS = "heatmap", "simcc", "maps", "teacher", "live", "live_maps"

Values = Callable[[Prediction, Batch], torch.Tensor]
Weight = Callable[[Batch], torch.Tensor]


@dataclass(frozen=True)
class Term:
    """A loss: the mean of `values` under `weight`, arrays of one shape whose first axis is the batch.

    weight: what each value counts, 0 where there is nothing to compare; of the batch alone, so that a team of processes
    can tell its share before anything is computed.
    """

    values: Values
    weight: Weight
    needs: Collection[str] = field(default=())

    def __call__(self, prediction: Prediction, batch: Batch) -> torch.Tensor:
        return weighted_mean(self.values(prediction, batch), self.weight(batch))


def weighted_mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of values under weights of their shape; 0 when every weight is."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)


def needed(names: Collection[str]) -> set[str]:
    """All that the terms of these names need."""
    return {need for name in names for need in TERMS[name].needs}


def misfits(names: Collection[str], model: LandmarkNet) -> list[str]:
    """The terms that ask for outputs which the model does not have."""
    has = {model.output_kind} | ({MAPS} if model.has_maps else set())
    return [name for name in names if {HEATMAP, SIMCC, MAPS} & set(TERMS[name].needs) - has]


_SIGMA = 0.8  # cells; below about 0.5 a Gaussian no longer reaches the neighbouring cell and the gradient dies
_MAP_SIGMA = 1.0  # cells, of the paper's point and edge targets
_BIN_SIGMA = 2.0  # bins, of SimCC targets drawn around labels


def _labels(b: Batch) -> torch.Tensor:
    return b.weight


def _labels_inside(b: Batch) -> torch.Tensor:
    return b.weight * _inside(b.points)


def _inside(points: torch.Tensor) -> torch.Tensor:
    """(B, 51) bool: a target outside the crop has no cell to stand on."""
    return (points.abs() <= 1).all(dim=-1)


def _taught(b: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The teacher's points, weights and covariances."""
    if b.teacher_points is None or b.teacher_weight is None or b.teacher_covariance is None:
        raise ValueError("a kd_ term needs a teacher; train through `pairfld distill` or remove the term")
    return b.teacher_points, b.teacher_weight, b.teacher_covariance


def _answers(b: Batch) -> torch.Tensor:
    return _taught(b)[1]


def _answers_inside(b: Batch) -> torch.Tensor:
    points, weight, _ = _taught(b)
    return weight * _inside(points)


def _present(tensor: torch.Tensor | None) -> torch.Tensor:
    if tensor is None:
        raise ValueError("a term needs maps that this net or this teacher does not give")
    return tensor


def _stacks(values: Callable[[torch.Tensor], torch.Tensor], maps: torch.Tensor | None) -> torch.Tensor:
    """A loss of maps (B, K, ...), averaged over the K stacks of a net."""
    stacks = _present(maps).unbind(dim=1)
    return torch.stack([values(stack) for stack in stacks]).mean(dim=0)


def _star(p: Prediction, b: Batch) -> torch.Tensor:
    maps = p.outputs.fused if p.outputs.fused is not None else p.raw[:, None]
    return _stacks(lambda stack: losses.star(stack, b.points), maps)


def _awing_points(p: Prediction, b: Batch) -> torch.Tensor:
    height, width = p.raw.shape[-2:]
    target = point_maps(b.points, height, width, _MAP_SIGMA)
    return _stacks(lambda stack: losses.adaptive_wing(stack, target), p.outputs.point_maps)


def _awing_edges(p: Prediction, b: Batch) -> torch.Tensor:
    height, width = p.raw.shape[-2:]
    target = curve_maps(b.points, height, width, _MAP_SIGMA)
    return _stacks(lambda stack: losses.adaptive_wing(stack, target), p.outputs.edge_maps)


def _kd_l2(p: Prediction, b: Batch) -> torch.Tensor:
    """The teacher's heatmaps, live or drawn anew from the mean and covariance that were cached, warped to the view."""
    height, width = p.raw.shape[-2:]
    if b.live_raw is None:
        points, _, covariance = _taught(b)
        return losses.heatmap_distance(p.raw, normal_maps(points, covariance, height, width))
    logits = b.live_raw.to(b.points)
    heat = torch.softmax(logits.flatten(2), dim=-1).view_as(logits)
    heat = torch.nn.functional.adaptive_avg_pool2d(heat, (height, width))
    return losses.heatmap_distance(p.raw, heat / heat.sum(dim=(-2, -1), keepdim=True))


def _kd_fused(p: Prediction, b: Batch) -> torch.Tensor:
    ours, theirs = p.raw.to(b.points).exp(), _present(b.live_raw).to(b.points).exp()
    return (ours - theirs).square().mean(dim=(-2, -1))


def _kd_simcc(p: Prediction, b: Batch) -> torch.Tensor:
    points, _, covariance = _taught(b)
    bin_size = 4 / p.raw.shape[-1]  # normalised coordinates span 2, and half of the outputs are an axis
    variance = covariance.diagonal(dim1=-2, dim2=-1) / bin_size**2
    return losses.simcc_cross_entropy(p.raw, points, torch.sqrt(variance + 1))


TERMS: dict[str, Term] = {
    # coordinates of labels and of the teacher, the latter weighted by its certainty
    "wing": Term(lambda p, b: losses.wing(p.points, b.points), _labels),
    "smooth_l1": Term(lambda p, b: losses.smooth_l1(p.points, b.points), _labels),
    "kd_wing": Term(lambda p, b: losses.wing(p.points, _taught(b)[0]), _answers, (TEACHER,)),
    "kd_smooth_l1": Term(lambda p, b: losses.smooth_l1(p.points, _taught(b)[0]), _answers, (TEACHER,)),
    # heatmaps around labels, and around the teacher's points
    "heatmap": Term(lambda p, b: losses.heatmap_cross_entropy(p.raw, b.points, _SIGMA), _labels_inside, (HEATMAP,)),
    "kd_heatmap": Term(
        lambda p, b: losses.heatmap_cross_entropy(p.raw, _taught(b)[0], _SIGMA), _answers_inside, (HEATMAP, TEACHER)
    ),
    # the paper's: STAR on the fused heatmaps, AWing on point and edge maps, the fused heatmaps of the teacher
    "star": Term(_star, _labels_inside, (HEATMAP,)),
    "awing_points": Term(_awing_points, _labels_inside, (MAPS,)),
    "awing_edges": Term(_awing_edges, lambda b: curve_weights(b.weight), (MAPS,)),
    "kd_fused": Term(_kd_fused, lambda b: torch.ones_like(b.weight), (MAPS, TEACHER, LIVE, LIVE_MAPS)),
    # the same for any pair of heatmap nets, on maps that sum to 1
    "kd_l2": Term(_kd_l2, _answers_inside, (HEATMAP, TEACHER)),
    # SimCC against labels, and against the marginals of the teacher's heatmap
    "simcc": Term(lambda p, b: losses.simcc_cross_entropy(p.raw, b.points, _BIN_SIGMA), _labels_inside, (SIMCC,)),
    "kd_simcc": Term(_kd_simcc, _answers_inside, (SIMCC, TEACHER)),
    # the map under the head, projected to the teacher's channels
    "kd_feature": Term(
        lambda p, b: losses.feature_distance(_present(p.outputs.feature), _present(b.live_feature).to(b.points)),
        lambda b: torch.ones_like(b.weight[:, 0]),
        (TEACHER, LIVE),
    ),
}
