"""The named loss terms of `train.losses`: what each compares, how it is weighted, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import torch

from pair_fld.models import LandmarkNet
from pair_fld.models.heads import Outputs
from pair_fld.train import losses
from pair_fld.train.target_maps import curve_maps, curve_weights, normal_maps, point_maps


@dataclass(frozen=True)
class Batch:
    """The targets of B views. Points are in normalised view coordinates.

    Attributes:
        points: (B, 51, 2) labels.
        weight: (B, 51) their weights, 0 where there is no label.
        teacher_points: (B, 51, 2) cached predictions of a teacher; None without a teacher.
        teacher_weight: (B, 51) their weights.
        teacher_covariance: (B, 51, 2, 2) in squared normalised units.
        teacher_logits: raw output of the teacher for these very views; None unless a term needs it.
        teacher_feature: feature map of the teacher for these very views; None unless a term needs it.
    """

    points: torch.Tensor
    weight: torch.Tensor
    teacher_points: torch.Tensor | None = None
    teacher_weight: torch.Tensor | None = None
    teacher_covariance: torch.Tensor | None = None
    teacher_logits: torch.Tensor | None = None
    teacher_feature: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(*(None if v is None else v.to(device, non_blocking=True) for v in vars(self).values()))  # type: ignore[arg-type]

    def split(self, count: int) -> list[Batch]:
        """`count` parts of equal size."""
        size = len(self.points) // count
        columns = [[None] * count if v is None else v.split(size) for v in vars(self).values()]
        return [Batch(*part) for part in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Prediction:
    """What a network gave for a batch.

    Attributes:
        outputs: all outputs; the feature map is projected to the teacher's channels if a term needs that.
        points: (B, 51, 2) decoded, normalised view coordinates.
    """

    outputs: Outputs
    points: torch.Tensor

    @property
    def raw(self) -> torch.Tensor:
        return self.outputs.raw


# What a term may need: a kind of output, the maps of anisotropic attention, cached predictions of a teacher, the
# teacher's outputs in every step, the same with the maps of anisotropic attention.
HEATMAP, SIMCC, MAPS, TEACHER = "heatmap", "simcc", "maps", "teacher"
TEACHER_PER_STEP, TEACHER_MAPS = "teacher per step", "teacher maps"

Values = Callable[[Prediction, Batch], torch.Tensor]
Weight = Callable[[Batch], torch.Tensor]


@dataclass(frozen=True)
class Term:
    """A loss term: the mean of `values` under `weight`, two arrays of one shape whose first axis is the batch.

    Attributes:
        values: the loss of each point (or map).
        weight: its weight, 0 where there is nothing to compare. It depends on the batch alone, so that each process
            knows its part of the total weight before anything is computed.
        needs: see the constants above.
    """

    values: Values
    weight: Weight
    needs: Collection[str] = field(default=())

    def __call__(self, prediction: Prediction, batch: Batch) -> torch.Tensor:
        return weighted_mean(self.values(prediction, batch), self.weight(batch))


def weighted_mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of `values` under `weight`, which has their shape; 0 when all weights are 0."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)


class LandmarkObjective:
    """The total loss of a landmark network: named terms times their factors.

    Args:
        losses: factor of each term, as in `train.losses`.
        decode: raw outputs -> (B, 51, 2) normalised points.
    """

    def __init__(self, losses: Mapping[str, float], decode: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.factors, self._decode = dict(losses), decode
        self._terms = [TERMS[name] for name in losses]

    def terms(self, outputs: Outputs, batch: Batch) -> torch.Tensor:
        """(T,) the terms, before their factors."""
        prediction = Prediction(outputs, self._decode(outputs.raw))
        return torch.stack([term(prediction, batch) for term in self._terms])

    def weights(self, batch: Batch) -> torch.Tensor:
        """(T,) the total weight of each term's mean."""
        return torch.stack([term.weight(batch).sum() for term in self._terms])


def needs_of(names: Collection[str]) -> set[str]:
    """Everything that the named terms need."""
    return {need for name in names for need in TERMS[name].needs}


def unfit_terms(names: Collection[str], model: LandmarkNet) -> list[str]:
    """The terms that need outputs which the model does not have."""
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
    """(B, 51) bool: whether a target lies within the crop; outside it there is no cell for it."""
    return (points.abs() <= 1).all(dim=-1)


