"""Losses against numbers worked out by hand, and their invariances."""

from __future__ import annotations

import math

import pytest
import torch

from pair_fld.models.landmark_net import soft_argmax
from pair_fld.runtime.scheme import FLIP
from pair_fld.train.losses import (
    PERCENT,
    adaptive_wing,
    feature_distance,
    heatmap_cross_entropy,
    heatmap_distance,
    simcc_cross_entropy,
    smooth_l1,
    star,
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
    torch.testing.assert_close(wing(*offset(percent)), torch.full((1, 51), expected), atol=1e-5, rtol=0)


def test_smooth_l1_by_hand() -> None:
    torch.testing.assert_close(smooth_l1(*offset(0.5)), torch.full((1, 51), 0.125), atol=1e-6, rtol=0)  # e^2 / 2
    torch.testing.assert_close(smooth_l1(*offset(3.0)), torch.full((1, 51), 2.5), atol=1e-6, rtol=0)  # e - 1/2


def test_heatmap_divergence_by_hand() -> None:
    # A 1 x 2 map: centres -1/2 and 1/2. With sigma s cells a target at -1/2 gives weights 1 : exp(-1 / (2 s^2)); at
    # s = 1 / sqrt(2 ln 3) that is 3/4, 1/4. A flat prediction (1/2, 1/2) has the divergence
    # 3/4 ln(3/2) + 1/4 ln(1/2).
    sigma = 1 / math.sqrt(2 * math.log(3))
    logits = torch.zeros(1, 51, 1, 2)
    target = torch.tensor([-0.5, 0.0]).expand(1, 51, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    found = heatmap_cross_entropy(logits, target, sigma)
    torch.testing.assert_close(found, torch.full((1, 51), expected), atol=1e-6, rtol=0)
    exact = torch.tensor([math.log(3.0), 0.0]).expand(1, 51, 1, 2)
    torch.testing.assert_close(heatmap_cross_entropy(exact, target, sigma), torch.zeros(1, 51), atol=1e-6, rtol=0)


def test_simcc_by_hand() -> None:
    # Two bins an axis, centres -1/2 and 1/2; as above a Gaussian of that sigma on the first is (3/4, 1/4). Flat logits
    # cost 3/4 ln(3/2) + 1/4 ln(1/2) on x; on y the logits (ln 3, 0) are right and cost nothing.
    sigma = 1 / math.sqrt(2 * math.log(3))
    logits = torch.tensor([0.0, 0.0, math.log(3.0), 0.0]).expand(1, 51, 4)
    found = simcc_cross_entropy(logits, torch.full((1, 51, 2), -0.5), sigma)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    torch.testing.assert_close(found, torch.full((1, 51), expected), atol=1e-6, rtol=0)


def log_map(cells: list[list[float]]) -> torch.Tensor:
    """A heatmap of probabilities as the logits of one point, float64."""
    return torch.log(torch.tensor(cells, dtype=torch.float64).clamp_min(1e-30))[None, None]


# 3 x 3 maps have cell centres at -2/3, 0, 2/3. Half the mass in the middle and a quarter at either side in x:
# mean (0, 0), variance in x 2 x 1/4 x (2/3)^2 = 2/9, in y 0; the axes are x and y.
FLAT = [[0, 0, 0], [1 / 4, 1 / 2, 1 / 4], [0, 0, 0]]
FLOOR = 2e-3  # deviations are sqrt(l + FLOOR^2)


def test_star_by_hand() -> None:
    # Error (0.3, 0.1) of the target from the mean; smooth L1 with beta 0.01: 0.3 - 0.005 and 0.1 - 0.005.
    # Along x it is divided by sqrt(2/9 + 4e-6), along y by 0.002; then the sum of eigenvalues, 2/9.
    target = torch.tensor([[[0.3, 0.1]]], dtype=torch.float64)
    expected = 0.295 / math.sqrt(2 / 9 + FLOOR**2) + 0.095 / FLOOR + 2 / 9
    assert star(log_map(FLAT), target).item() == pytest.approx(expected, rel=1e-4)  # the axes' tiny fade: 5e-6 of l
    # within beta it is quadratic: e^2 / (2 beta) = 0.008^2 / 0.02 = 0.0032
    near = torch.tensor([[[0.008, 0.0]]], dtype=torch.float64)
    assert star(log_map(FLAT), near).item() == pytest.approx(0.0032 / math.sqrt(2 / 9 + FLOOR**2) + 2 / 9, rel=1e-5)


def test_star_on_a_slanted_heatmap_by_hand() -> None:
    # 1/4 at (-2/3, -2/3), 1/2 in the middle, 1/4 at (2/3, 2/3): covariance [[2/9, 2/9], [2/9, 2/9]], eigenvalues 4/9
    # along (1, 1) / sqrt 2 and 0 along (1, -1) / sqrt 2. The error (0.2, 0) has 0.2 / sqrt 2 along either.
    slanted = [[1 / 4, 0, 0], [0, 1 / 2, 0], [0, 0, 1 / 4]]
    part = 0.2 / math.sqrt(2) - 0.005
    expected = part / math.sqrt(4 / 9 + FLOOR**2) + part / FLOOR + 4 / 9
    found = star(log_map(slanted), torch.tensor([[[0.2, 0.0]]], dtype=torch.float64))
    assert found.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_heatmap_has_the_same_star_loss(turns: int) -> None:
    logits = torch.randn(2, 51, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    target = torch.rand(2, 51, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5
    turned = target
    for _ in range(turns):  # rot90 takes the cell at (x, y), y down, to (y, -x)
        turned = torch.stack([turned[..., 1], -turned[..., 0]], dim=-1)
    torch.testing.assert_close(
        star(torch.rot90(logits, turns, (2, 3)), turned), star(logits, target), rtol=1e-6, atol=1e-6
    )


def test_star_is_finite_where_eigenvalues_meet_or_vanish() -> None:
    cross = [[0, 1 / 8, 0], [1 / 8, 1 / 2, 1 / 8], [0, 1 / 8, 0]]  # equal eigenvalues, 2 x 1/8 x 4/9 = 1/9
    point = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]  # both 0
    for cells in (cross, point, FLAT):
        for error in ((0.0, 0.0), (0.1, 0.0), (0.1, 0.1)):
            logits = log_map(cells).requires_grad_()
            loss = star(logits, torch.tensor([[error]], dtype=torch.float64))
            (gradient,) = torch.autograd.grad(loss.sum(), logits)
            assert torch.isfinite(loss).all()
            assert torch.isfinite(gradient).all()
            assert gradient.abs().max() < 1e3
    # equal eigenvalues: both axes see the same deviation, and an error along x costs e / sqrt(l), one along the
    # diagonal is shared between two axes
    found = star(log_map(cross), torch.tensor([[[0.1, 0.0]]], dtype=torch.float64))
    share = 2 * (0.1 / math.sqrt(2) - 0.005)  # the faded direction halves the square: both projections are 0.1 / sqrt 2
    assert found.item() == pytest.approx(share / math.sqrt(1 / 9 + FLOOR**2) + 2 / 9, rel=1e-4)


def test_adaptive_wing_by_hand() -> None:
    # One cell with target 1 and prediction sigmoid(0) = 1/2: e = 1/2 = theta, power 2.1 - 1 = 1.1, so both branches
    # meet at 14 ln(1 + 0.5^1.1). A cell with target 0 and prediction 1/2: 14 ln(1 + 0.5^2.1).
    one, nought = 14 * math.log(1 + 0.5**1.1), 14 * math.log(1 + 0.5**2.1)
    zero = torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    target = torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64)
    assert adaptive_wing(zero, target).item() == pytest.approx((one + nought) / 2)
    # Beyond theta, target 1 and prediction 1/4 (logit -ln 3), e = 3/4: A = 14 x 1.1 x 0.5^0.1 / (1 + 0.5^1.1),
    # C = A / 2 - 14 ln(1 + 0.5^1.1), loss A e - C = A / 4 + 14 ln(1 + 0.5^1.1)
    slope = 14 * 1.1 * 0.5**0.1 / (1 + 0.5**1.1)
    far = adaptive_wing(torch.full((1, 1, 1, 1), -math.log(3.0), dtype=torch.float64), target[..., :1])
    assert far.item() == pytest.approx(slope / 4 + one)


def test_heatmap_distance_by_hand() -> None:
    # (1/2, 1/2) against (3/4, 1/4): 2 x 1/16
    target = torch.tensor([[[[0.75, 0.25]]]])
    assert heatmap_distance(torch.zeros(1, 1, 1, 2), target).item() == pytest.approx(1 / 8)
    assert heatmap_distance(target.log(), target).item() == pytest.approx(0, abs=1e-12)


def test_feature_distance_by_hand() -> None:
    # Channels (1, 3) normalise to (-1, 1), channels (3, 1) to (1, -1): both differ by 2, the square is 4. Scale does
    # not matter, and a teacher's map of 2 x 2 equal cells counts as one.
    mine = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
    theirs = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    assert feature_distance(mine, theirs).item() == pytest.approx(4, rel=1e-4)
    assert feature_distance(mine, 10 * mine).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("loss", ["star", "heatmap_cross_entropy", "heatmap_distance"])
def test_a_mirrored_face_has_the_mirrored_loss(loss: str) -> None:
    logits = torch.randn(2, 51, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    target = torch.rand(2, 51, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 1.6 - 0.8
    order = list(FLIP)
    mirrored, other = logits.flip(-1)[:, order], (target * target.new_tensor([-1, 1]))[:, order]
    torch.testing.assert_close(
        soft_argmax(mirrored)[0], (soft_argmax(logits)[0] * logits.new_tensor([-1, 1]))[:, order]
    )
    maps = torch.softmax(torch.randn(2, 51, 36, generator=torch.Generator().manual_seed(4), dtype=torch.float64), -1)
    maps = maps.view_as(logits)
    calls = {
        "star": lambda x, t, _: star(x, t),
        "heatmap_cross_entropy": lambda x, t, _: heatmap_cross_entropy(x, t, 0.8),
        "heatmap_distance": lambda x, _, m: heatmap_distance(x, m),
    }
    torch.testing.assert_close(
        calls[loss](mirrored, other, maps.flip(-1)[:, order]),
        calls[loss](logits, target, maps)[:, order],
        rtol=1e-6,
        atol=1e-6,
    )
