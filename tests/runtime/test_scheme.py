import numpy as np

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
