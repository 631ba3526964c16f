import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pair_fld.data.synthetic.shape import load_prior
from pair_fld.runtime.frame import Frame, fit_frame, frame_from_box, frame_matrix, place, snapped
from pair_fld.runtime.geometry import invert, points_box, transform_points, warp
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.scheme import FLIP

TENTH = 0.1  # pixels

frames = st.builds(
    Frame,
    st.tuples(st.floats(-500, 5000), st.floats(-500, 5000)),
    st.floats(8, 3000),
    st.floats(-180, 180),
)
masks = st.lists(st.booleans(), min_size=51, max_size=51).map(np.array).filter(lambda m: m.sum() >= 2)


def roll_difference(a: float, b: float) -> float:
    """Degrees between two rolls, the short way round."""
    return abs((a - b + 180) % 360 - 180)


def test_the_mean_face_is_the_shape_prior_seen_from_the_front():
    flat = load_prior().mean[:, :2] * (1, -1)  # the prior's y points up
    box = points_box(flat)
    expected = (flat - (box[:2] + box[2:]) / 2) / (box[2:] - box[:2]).max()
    np.testing.assert_allclose(MEAN_FACE, expected, atol=1e-4)
    np.testing.assert_allclose(MEAN_FACE[list(FLIP)] * (-1, 1), MEAN_FACE, atol=1e-9)


def test_an_upright_mean_face_gets_the_crop_of_its_box():
    face = MEAN_FACE * 200 + (310, 240)
    by_points, by_box = fit_frame(face), frame_from_box(points_box(face))
    np.testing.assert_allclose(frame_matrix(by_points, 96, 1.45), frame_matrix(by_box, 96, 1.45), atol=1e-9)


def test_a_frame_by_hand():
    # References 2 apart on the x axis lie 20 apart on the image's y axis: size 20 / 2 = 10, a quarter turn clockwise
    # on screen (x to the right becomes y downwards). The middle of the references, (1, 0), lies at (5, 17), which is
    # the centre plus 10 times (1, 0) turned, (0, 10): the centre is (5, 7).
    frame = fit_frame(np.array([[5, 7], [5, 27]]), np.array([[0, 0], [2, 0]]))
    assert frame.centre == pytest.approx((5, 7))
    assert frame.size == pytest.approx(10)
    assert frame.roll == pytest.approx(90)


def test_weights_are_repetitions():
    # a point of weight 2 counts as the same point twice
    rng = np.random.default_rng(1)
    points = MEAN_FACE[:4] * 50 + rng.normal(0, 3, (4, 2))
    weighted = fit_frame(points, MEAN_FACE[:4], np.array([1, 2, 1, 0]))
    repeated = fit_frame(points[[0, 1, 1, 2]], MEAN_FACE[[0, 1, 1, 2]])
    np.testing.assert_allclose(place(weighted), place(repeated))


def test_no_other_similarity_lies_nearer():
    rng = np.random.default_rng(2)
    face = place(Frame((90, 80), 60, 30)) + rng.normal(0, 4, (51, 2))
    best = fit_frame(face)
    error = np.square(place(best) - face).sum()
    for _ in range(200):
        dx, dy, grow, turn = rng.normal(0, (0.5, 0.5, 0.01, 0.5))
        other = Frame((best.centre[0] + dx, best.centre[1] + dy), best.size * np.exp(grow), best.roll + turn)
        assert np.square(place(other) - face).sum() >= error


@settings(deadline=None)
@given(frames, masks)
def test_a_frame_returns_from_its_own_points(frame: Frame, mask: np.ndarray):
    found = fit_frame(np.where(mask[:, None], place(frame), np.nan), weights=mask)
    # a tenth of a pixel at the face's rim; floats of 5000 with two neighbouring points leave a millionth
    assert math.dist(found.centre, frame.centre) < TENTH
    assert found.size == pytest.approx(frame.size, rel=1e-6)
    assert roll_difference(found.roll, frame.roll) < 1e-4


@settings(deadline=None)
@given(frames, st.sampled_from([48, 64, 96, 256]), st.floats(1.0, 2.5))
def test_points_return_through_the_inverse_of_the_crop(frame: Frame, size: int, margin: float):
    matrix = frame_matrix(frame, size, margin)
    face = place(frame)
    np.testing.assert_allclose(transform_points(invert(matrix), transform_points(matrix, face)), face, atol=1e-6)