def _teacher(b: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The teacher's points, weights and covariances."""
    if b.teacher_points is None or b.teacher_weight is None or b.teacher_covariance is None:
        raise ValueError("a kd_ term needs a teacher; train through `pairfld distill` or remove the term")
    return b.teacher_points, b.teacher_weight, b.teacher_covariance


def _predictions(b: Batch) -> torch.Tensor:
    return _teacher(b)[1]


def _predictions_inside(b: Batch) -> torch.Tensor:
    points, weight, _ = _teacher(b)
    return weight * _inside(points)


def _present(tensor: torch.Tensor | None) -> torch.Tensor:
    if tensor is None:
        raise ValueError("a term needs maps that this network or this teacher does not have")
    return tensor


def _mean_of_stacks(values: Callable[[torch.Tensor], torch.Tensor], maps: torch.Tensor | None) -> torch.Tensor:
    """A loss of maps (B, K, ...), averaged over the K stacks of a network."""
    stacks = _present(maps).unbind(dim=1)
    return torch.stack([values(stack) for stack in stacks]).mean(dim=0)


def _star(p: Prediction, b: Batch) -> torch.Tensor:
    maps = p.outputs.fused if p.outputs.fused is not None else p.raw[:, None]
    return _mean_of_stacks(lambda stack: losses.star(stack, b.points), maps)


def _awing_points(p: Prediction, b: Batch) -> torch.Tensor:
    height, width = p.raw.shape[-2:]
    target = point_maps(b.points, height, width, _MAP_SIGMA)
    return _mean_of_stacks(lambda stack: losses.adaptive_wing(stack, target), p.outputs.point_maps)


def _awing_edges(p: Prediction, b: Batch) -> torch.Tensor:
    height, width = p.raw.shape[-2:]
    target = curve_maps(b.points, height, width, _MAP_SIGMA)
    return _mean_of_stacks(lambda stack: losses.adaptive_wing(stack, target), p.outputs.edge_maps)


def _kd_l2(p: Prediction, b: Batch) -> torch.Tensor:
    """Distance to the teacher's heatmaps: its own for this view, or normal distributions of the cached predictions."""
    height, width = p.raw.shape[-2:]
    if b.teacher_logits is None:
        points, _, covariance = _teacher(b)
        return losses.heatmap_distance(p.raw, normal_maps(points, covariance, height, width))
    logits = b.teacher_logits.to(b.points)
    heat = torch.softmax(logits.flatten(2), dim=-1).view_as(logits)
    heat = torch.nn.functional.adaptive_avg_pool2d(heat, (height, width))
    return losses.heatmap_distance(p.raw, heat / heat.sum(dim=(-2, -1), keepdim=True))


def _kd_fused(p: Prediction, b: Batch) -> torch.Tensor:
    student, teacher = p.raw.to(b.points).exp(), _present(b.teacher_logits).to(b.points).exp()
    return (student - teacher).square().mean(dim=(-2, -1))


def _kd_simcc(p: Prediction, b: Batch) -> torch.Tensor:
    points, _, covariance = _teacher(b)
    bin_size = 4 / p.raw.shape[-1]  # normalised coordinates span 2, and half of the outputs are an axis
    variance = covariance.diagonal(dim1=-2, dim2=-1) / bin_size**2
    return losses.simcc_cross_entropy(p.raw, points, torch.sqrt(variance + 1))


TERMS: dict[str, Term] = {
    # coordinates, of labels and of the teacher
    "wing": Term(lambda p, b: losses.wing(p.points, b.points), _labels),
    "smooth_l1": Term(lambda p, b: losses.smooth_l1(p.points, b.points), _labels),
    "kd_wing": Term(lambda p, b: losses.wing(p.points, _teacher(b)[0]), _predictions, (TEACHER,)),
    "kd_smooth_l1": Term(lambda p, b: losses.smooth_l1(p.points, _teacher(b)[0]), _predictions, (TEACHER,)),
    # heatmaps around labels, and around the teacher's points
    "heatmap": Term(lambda p, b: losses.heatmap_cross_entropy(p.raw, b.points, _SIGMA), _labels_inside, (HEATMAP,)),
    "kd_heatmap": Term(
        lambda p, b: losses.heatmap_cross_entropy(p.raw, _teacher(b)[0], _SIGMA),
        _predictions_inside,
        (HEATMAP, TEACHER),
    ),
    # the published solution's: STAR on fused heatmaps, AWing on point and edge maps, the teacher's fused heatmaps
    "star": Term(_star, _labels_inside, (HEATMAP,)),
    "awing_points": Term(_awing_points, _labels_inside, (MAPS,)),
    "awing_edges": Term(_awing_edges, lambda b: curve_weights(b.weight), (MAPS,)),
    "kd_fused": Term(_kd_fused, lambda b: torch.ones_like(b.weight), (MAPS, TEACHER, TEACHER_PER_STEP, TEACHER_MAPS)),
    # the teacher's heatmaps for any pair of heatmap networks, on maps that sum to 1
    "kd_l2": Term(_kd_l2, _predictions_inside, (HEATMAP, TEACHER)),
    # SimCC: against labels, and against the marginals of the teacher's heatmaps
    "simcc": Term(lambda p, b: losses.simcc_cross_entropy(p.raw, b.points, _BIN_SIGMA), _labels_inside, (SIMCC,)),
    "kd_simcc": Term(_kd_simcc, _predictions_inside, (SIMCC, TEACHER)),
    # the feature map under the head, projected to the teacher's channels
    "kd_feature": Term(
        lambda p, b: losses.feature_distance(_present(p.outputs.feature), _present(b.teacher_feature).to(b.points)),
        lambda b: torch.ones_like(b.weight[:, 0]),
        (TEACHER, TEACHER_PER_STEP),
    ),
}
