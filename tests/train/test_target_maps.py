"""Target maps: Gaussians, normal distributions and facial curves, drawn for a batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pair_fld.models.landmark_net import soft_argmax
from pair_fld.runtime.codec import encode_gaussian
from pair_fld.runtime.scheme import CURVES
from pair_fld.train.target_maps import curve_maps, curve_weights, normal_maps, point_maps


def cell(column: float, row: float, side: int) -> tuple[float, float]:
    """Normalised coordinates of a place in cells of a square map."""
    return (2 * column + 1) / side - 1, (2 * row + 1) / side - 1


def test_point_maps_by_hand() -> None:
    points = torch.tensor([cell(2, 1, 5)])[None].double()
    heat = point_maps(points, 5, 5, sigma=1.0)[0, 0]
    assert heat[1, 2].item() == pytest.approx(1)
    assert heat[1, 3].item() == pytest.approx(math.exp(-1 / 2))
    assert heat[3, 1].item() == pytest.approx(math.exp(-5 / 2))  # 2 rows and 1 column away


def test_point_maps_are_the_codecs_gaussians() -> None:
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (51, 2))
    ours = point_maps(torch.from_numpy(points)[None], 16, 16, 1.3)[0].numpy()
    np.testing.assert_allclose(ours / ours.sum(axis=(1, 2), keepdims=True), encode_gaussian(points, 16, 1.3), atol=1e-6)


def test_normal_maps_have_the_mean_and_covariance_asked_for() -> None:
    covariance = torch.tensor([[0.03, 0.012], [0.012, 0.02]], dtype=torch.float64)
    mean = torch.tensor([0.11, -0.07], dtype=torch.float64)
    heat = normal_maps(mean[None, None], covariance[None, None], 32, 32)
    assert heat.sum().item() == pytest.approx(1)
    found_mean, found = soft_argmax(heat.log())
    torch.testing.assert_close(found_mean[0, 0].double(), mean, atol=1e-5, rtol=0)
    # a cell's own extent, (2 / 32)^2 / 12, is added on purpose
    torch.testing.assert_close(found[0, 0].double(), covariance + torch.eye(2) * (2 / 32) ** 2 / 12, atol=1e-5, rtol=0)


def face() -> torch.Tensor:
    """Points of a plausible layout on cells of a 64 x 64 map: curves apart from each other."""
    points = torch.zeros(51, 2)
    lines = {"brow_left": (6, 10), "brow_right": (36, 10), "nose_base": (24, 36)}
    for name, (x, y) in lines.items():
        for k, member in enumerate(CURVES[name]):
            points[member] = torch.tensor(cell(x + 5 * k, y, 64))
    for k, member in enumerate(CURVES["nose_bridge"]):
        points[member] = torch.tensor(cell(32, 16 + 4 * k, 64))
    rings = {"eye_left": (16, 20, 6), "eye_right": (48, 20, 6), "lip_outer": (32, 52, 9), "lip_inner": (32, 52, 5)}
    for name, (x, y, radius) in rings.items():
        members = CURVES[name][:-1]
        for k, member in enumerate(members):
            angle = 2 * math.pi * k / len(members)
            points[member] = torch.tensor(cell(x + radius * math.cos(angle), y + radius * math.sin(angle), 64))
    return points[None].double()


def test_curves_pass_through_their_points() -> None:
    points = face()
    drawn = curve_maps(points, 64, 64, sigma=1.0)
    assert drawn.shape == (1, 8, 64, 64)
    for curve, members in enumerate(CURVES.values()):
        for x, y in ((points[0, list(members)] + 1) * 64 - 1) / 2:
            column, row = round(x.item()), round(y.item())
            away = math.hypot(column - x, row - y)
            # at least the value at an open curve's end, where half the line is missing: (1/2)^(1/4) of the profile
            assert drawn[0, curve, row, column].item() >= 0.5**0.25 * math.exp(-(away**2) / 2) - 1e-3


def test_a_straight_curve_by_hand() -> None:
    # The left brow is a straight line from cell (6, 10) to (26, 10). A cell d rows off it has exp(-d^2 / 2). At its end
    # half of the integral is missing, which the fourth root makes (1/2)^(1/4); d columns beyond, all but
    # erfc(d sqrt 2) / 2 of it: the integral of a Gaussian of deviation 1/2 from d on.
    brow = curve_maps(face(), 64, 64, sigma=1.0)[0, 0]
    for column in range(9, 24):
        assert brow[10, column].item() == pytest.approx(1, abs=1e-4)
        assert brow[12, column].item() == pytest.approx(math.exp(-2), abs=1e-4)
    assert brow[10, 6].item() == pytest.approx(0.5**0.25, abs=1e-3)
    assert brow[10, 5].item() == pytest.approx((math.erfc(math.sqrt(2)) / 2) ** 0.25, abs=0.015)
    assert brow[10, 2].item() < 0.01


def test_a_ring_is_round() -> None:
    # On a ring of radius 9 the profile is a Gaussian but for its curvature, about sigma / (2 radius), 3 %, inside and
    # outside; and a Catmull-Rom spline through 12 of its points passes within 0.02 cells of it.
    ring = curve_maps(face(), 64, 64, sigma=1.0)[0, list(CURVES).index("lip_outer")]
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    from_ring = (torch.hypot(x - 32, y - 52) - 9).abs()
    near = from_ring < 2
    torch.testing.assert_close(ring[near].float(), torch.exp(-(from_ring[near] ** 2) / 2), atol=0.03, rtol=0)


def test_a_curve_does_not_depend_on_the_maps_size() -> None:
    """Twice the cells at twice the sigma: the same curve, seen finer."""
    coarse, fine = curve_maps(face(), 32, 32, sigma=1.0), curve_maps(face(), 64, 64, sigma=2.0)
    between = torch.nn.functional.avg_pool2d(fine, 2)
    assert (coarse - between).abs().max() < 0.08  # the mean of four cells is not the value in their middle
    assert (coarse - between).abs().mean() < 0.005


def test_a_batch_is_drawn_as_its_faces_are() -> None:
    points = torch.cat([face(), face() * 0.7])
    torch.testing.assert_close(curve_maps(points, 32, 32, 1.0)[1:], curve_maps(points[1:], 32, 32, 1.0))


def test_curve_weights_are_the_lowest_of_their_points() -> None:
    weight = torch.ones(1, 51)
    weight[0, 2], weight[0, 30] = 0.25, 0.0
    assert curve_weights(weight)[0].tolist() == [0.25, 1, 1, 1, 1, 0, 1, 1]
