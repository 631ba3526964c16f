"""The named terms: masks, weights, gradients in double precision, and what they ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pair_fld.config import ModelConfig
from pair_fld.models import build_model
from pair_fld.models.heads import Outputs
from pair_fld.models.landmark_net import simcc_mean, soft_argmax
from pair_fld.train.loss_terms import (
    HEATMAP,
    MAPS,
    SIMCC,
    TEACHER,
    TEACHER_PER_STEP,
    TERMS,
    Batch,
    Prediction,
    unfit_terms,
    weighted_mean,
)
from pair_fld.train.target_maps import normal_maps

SIDE = 4


def batch(generator: torch.Generator) -> Batch:
    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    spread = torch.eye(2, dtype=torch.float64) * 0.05 + 0.02
    return Batch(
        random(2, 51, 2) - 0.5, random(2, 51), random(2, 51, 2) - 0.5, random(2, 51), spread.expand(2, 51, 2, 2),
        random(2, 51, SIDE, SIDE), random(2, 6, SIDE, SIDE),
    )  # fmt: skip


def prediction(name: str, x: torch.Tensor) -> Prediction:
    """A prediction of the kind that a term needs, made of x (2, 51, 4, 4)."""
    needs = TERMS[name].needs
    if SIMCC in needs:
        raw = x.flatten(2)
        return Prediction(Outputs(raw), simcc_mean(raw)[0])
    if HEATMAP not in needs and MAPS not in needs:
        return Prediction(Outputs(x[..., 0, :2], x.reshape(2, -1, SIDE, SIDE)[:, :6]), x[..., 0, :2])
    maps = {"fused": x[:, None], "point_maps": x[:, None] * 2, "edge_maps": x[:, None, :8]} if MAPS in needs else {}
    return Prediction(Outputs(x, **maps), soft_argmax(x)[0])


@pytest.mark.parametrize("name", sorted(TERMS))
def test_gradients_in_double_precision(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    targets = batch(generator)
    # one point of one face at a time, and the curves' and features' first values, keep the numeric check short
    x = torch.rand(2, 51, SIDE, SIDE, generator=generator, dtype=torch.float64)
    moved = torch.rand(1, 2, SIDE, SIDE, generator=generator, dtype=torch.float64).requires_grad_()

    def term(part: torch.Tensor) -> torch.Tensor:
        whole = torch.cat([torch.cat([part, x[:1, 2:]], dim=1), x[1:]])
        return TERMS[name](prediction(name, whole), targets)

    assert term(moved).dtype == torch.float64, "computed in the target's precision"
    assert torch.autograd.gradcheck(term, (moved,), eps=1e-6, atol=1e-6)
    assert torch.autograd.grad(term(moved), moved)[0].abs().max() > 0


@pytest.mark.parametrize("name", sorted(TERMS))
def test_values_and_weights_have_one_shape_led_by_the_batch(name: str) -> None:
    targets = batch(torch.Generator().manual_seed(2))
    x = torch.rand(2, 51, SIDE, SIDE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    values, weight = TERMS[name].values(prediction(name, x), targets), TERMS[name].weight(targets)
    assert values.shape == weight.shape
    assert values.shape[0] == 2


@pytest.mark.parametrize("name", sorted(set(TERMS) - {"kd_fused", "kd_feature"}))
def test_what_weighs_nothing_has_no_gradient(name: str) -> None:
    targets = batch(torch.Generator().manual_seed(4))
    weight = torch.zeros(2, 51, dtype=torch.float64)
    weight[0] = 1
    targets = replace(targets, weight=weight, teacher_weight=weight)
    x = torch.rand(2, 51, SIDE, SIDE, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(TERMS[name](prediction(name, x), targets), x)
    assert gradient[0].abs().max() > 0
    assert gradient[1].abs().max() == 0


def test_nothing_to_compare_is_no_loss() -> None:
    assert weighted_mean(torch.ones(1, 51), torch.zeros(1, 51)).item() == 0.0


@pytest.mark.parametrize("name", ["heatmap", "kd_heatmap", "star", "simcc", "kd_l2", "kd_simcc", "awing_points"])
def test_targets_outside_the_crop_give_no_term(name: str) -> None:
    targets = batch(torch.Generator().manual_seed(5))
    outside = torch.tensor([1.2, 0.0], dtype=torch.float64).expand(2, 51, 2)
    targets = replace(targets, points=outside, teacher_points=outside)
    x = torch.rand(2, 51, SIDE, SIDE, dtype=torch.float64)
    assert TERMS[name](prediction(name, x), targets).item() == 0.0


def test_a_curve_without_all_its_points_is_no_target() -> None:
    targets = batch(torch.Generator().manual_seed(6))
    weight = torch.ones(2, 51, dtype=torch.float64)
    weight[0, 43] = 0  # an inner mouth corner, as in labels of 49 points
    counted = TERMS["awing_edges"].weight(replace(targets, weight=weight))
    assert counted.tolist() == [[1] * 7 + [0], [1] * 8]


def test_a_drawn_heatmap_teaches_what_the_live_one_does() -> None:
    """Where the teacher's heatmaps are normal distributions, its mean and covariance say all of them."""
    targets = batch(torch.Generator().manual_seed(7))
    assert targets.teacher_points is not None
    assert targets.teacher_covariance is not None
    logits = normal_maps(targets.teacher_points, targets.teacher_covariance, SIDE, SIDE).log()
    x = torch.rand(2, 51, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
    found = [TERMS["kd_l2"](prediction("kd_l2", x), replace(targets, teacher_logits=raw)) for raw in (None, logits)]
    torch.testing.assert_close(found[0], found[1])
    # a teacher of twice the resolution: its maps are averaged over 2 x 2 cells, which widens them a little
    fine = normal_maps(targets.teacher_points, targets.teacher_covariance, 2 * SIDE, 2 * SIDE).log()
    other = TERMS["kd_l2"](prediction("kd_l2", x), replace(targets, teacher_logits=fine))
    torch.testing.assert_close(other, found[0], rtol=0.1, atol=0)


@pytest.mark.parametrize("name", [n for n in sorted(TERMS) if TEACHER in TERMS[n].needs])
def test_distillation_terms_need_a_teacher(name: str) -> None:
    x = torch.zeros(2, 51, SIDE, SIDE)
    alone = Batch(torch.zeros(2, 51, 2), torch.ones(2, 51))
    with pytest.raises(ValueError, match=r"needs a teacher|does not have"):
        TERMS[name](prediction(name, x), alone)


def test_terms_say_which_nets_they_fit() -> None:
    def model(arch: str, **options: object) -> list[str]:
        return unfit_terms(list(TERMS), build_model(ModelConfig(arch=arch, input_size=64, options=options)))

    maps = ["awing_points", "awing_edges", "kd_fused"]
    heat = ["heatmap", "kd_heatmap", "star", "kd_l2"]
    assert sorted(model("coord_net")) == sorted([*maps, *heat, "simcc", "kd_simcc"])
    assert sorted(model("simcc_net")) == sorted([*maps, *heat])
    assert sorted(model("heatmap_net")) == sorted([*maps, "simcc", "kd_simcc"])
    assert sorted(model("heatmap_unet", head="attention")) == ["kd_simcc", "simcc"]
    assert {name for name in TERMS if TEACHER_PER_STEP in TERMS[name].needs} == {"kd_fused", "kd_feature"}
