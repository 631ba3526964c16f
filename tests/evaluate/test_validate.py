"""Answers averaged over a crop and its mirror image, and over models."""

from __future__ import annotations

import numpy as np
import pytest

from pair_fld.errors import PairError
from pair_fld.evaluate.ensemble import MirrorAverage, ModelAverage
from pair_fld.runtime.scheme import FLIP

SIZE = 8


class Fixed:
    """Gives the same points whatever it sees."""

    input_size, margin = SIZE, 1.45

    def __init__(self, points: np.ndarray) -> None:
        self.points = points

    def predict(self, crops: np.ndarray) -> np.ndarray:
        return np.repeat(self.points[None], len(crops), axis=0)


class Brightest(Fixed):
    """Gives the place of the brightest pixel for every point."""

    def __init__(self) -> None:
        super().__init__(np.zeros((51, 2)))

    def predict(self, crops: np.ndarray) -> np.ndarray:
        places = [np.unravel_index(crop[..., 0].argmax(), crop.shape[:2]) for crop in crops]
        return np.array([[(x, y)] * 51 for y, x in places], np.float64)


def test_a_model_that_mirrors_rightly_keeps_its_answer() -> None:
    crops = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    crops[0, 2, 1] = crops[1, 5, 6] = 255
    np.testing.assert_allclose(MirrorAverage(Brightest()).predict(crops), Brightest().predict(crops))


def test_what_differs_is_averaged() -> None:
    points = np.random.default_rng(0).uniform(0, SIZE - 1, (51, 2))
    points[19], points[28] = (1, 3), (5, 4)  # a pair of mirror points
    found = MirrorAverage(Fixed(points)).predict(np.zeros((1, SIZE, SIZE, 3), np.uint8))[0]
    # point 19 of the mirror image is point 28: at x 7 - 5 = 2, y 4; the mean with (1, 3) is (1.5, 3.5)
    assert FLIP[19] == 28
    np.testing.assert_allclose(found[19], [1.5, 3.5])
    np.testing.assert_allclose(found[28], [(5 + 7 - 1) / 2, 3.5])


def test_models_are_averaged_if_they_see_the_same_crops() -> None:
    one, three = Fixed(np.full((51, 2), 1.0)), Fixed(np.full((51, 2), 3.0))
    assert (ModelAverage([one, three]).predict(np.zeros((2, SIZE, SIZE, 3), np.uint8)) == 2).all()
    three.input_size = 16  # type: ignore[misc]
    with pytest.raises(PairError, match=r"expected equal crops, found 8 px at margin 1\.45, 16 px at margin 1\.45"):
        ModelAverage([one, three])
