"""Views: the torch warp is the runtime's crop, points follow the image, mirrored views renumber."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from pair_fld.config import AugmentConfig
from pair_fld.data.augment.geometric import (
    mirror_order,
    points_to_pack,
    points_to_view,
    sample_images,
    sample_views,
    warp_images,
)
from pair_fld.runtime import geometry
from pair_fld.runtime.frame import frame_from_row, frame_matrix
from pair_fld.runtime.scheme import FLIP

PACK, SIZE, MARGIN = 192, 96, 1.45
FRAMES = torch.tensor([[95.0, 96.0, 90.0, 0.0], [95.0, 95.0, 130.0, 33.0]])  # centre x, y, size, roll


def smooth_images(count: int) -> np.ndarray:
    noise = np.random.default_rng(3).random((count, PACK, PACK, 3)).astype(np.float32)
    return np.stack(
        [cv2.normalize(cv2.GaussianBlur(n, (0, 0), 6), np.zeros_like(n), 0, 255, cv2.NORM_MINMAX) for n in noise]
    ).astype(np.uint8)


def test_undisturbed_view_is_the_runtime_crop() -> None:
    images = smooth_images(2)
    views = sample_views(FRAMES, PACK, MARGIN, None, None)
    drawn = warp_images(torch.from_numpy(images), views, SIZE).permute(0, 2, 3, 1).numpy()
    points = np.random.default_rng(0).uniform(60, 130, (2, 51, 2)).astype(np.float32)
    norm = points_to_view(torch.from_numpy(points), views, PACK).numpy()
    for i in range(2):
        matrix = frame_matrix(frame_from_row(FRAMES[i].numpy()), SIZE, MARGIN)
        np.testing.assert_allclose(
            geometry.from_norm(norm[i], SIZE), geometry.transform_points(matrix, points[i]), atol=2e-3
        )
        # the runtime rounds places to 1/32 of a pixel: at the black rim, 255 / 64 of a grey level per axis at most
        off = np.abs(drawn[i] - geometry.warp(images[i], matrix, SIZE))
        assert off.max() <= 8
        assert off.mean() < 0.1


def test_points_round_trip_and_stay_on_the_drawn_dot() -> None:
    config = AugmentConfig(flip=0.5, rotation=30, scale=0.1, shift=0.05)
    points = torch.full((64, 51, 2), 95.0)
    points[:, 0] = torch.tensor([110.0, 83.0])
    y, x = np.mgrid[:PACK, :PACK]
    dot = 255 * np.exp(-((x - 110) ** 2 + (y - 83) ** 2) / (2 * 4.0**2))  # a soft dot centred on point 0
    images = torch.from_numpy(
        np.broadcast_to(np.rint(dot).astype(np.uint8)[None, :, :, None], (64, PACK, PACK, 3)).copy()
    )
    views = sample_views(FRAMES[:1].repeat(64, 1), PACK, MARGIN, config, np.random.default_rng(1))
    norm = points_to_view(points, views, PACK)
    torch.testing.assert_close(points_to_pack(norm, views, PACK), points, atol=1e-3, rtol=0)
    drawn = warp_images(images, views, SIZE)[:, 0]
    line = torch.arange(SIZE, dtype=torch.float32)
    mass = drawn.sum(dim=(1, 2))
    seen = torch.stack([(drawn.sum(1) * line).sum(1) / mass, (drawn.sum(2) * line).sum(1) / mass], dim=1)
    index = torch.where(views.flipped, FLIP.index(0), 0)
    told = geometry.from_norm(norm[torch.arange(64), index], SIZE)
    assert views.flipped.any()
    assert (~views.flipped).any()
    assert (seen - told).norm(dim=1).max() < 0.1  # crop pixels


def test_mirroring_twice_changes_nothing() -> None:
    values = torch.rand(5, 51, 2)
    once = mirror_order(values, torch.ones(5, dtype=torch.bool))
    assert not torch.equal(once, values)
    assert torch.equal(mirror_order(once, torch.ones(5, dtype=torch.bool)), values)
    assert torch.equal(mirror_order(values, torch.zeros(5, dtype=torch.bool)), values)


def test_both_warps_draw_the_same() -> None:
    images = torch.from_numpy(smooth_images(2))
    views = sample_views(FRAMES, PACK, MARGIN, AugmentConfig(rotation=30, shift=0.1), np.random.default_rng(4))
    apart = (warp_images(images, views, SIZE) - sample_images(images, views, SIZE)).abs()
    # OpenCV rounds positions to 1/32 pixel; at the dataset's rim it blends with black a little differently
    assert apart.mean() < 0.3
    assert (apart > 3).float().mean() < 0.01


def test_views_are_off_as_the_detector_is_and_by_the_configured_changes_beyond_that() -> None:
    # frames turned by a quarter: a shift along the face's own x axis is one along y in the pack
    frames = torch.tensor([[95.5, 95.5, 60.0, 90.0]]).repeat(20000, 1)
    residual = np.zeros((4, 4))
    residual[0, 0], residual[3, 3], residual[0, 3] = 0.04**2, 4.0**2, 0.5 * 0.04 * 4
    residual[3, 0] = residual[0, 3]
    config = AugmentConfig(flip=0, rotation=3.0, scale=0.05, shift=0.0, detector=1.0)
    views = sample_views(frames, PACK, MARGIN, config, np.random.default_rng(0), residual)
    y = (geometry.from_norm(views.offset, PACK)[:, 1] - 95.5).numpy() / 60
    a, b = views.linear[:, 0, 0].numpy(), views.linear[:, 1, 0].numpy()
    turn = np.degrees(np.arctan2(b, a)) - 90
    grow = np.log(np.hypot(a, b) * PACK / (60 * MARGIN))
    # normals that are cut at 2.5 have a deviation of 0.978; 4 and 3 degrees make 5; covariance 0.08 of 0.04 x 5
    assert y.std() == pytest.approx(0.978 * 0.04, rel=0.02)
    assert turn.std() == pytest.approx(0.978 * 5, rel=0.02)
    assert grow.std() == pytest.approx(0.978 * 0.05, rel=0.02)
    assert np.corrcoef(y, turn)[0, 1] == pytest.approx(0.08 / 0.2, abs=0.03)
    config = config.model_copy(update={"detector": 0.0})
    without = sample_views(frames, PACK, MARGIN, config, np.random.default_rng(0), residual)
    assert (geometry.from_norm(without.offset, PACK) - 95.5).abs().max() < 1e-3
