"""PhotometricParams: both painters agree, choices depend on the generator only, and each effect does what it says."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from pair_fld.config import AugmentConfig
from pair_fld.data.augment.photometric import (
    FLAT,
    PARTNER,
    PhotometricParams,
    apply_cv2,
    apply_torch,
    occluder_partners,
    sample_photometric,
)

SIZE = 48
OFF = AugmentConfig(photometric=0, grey=0, blur=0, noise=0, occlude=0)
ALL = AugmentConfig(photometric=1, grey=0.5, blur=0.5, blur_sigma=5, noise=0.5, occlude=1)


def noise_images(count: int) -> np.ndarray:
    noise = np.random.default_rng(3).random((count, SIZE, SIZE, 3)).astype(np.float32)
    smooth = [cv2.normalize(cv2.GaussianBlur(n, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX) for n in noise]
    return np.rint(np.stack(smooth)).astype(np.uint8)


def plain(count: int) -> PhotometricParams:
    return sample_photometric(count, OFF, np.random.default_rng(0))


def grey_levels(painted: torch.Tensor) -> np.ndarray:
    return painted.permute(0, 2, 3, 1).numpy() * 127.5 + 127.5


def test_all_off_only_normalises() -> None:
    images = noise_images(3)
    painted = apply_cv2(images.copy(), plain(3))
    assert painted.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(painted.permute(0, 2, 3, 1).numpy(), images / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_both_painters_draw_the_same(seed: int) -> None:
    images = noise_images(16)
    params = sample_photometric(16, ALL, np.random.default_rng(seed))
    by_opencv = grey_levels(apply_cv2(images.copy(), params))
    by_torch = grey_levels(apply_torch(torch.from_numpy(images).permute(0, 3, 1, 2).float(), params))
    apart = np.abs(by_opencv - by_torch)
    assert apart.mean() < 0.3
    # blurred and grey values may round to neighbouring levels, which a gamma of e^-0.5 stretches in the dark
    assert (apart > 2).mean() < 0.01


def test_the_strongest_blur_is_the_configured_one() -> None:
    config = OFF.model_copy(update={"blur": 1.0, "blur_sigma": 6.0})
    params = sample_photometric(400, config, np.random.default_rng(2))
    # even in the logarithm between 0.5 and 6: a half lies below sqrt(0.5 * 6) = 1.73
    assert 0.5 <= params.blur.min() < 0.55
    assert 5.5 < params.blur.max() <= 6
    assert abs((params.blur < 1.73).mean() - 0.5) < 0.08
    # one white pixel of a black image keeps 255 / (2 pi 4^2) = 2.5 grey levels at sigma 4, and its neighbours almost
    dot = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    dot[0, 24, 24] = 255
    four = replace(plain(1), blur=np.array([4.0]))
    spread = grey_levels(apply_cv2(dot, four))[0, 24, :, 0]
    assert spread[[23, 24, 25]] == pytest.approx(2.5, abs=0.6)
    assert (spread > 0.5).sum() > 7  # a reach of 3 pixels would leave 7


def test_choices_are_a_function_of_the_generator() -> None:
    one, two, other = (
        apply_cv2(noise_images(8), sample_photometric(8, ALL, np.random.default_rng(seed))) for seed in (5, 5, 6)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert -1 <= float(one.min()) <= float(one.max()) <= 1


def test_a_part_is_painted_as_within_the_whole() -> None:
    params, images = sample_photometric(8, ALL, np.random.default_rng(1)), noise_images(8)
    whole = apply_cv2(images.copy(), params)
    assert torch.equal(apply_cv2(images[4:8].copy(), params[4:8]), whole[4:8])


def test_partners_are_neighbours() -> None:
    assert occluder_partners(5).tolist() == [1, 0, 3, 2, 4]


def test_occluders_show_a_colour_or_the_partner() -> None:
    images = noise_images(2)
    # extent 0.5 of a view of 48: the middle 24 pixels, 12..35
    params = replace(
        plain(2), occluder=np.array([FLAT, PARTNER]), elliptical=np.array([False, False]),
        centre=np.zeros((2, 2), np.float32), extent=np.full((2, 2), 0.5, np.float32),
        colour=np.full((2, 3), 7, np.uint8),
    )  # fmt: skip
    painted = grey_levels(apply_cv2(images.copy(), params))
    np.testing.assert_allclose(painted[0, 12:36, 12:36], 7, atol=1e-3)
    np.testing.assert_allclose(painted[1, 12:36, 12:36], images[0, 12:36, 12:36], atol=1e-3)
    np.testing.assert_allclose(painted[:, :12], images[:, :12], atol=1e-3)


def test_light_is_gamma_then_gain_then_bias() -> None:
    flat = np.full((1, 8, 8, 3), 64, np.uint8)
    params = replace(
        plain(1), gamma=np.array([0.5], np.float32), gain=np.array([[1.0, 0.5, 2.0]], np.float32),
        bias=np.array([0.1], np.float32),
    )  # fmt: skip
    # sqrt(64 / 255) = 0.50098; x 1, 0.5, 2 and + 0.1: 0.60098, 0.35049, 1.10196 which is cut to 1
    expected = np.array([0.60098, 0.35049, 1.0]) * 255
    np.testing.assert_allclose(grey_levels(apply_cv2(flat, params))[0, 3, 3], expected, atol=0.02)


def test_noise_has_the_wanted_deviation() -> None:
    flat = np.full((1, SIZE, SIZE, 3), 128, np.uint8)
    params = replace(plain(1), noise=np.array([10.0]), noise_at=np.array([0.25]))
    # 6912 values: the deviation's own standard error is 10 / sqrt(2 x 6912) = 0.085
    assert abs(grey_levels(apply_cv2(flat, params)).std() - 10) < 4 * 0.085