@settings(deadline=None)
@given(frames, st.sampled_from([64, 96]), st.floats(1.0, 2.5))
def test_every_crop_shows_the_mean_face_alike(frame: Frame, size: int, margin: float):
    # upright, centred on (S - 1) / 2, its unit S / margin pixels long: at any place, size and roll
    expected = MEAN_FACE * size / margin + (size - 1) / 2
    np.testing.assert_allclose(transform_points(frame_matrix(frame, size, margin), place(frame)), expected, atol=1e-6)


@settings(deadline=None)
@given(st.floats(-180, 180), st.floats(0.3, 3), st.tuples(st.floats(-50, 50), st.floats(-50, 50)))
def test_the_frame_turns_with_the_image(turn: float, scale: float, shift: tuple[float, float]):
    # any points, not the mean face's: the fit of moved points is the moved fit
    face = place(Frame((40, 30), 70, 12)) + np.random.default_rng(3).normal(0, 5, (51, 2))
    angle = np.deg2rad(turn)
    move = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    before, after = fit_frame(face), fit_frame(face @ move.T + shift)
    np.testing.assert_allclose(after.centre, move @ before.centre + shift, atol=1e-6)
    assert after.size == pytest.approx(before.size * scale)
    assert roll_difference(after.roll, before.roll + turn) < 1e-6


@settings(max_examples=25, deadline=None)
@given(st.floats(-180, 180), st.floats(60, 400), st.sampled_from([64, 96]))
def test_what_is_seen_in_the_crop_lies_where_the_matrix_says(roll: float, size: float, crop_size: int):
    # a soft dot in the image, at the place of the nose tip: its middle in the crop is the matrix's, to a tenth
    frame = Frame((301.3, 298.6), size, roll)
    matrix = frame_matrix(frame, crop_size, 1.45)
    pixel = 1.45 * size / crop_size  # image pixels of one crop pixel
    dot = place(frame)[13]
    y, x = np.mgrid[:600, :600]
    spread = max(3.0, 1.3 * pixel)
    image = np.round(250 * np.exp(-((x - dot[0]) ** 2 + (y - dot[1]) ** 2) / (2 * spread**2))).astype(np.uint8)
    crop = warp(image, matrix, crop_size).astype(float)
    v, u = np.mgrid[:crop_size, :crop_size]
    expected = transform_points(matrix, dot)
    near = np.hypot(u - expected[0], v - expected[1]) < 4.5 * spread / pixel
    crop *= near
    middle = np.array([(u * crop).sum(), (v * crop).sum()]) / crop.sum()
    assert np.abs(middle - expected).max() < TENTH


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ([[3, 3], [3, 3]], "found them all in one place or mirrored"),
        ([[3, 3], [np.nan, 3]], "needs finite points, found one that is not a number"),
        ([[3, 3]], "needs two points at least, found 1"),
        ([[3, 3, 1]], r"expected points and references \(N, 2\), found \(1, 3\)"),
    ],
)
def test_degenerate_points_are_refused(points: list[list[float]], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        fit_frame(np.array(points, float), MEAN_FACE[: len(points)])


def test_references_in_one_place_and_masks_without_points_are_refused():
    with pytest.raises(ValueError, match="distinct places in the mean face"):
        fit_frame(np.array([[0.0, 0], [5, 5]]), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="needs two points at least, found 0"):
        fit_frame(MEAN_FACE, weights=np.zeros(51))


@pytest.mark.parametrize("values", [(np.nan, 3.0, 0.0), (1.0, 0.0, 0.0), (1.0, -2.0, 0.0), (1.0, 2.0, np.inf)])
def test_a_frame_is_finite_and_has_a_size(values: tuple[float, float, float]):
    with pytest.raises(ValueError, match="expected a face frame of finite numbers and a size above 0"):
        Frame((values[0], 0.0), values[1], values[2])


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [0, 0, np.nan, 4], [9, 9, 3, 3]])
def test_a_box_without_extent_has_no_frame(box: list[float]):
    with pytest.raises(ValueError, match=r"expected a box with x1 > x0 or y1 > y0, found"):
        frame_from_box(np.array(box))


def test_last_bits_of_a_frame_are_snapped_away() -> None:
    # 1/64 = 0.015625: 10.01 x 64 = 640.64 -> 641 / 64, 0.3 x 64 = 19.2 -> 19 / 64
    frame = snapped(Frame((10.01, -3.0), 50.0, 0.3))
    assert (frame.centre, frame.size, frame.roll) == ((641 / 64, -3.0), 50.0, 19 / 64)
    assert snapped(Frame((10.01 + 1e-6, -3.0 - 1e-6), 50.0 + 1e-6, 0.3 - 1e-6)) == frame
    assert snapped(Frame((0.0, 0.0), 1e-3)).size == 1 / 64
