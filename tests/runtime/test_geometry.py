import hashlib

import cv2
import numpy as np
import pytest

from pair_fld.runtime.frame import Frame, frame_from_box, frame_matrix
from pair_fld.runtime.geometry import (
    from_norm,
    invert,
    points_box,
    to_norm,
    transform_points,
    warp,
)


def box_matrix(box: np.ndarray, size: int, margin: float, rotation: float = 0.0) -> np.ndarray:
    return frame_matrix(frame_from_box(box, rotation), size, margin)


def test_the_matrix_of_a_box_by_hand():
    # box 10..30 x 20..40: centre (20, 30), side 20 x margin 2 = 40 -> crop of 80: scale 2, centre at 39.5
    matrix = box_matrix(np.array([10, 20, 30, 40]), 80, 2.0)
    np.testing.assert_allclose(matrix, [[2, 0, -0.5], [0, 2, -20.5]], atol=1e-12)


def test_outer_edges_of_the_square_are_the_outer_edges_of_the_crop():
    matrix = box_matrix(np.array([10, 20, 30, 40]), 64, 1.0)
    np.testing.assert_allclose(transform_points(matrix, np.array([[10, 20], [30, 40]])), [[-0.5, -0.5], [63.5, 63.5]])


def test_positive_rotation_turns_the_content_counter_clockwise():
    # the point to the right of the centre moves up (y grows downwards)
    matrix = box_matrix(np.array([0, 0, 10, 10]), 100, 1.0, rotation=90)
    np.testing.assert_allclose(transform_points(matrix, np.array([10, 5])), [49.5, -0.5], atol=1e-9)


@pytest.mark.parametrize("rotation", [0.0, 17.0, -90.0])
def test_points_return_through_the_inverse(rotation: float):
    points = np.random.default_rng(0).uniform(-50, 500, (51, 2))
    matrix = box_matrix(np.array([40.5, 60, 210.25, 190]), 96, 1.45, rotation)
    back = transform_points(invert(matrix), transform_points(matrix, points))
    np.testing.assert_allclose(back, points, atol=1e-9)


def dot_image(side: int, dots: np.ndarray, sigma: float) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    heat = sum(np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / (2 * sigma**2)) for dx, dy in dots)
    return np.round(250 * np.asarray(heat)).clip(0, 255).astype(np.uint8)


def centroid_near(image: np.ndarray, point: np.ndarray, radius: int) -> np.ndarray:
    x0, y0 = np.round(point).astype(int) - radius
    part = image[y0 : y0 + 2 * radius + 1, x0 : x0 + 2 * radius + 1].astype(float)
    y, x = np.mgrid[: part.shape[0], : part.shape[1]]
    return np.array([(x * part).sum(), (y * part).sum()]) / part.sum() + [x0, y0]


@pytest.mark.parametrize("rotation", [0.0, 25.0])
@pytest.mark.parametrize(("box_side", "size"), [(200, 256), (300, 64), (310, 50)])  # enlarged; shrunk by 6; by 8.1
def test_drawn_dots_land_where_the_matrix_says(rotation: float, box_side: int, size: int):
    dots = np.array([[330.0, 290.0], [410.0, 300.0], [365.0, 380.0]])
    shrink = box_side * 1.3 / size
    image = dot_image(700, dots, sigma=max(3.0, 1.3 * shrink))
    low = 355 - box_side / 2
    matrix = box_matrix(np.array([low, low, low + box_side, low + box_side]), size, 1.3, rotation)
    crop = warp(image, matrix, size)
    expected = transform_points(matrix, dots)
    radius = max(4, round(4 * max(3.0, 1.3 * shrink) / shrink))
    for point in expected:
        assert np.abs(centroid_near(crop, point, radius) - point).max() < 0.1


def test_a_large_face_is_not_aliased():
    # one-pixel stripes have the mean grey everywhere once they are averaged; sampling alone would show bands
    stripes = np.zeros((1024, 1024), np.uint8)
    stripes[:, ::2] = 255
    matrix = box_matrix(np.array([100, 100, 900, 900]), 96, 1.0)
    crop = warp(stripes, matrix, 96)
    assert np.abs(crop[2:-2, 2:-2].astype(int) - 128).max() <= 20
    bands = cv2.warpAffine(stripes, matrix, (96, 96), flags=cv2.INTER_LINEAR)
    assert np.ptp(bands[2:-2, 2:-2].astype(int)) > 100


def test_outside_the_image_is_black():
    crop = warp(np.full((50, 50, 3), 200, np.uint8), box_matrix(np.array([30, 30, 80, 80]), 64, 1.0), 64)
    assert crop[:20, :20].min() == 200
    assert crop[40:, 40:].max() == 0


def test_norm_by_hand():
    # crop of 4: pixel centres lie at -3/4, -1/4, 1/4, 3/4
    np.testing.assert_allclose(to_norm(np.arange(4.0), 4), [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(from_norm(np.array([-1.0, 1.0]), 4), [-0.5, 3.5])


def test_points_box_honours_the_mask():
    points = np.array([[5.0, 1.0], [7.0, 9.0], [100.0, 100.0]])
    assert points_box(points, np.array([True, True, False])).tolist() == [5, 1, 7, 9]
    with pytest.raises(ValueError, match="at least one valid point"):
        points_box(points, np.zeros(3, bool))


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [0, 0, np.nan, 4], [9, 9, 3, 3]])
def test_a_box_without_extent_is_refused(box: list[float]):
    with pytest.raises(ValueError, match=r"expected a box with x1 > x0 or y1 > y0, found"):
        box_matrix(np.array(box), 64, 1.2)


def test_a_crop_by_hand() -> None:
    # grey level 32 x: half a pixel to the right of column 1 lies 48, an eighth 36; beyond the last column it fades to 0
    image = np.tile(np.arange(4, dtype=np.uint8) * 32, (4, 1))
    moved = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, 0.0]])
    assert warp(image, moved, 4)[1].tolist() == [16, 48, 80, 48]
    moved[0, 2] = -0.125
    assert warp(image, moved, 4)[1].tolist() == [4, 36, 68, 84]


def test_a_crop_is_the_same_in_every_opencv() -> None:
    """Measured with OpenCV 4.11.0 and 5.0.0 on x86 and on emulated ARM64; `cv2.warpAffine` differed between the two."""
    columns, rows = np.meshgrid(np.arange(200), np.arange(160))
    image = ((columns * 37 + rows * 91 + (columns * rows) % 251) % 256).astype(np.uint8)
    matrix = frame_matrix(Frame((97.3, 81.9), 70.7, 17.3), 64, 1.45)
    assert (
        hashlib.sha256(warp(image, matrix, 64).tobytes()).hexdigest()
        == "c076bea169dbb9c3a9f9838cea8ebaba24d83da5a3e448882ff409393ba82d3e"
    )


def test_a_crop_at_the_end_of_a_very_long_image() -> None:
    image = np.zeros((8, 70_000), np.uint8)
    image[:, 69_990:] = 200
    matrix = np.array([[1.0, 0.0, -69_985.0], [0.0, 1.0, 0.0]])
    crop = warp(image, matrix, 32)
    assert crop[3, :16].tolist() == [0] * 5 + [200] * 10 + [0]
    assert not warp(image, np.array([[1.0, 0.0, 5_000.0], [0.0, 1.0, 0.0]]), 32).any()  # beside the image
