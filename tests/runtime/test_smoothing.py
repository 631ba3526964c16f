"""What the images say of a face's movement, and what the filter makes of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pair_fld.runtime.frame import Frame, place
from pair_fld.runtime.geometry import transform_points
from pair_fld.runtime.image_file import ImageFile
from pair_fld.runtime.motion import (
    CONTRAST,
    HALF,
    HELD,
    HOLDS,
    NOISE,
    OWN_MOVEMENT,
    PLAIN,
    STEPS,
    WAYS,
    WIDTH,
    grey_levels,
    measure_motion,
)
from pair_fld.runtime.smoothing import APART_CUTOFF, CUTOFF, FAR, SLOPE, FaceFilter


def texture(side: int, seed: int = 2) -> np.ndarray:
    """(side, side, 3) uint8 blobs of a few pixels."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (side, side)), (0, 0), 3.0)
    return np.repeat(np.clip(127 + 50 * noise / noise.std(), 0, 255).astype(np.uint8)[:, :, None], 3, 2)


def turned(image: np.ndarray, degrees: float, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """The image turned clockwise about its middle and moved, and the matrix of that."""
    middle = (len(image) - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), -degrees, 1.0)
    matrix[:, 2] += x, y
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC), matrix


def test_movement_is_measured_to_a_tenth_of_a_pixel() -> None:
    image, points = texture(96), place(Frame((47.5, 47.5), 60.0))
    after, matrix = turned(image, 1.2, 0.8, -0.5)
    true = transform_points(matrix, points) - points
    guess = true + np.random.default_rng(4).normal(0, 0.5, (51, 2))
    moved = measure_motion(image[:, :, 0] * 1.0, after[:, :, 0] * 0.9, points, guess)  # and it gets darker
    apart = np.hypot(*(moved - true).T)
    assert np.hypot(*moved.T).mean() > 0.7
    assert apart.mean() < 0.1


