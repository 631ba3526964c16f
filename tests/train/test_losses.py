"""Losses against numbers worked out by hand, masks, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from pair_fld.train.losses import (
    PERCENT,
    TERMS,
    Batch,
    Prediction,
    heatmap_cross_entropy,
    smooth_l1,
    weighted_mean,
    wing,
)


def offset(percent: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A prediction whose x is off by `percent` of the crop's side at every point, and its target."""
    target = torch.zeros(1, 51, 2)
    predicted = target.clone()
    predicted[..., 0] = percent / PERCENT
    return predicted, target


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        (0.0, 0.0),
        (0.8, 4 * math.log(2)),  # w ln(1 + e/eps) with e = eps
        (3.2, 4 * math.log(5)),
        (10.0, 10 - (4 - 4 * math.log(6))),  # beyond w: e - (w - w ln(1 + w/eps)), w/eps = 5
    ],
)
def test_wing_by_hand(percent: float, expected: float) -> None:
    assert wing(*offset(percent), torch.ones(1, 51)).item() == pytest.approx(expected, abs=1e-5)


def test_smooth_l1_by_hand() -> None:
    assert smooth_l1(*offset(0.5), torch.ones(1, 51)).item() == pytest.approx(0.125, abs=1e-6)  # e^2 / 2
    assert smooth_l1(*offset(3.0), torch.ones(1, 51)).item() == pytest.approx(2.5, abs=1e-6)  # e - 1/2


def test_missing_points_carry_no_loss_and_no_gradient() -> None:
    predicted = torch.zeros(1, 51, 2, requires_grad=True)
    target, weight = torch.ones(1, 51, 2), torch.zeros(1, 51)
    weight[0, 7] = 2.0
    wing(predicted, target, weight).backward()
    assert predicted.grad is not None
    assert set(torch.nonzero(predicted.grad[0].abs().sum(-1)).flatten().tolist()) == {7}
    assert weighted_mean(torch.ones(1, 51), torch.zeros(1, 51)).item() == 0.0


def test_heatmap_divergence_by_hand() -> None:
    # A 1 x 2 map: centres -1/2 and 1/2. With sigma s cells a target at -1/2 gives weights 1 : exp(-1 / (2 s^2)); at
    # s = 1 / sqrt(2 ln 3) that is 3/4, 1/4. A flat prediction (1/2, 1/2) has the divergence
    # 3/4 ln(3/2) + 1/4 ln(1/2).
    sigma = 1 / math.sqrt(2 * math.log(3))
    logits = torch.zeros(1, 51, 1, 2)
    target = torch.tensor([-0.5, 0.0]).expand(1, 51, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert heatmap_cross_entropy(logits, target, torch.ones(1, 51), sigma).item() == pytest.approx(expected, abs=1e-6)
    exact = torch.tensor([math.log(3.0), 0.0]).expand(1, 51, 1, 2)
    assert heatmap_cross_entropy(exact, target, torch.ones(1, 51), sigma).item() == pytest.approx(0, abs=1e-6)


def test_heatmap_target_outside_the_crop_gives_no_term() -> None:
    target = torch.tensor([1.2, 0.0]).expand(1, 51, 2)
    assert heatmap_cross_entropy(torch.randn(1, 51, 4, 4), target, torch.ones(1, 51), 0.8).item() == 0.0


@pytest.mark.parametrize("name", sorted(TERMS))
def test_gradients_in_double_precision(name: str) -> None:
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    batch = Batch(random(1, 51, 2), random(1, 51), random(1, 51, 2), random(1, 51))
    heat = name.endswith("heatmap")
    raw = (random(1, 51, 3, 3) if heat else random(1, 51, 2)).requires_grad_()

    def term(x: torch.Tensor) -> torch.Tensor:
        return TERMS[name](Prediction(x, x, heat), batch)

    assert torch.autograd.gradcheck(term, (raw,), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in sorted(TERMS) if n.startswith("kd_")])
def test_distillation_terms_need_a_teacher(name: str) -> None:
    points = torch.zeros(1, 51, 2)
    with pytest.raises(ValueError, match="needs a teacher"):
        TERMS[name](Prediction(points, points, False), Batch(points, torch.ones(1, 51)))
