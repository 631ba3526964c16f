import numpy as np
import pytest

from pair_fld.runtime import scheme


def test_flip_is_an_involution_that_swaps_left_and_right_regions():
    flip = np.array(scheme.FLIP)
    assert sorted(flip) == list(range(51))
    assert (flip[flip] == np.arange(51)).all()
    for left, right in (("brow_left", "brow_right"), ("eye_left", "eye_right")):
        assert {scheme.FLIP[i] for i in scheme.REGIONS[left]} == set(scheme.REGIONS[right])
    for alone in ("nose_bridge", "nose_base", "lip_outer", "lip_inner"):
        assert {scheme.FLIP[i] for i in scheme.REGIONS[alone]} == set(scheme.REGIONS[alone])


def test_flip_equals_the_contest_permutation():
    contest = """9 8 7 6 5 4 3 2 1 0 10 11 12 13 18 17 16 15 14 28 27 26 25 30 29 22 21 20 19 24 23
        37 36 35 34 33 32 31 42 41 40 39 38 47 46 45 44 43 50 49 48"""
    assert tuple(int(n) for n in contest.split()) == scheme.FLIP


def test_every_point_belongs_to_exactly_one_region():
    listed = [i for points in scheme.REGIONS.values() for i in points]
    assert sorted(listed) == list(range(51))


def test_outer_eye_corners_are_eye_points_and_not_lips():
    left, right = scheme.OUTER_EYE_CORNERS
    assert (left, right) == (19, 28)
    assert left in scheme.EYE_LEFT
    assert right in scheme.EYE_RIGHT


def numbered(count: int) -> np.ndarray:
    """Points whose x is their index and whose y is index + 0.5, so that a map shows itself."""
    return np.stack([np.arange(count), np.arange(count) + 0.5], axis=1).astype(float)


def test_68_points_lose_the_jaw():
    points, valid = scheme.to_51(numbered(68))
    assert valid.all()
    assert points[0].tolist() == [17, 17.5]
    assert points[19].tolist() == [36, 36.5]  # outer corner of the eye at the image's left
    assert points[50].tolist() == [67, 67.5]


def test_49_points_lack_the_inner_mouth_corners():
    points, valid = scheme.to_51(numbered(49))
    assert np.flatnonzero(~valid).tolist() == [43, 47]
    assert points[[43, 47]].tolist() == [[0, 0], [0, 0]]
    assert points[[42, 44, 46, 48, 50], 0].tolist() == [42, 43, 45, 46, 48]


def test_51_points_stay_and_unknown_ones_are_masked():
    source = numbered(51)
    source[7, 1] = np.nan
    points, valid = scheme.to_51(source)
    assert np.flatnonzero(~valid).tolist() == [7]
    assert points[7].tolist() == [0, 0]
    assert points[8].tolist() == [8, 8.5]


def test_98_points_keep_eye_corners_and_mouth():
    points, valid = scheme.to_51(numbered(98))
    assert valid.all()
    # WFLW: eyes begin at 60 and 68 (outer corner left, inner corner right), lips are 76-95
    assert points[[19, 22, 25, 28], 0].tolist() == [60, 64, 68, 72]
    assert points[[31, 37, 43, 47], 0].tolist() == [76, 82, 88, 92]
    assert len(np.unique(points[:, 0])) == 51


@pytest.mark.parametrize("shape", [(50, 2), (51, 3), (51,)])
def test_other_counts_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="expected 49, 51, 68 or 98 points of x and y, found an array of shape"):
        scheme.to_51(np.zeros(shape))