def samples(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples; beyond the image's edge the edge goes on."""
    left, top, last = np.floor(x).astype(int), np.floor(y).astype(int), len(image) - 1
    found = np.zeros(x.shape)
    for i in (0, 1):
        for j in (0, 1):
            share = (1 - np.abs(x - left - i)) * (1 - np.abs(y - top - j))
            found += share * image[np.clip(top + j, 0, last), np.clip(left + i, 0, last)]
    return found


def plain_motion(before: np.ndarray, after: np.ndarray, points: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """`measure_motion` point by point, with inverses of matrices."""
    along = np.arange(-HALF, HALF + 1.0)
    dx, dy = np.tile(along, len(along)), np.repeat(along, len(along))
    weights = np.exp(-(dx**2 + dy**2) / (2 * WIDTH**2))
    weights /= weights.sum()
    strengths = np.einsum("pkw,pk->w", WAYS, guess)
    held_to = strengths * (HOLDS > HELD)
    for _ in range(STEPS):
        normal, ways = np.diag(HOLDS), HOLDS * (held_to - strengths)
        for (x, y), way in zip(points, WAYS, strict=True):
            slope_x = (samples(before, x + dx + 1, y + dy) - samples(before, x + dx - 1, y + dy)) / 2
            slope_y = (samples(before, x + dx, y + dy + 1) - samples(before, x + dx, y + dy - 1)) / 2
            slopes, moved = np.column_stack([slope_x, slope_y]), way @ strengths
            seen, now = samples(before, x + dx, y + dy), samples(after, x + moved[0] + dx, y + moved[1] + dy)
            slopes, seen, now = slopes - weights @ slopes, seen - weights @ seen, now - weights @ now
            contrast = (weights @ (now * seen) + PLAIN) / (weights @ seen**2 + PLAIN)
            change = np.clip(contrast, *CONTRAST) * seen - now
            certainty = 1 / (weights @ change**2 + NOISE)
            information = certainty * slopes.T @ (weights[:, None] * slopes)
            rest = np.linalg.inv(np.eye(2) + OWN_MOVEMENT**2 * information)
            normal += way.T @ rest @ information @ way
            ways += way.T @ rest @ (certainty * slopes.T @ (weights * change))
        strengths = strengths + np.linalg.solve(normal, ways)
    return WAYS @ strengths


@pytest.mark.parametrize("shift", [0.0, 30.0, 100.0])  # half of the face outside of the crop, and all of it
def test_movement_is_what_the_formula_says_of_each_point(shift: float) -> None:
    image = texture(96)
    after, _ = turned(image, 1.2, 0.8, -0.5)
    points = place(Frame((47.5 + shift, 47.5 - shift), 60.0, 5.0))
    before, after = grey_levels(image), grey_levels(after) * 0.9
    guess = np.random.default_rng(1).normal(0, 0.5, (51, 2))
    expected = plain_motion(before, after, points, guess)
    assert np.allclose(measure_motion(before, after, points, guess), expected, atol=1e-6)


def test_where_there_is_nothing_to_see_nothing_moves() -> None:
    plain, points = np.full((96, 96), 90.0), place(Frame((47.5, 47.5), 60.0))
    assert np.abs(measure_motion(plain, plain + 5, points, np.zeros((51, 2)))).max() == pytest.approx(0.0)


def test_the_filter_by_hand() -> None:
    # Before a plain wall points are held to rest. 1 pixel of 100 away: their mean distance grows by the share of 3 Hz,
    # 2 pi 3 / 30 = 0.62832, 0.62832 / 1.62832 = 0.38587, to 0.0038587; the cutoff is 0.3 + 8 * 0.0038587 = 0.33087 Hz,
    # and its share 0.069297 / 1.069297 = 0.064806. Twice as strong: 0.034649 / 1.034649 = 0.033488.
    # 8 pixels are 0.08 of the size: 0.08 / 0.05 - 1 = 0.6 of them are taken, which is more; of 20 pixels all.
    assert (CUTOFF, SLOPE, APART_CUTOFF, FAR) == (0.3, 8.0, 3.0, 0.05)
    wall, frame = ImageFile.of_array(np.full((200, 200, 3), 90, np.uint8)), Frame((100.0, 100.0), 100.0)
    points = place(frame)
    for strength, away, expected in ((1, 1.0, 0.064806), (2, 1.0, 0.033488), (1, 8.0, 4.8), (1, 20.0, 20.0)):
        smooth = FaceFilter(strength)
        assert np.array_equal(smooth(wall, points, frame, 1 / 30), points)
        found = smooth(wall, points + (away, 0.0), frame, 1 / 30)
        assert np.allclose(found, points + (expected, 0.0), atol=1e-4)
    assert np.array_equal(FaceFilter(0.0)(wall, points + 1, frame, 1 / 30), points + 1)


@pytest.mark.parametrize("speed", [0.0, 4.0])  # pixels per frame
def test_points_get_steadier_and_do_not_trail(speed: float) -> None:
    rng, image, smooth = np.random.default_rng(3), texture(300), FaceFilter(1.0)
    found, raw = [], []
    for k in range(30):
        frame = Frame((90 + speed * k, 150.0), 80.0, 178.0 + speed * k / 4 - (360 if speed * k > 8 else 0))
        shown, matrix = turned(image, speed * k / 4, speed * k, 0.0)
        points = transform_points(matrix, place(Frame((90.0, 150.0), 80.0, 178.0)))
        noisy = points + rng.normal(0, 0.5, (51, 2))
        centre = transform_points(matrix, np.array([[90.0, 150.0]]))[0]
        frame = Frame((float(centre[0]), float(centre[1])), frame.size, frame.roll)
        found.append(smooth(ImageFile.of_array(shown), noisy, frame, 1 / 30) - points)
        raw.append(noisy - points)
    assert np.diff(found[10:], axis=0).std() < np.diff(raw[10:], axis=0).std() / 4
    assert abs(np.mean(found[10:], axis=(0, 1))[0]) < 0.15  # pixels: at 120 per second 1 ms
