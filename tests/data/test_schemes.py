"""Schemes of data sets: where the 51 points are among theirs, and files that contradict themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pair_fld.data.schemes import load_scheme, to_51
from pair_fld.errors import PairError
from pair_fld.runtime.scheme import FLIP


def numbered(count: int) -> np.ndarray:
    """Points whose x is their index and whose y is index + 0.5, so that a map shows itself."""
    return np.stack([np.arange(count), np.arange(count) + 0.5], axis=1).astype(float)


def test_68_points_lose_the_jaw():
    points, valid = to_51(numbered(68))
    assert valid.all()
    assert points[0].tolist() == [17, 17.5]
    assert points[19].tolist() == [36, 36.5]  # outer corner of the eye at the image's left
    assert points[50].tolist() == [67, 67.5]


def test_49_points_lack_the_inner_mouth_corners():
    points, valid = to_51(numbered(49))
    assert np.flatnonzero(~valid).tolist() == [43, 47]
    assert points[[43, 47]].tolist() == [[0, 0], [0, 0]]
    assert points[[42, 44, 46, 48, 50], 0].tolist() == [42, 43, 45, 46, 48]


def test_51_points_stay_and_unknown_ones_are_masked():
    source = numbered(51)
    source[7, 1] = np.nan
    points, valid = to_51(source)
    assert np.flatnonzero(~valid).tolist() == [7]
    assert points[7].tolist() == [0, 0]
    assert points[8].tolist() == [8, 8.5]


def test_98_points_keep_eye_corners_and_mouth():
    points, valid = to_51(numbered(98))
    assert valid.all()
    # WFLW: eyes begin at 60 and 68 (outer corner left, inner corner right), lips are 76-95
    assert points[[19, 22, 25, 28], 0].tolist() == [60, 64, 68, 72]
    assert points[[31, 37, 43, 47], 0].tolist() == [76, 82, 88, 92]
    assert len(np.unique(points[:, 0])) == 51


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((50, 2), "expected 49, 51, 68 or 98 points, or a source with a `scheme`, found 50"),
        ((51, 3), "expected points of x and y, found an array of shape"),
        ((51,), "expected points of x and y, found an array of shape"),
    ],
)
def test_other_counts_are_refused(shape: tuple[int, ...], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        to_51(np.zeros(shape))


def test_wflw_in_68_points_masks_brows_and_lids():
    points, mask = to_51(numbered(68), "wflw68")
    # of each eye the corners stay, points 36, 39, 42 and 45 of iBUG
    assert np.flatnonzero(mask).tolist() == [*range(10, 19), 19, 22, 25, 28, *range(31, 51)]
    assert points[[19, 22, 25, 28], 0].tolist() == [36, 39, 42, 45]


def test_the_106_points_of_lapa_lack_the_nose_wings():
    points, mask = to_51(numbered(106), "lapa106")
    assert np.flatnonzero(~mask).tolist() == [14, 15, 17, 18]
    assert points[[0, 9, 13, 16, 19, 28, 31, 43], 0].tolist() == [33, 46, 54, 60, 66, 79, 84, 96]


@pytest.mark.parametrize("name", ["pair51", "ibug68", "aaf49", "wflw98", "wflw68", "lapa106"])
def test_every_scheme_agrees_with_the_mirror_permutation(name: str):
    """Mirroring the data set's points and mapping them is mapping them and mirroring the 51."""
    scheme = load_scheme(name)
    points = np.random.default_rng(0).uniform(0, 9, (scheme.count, 2))
    mirrored, there = scheme.to_51(points[list(scheme.flip)])
    straight, here = scheme.to_51(points)
    np.testing.assert_array_equal(mirrored, straight[list(FLIP)])
    np.testing.assert_array_equal(there, here[list(FLIP)])
    assert len(set(scheme.names)) == scheme.count


# A scheme of 53 points: point 0 of the 51 is the mean of its first two, and point 9 that of 10 and 11.
OWN = """
points: 53
regions: {brow_left: [0, 5], brow_right: [6, 11], rest: [12, 52]}
mirror: [[0, 11], [1, 10], [2, 9], [3, 8], [4, 7], [5, 6], [16, 20], [17, 19],
  [21, 30], [22, 29], [23, 28], [24, 27], [25, 32], [26, 31], [33, 39], [34, 38], [35, 37], [40, 44], [41, 43],
  [45, 49], [46, 48], [50, 52]]
to_51:
  brow_left: [[0, 1], 2, 3, 4, 5]
  brow_right: [6, 7, 8, 9, [10, 11]]
  nose_bridge: [12, 13, 14, 15]
  nose_base: [16, 17, 18, 19, 20]
  eye_left: [21, 22, 23, 24, 25, 26]
  eye_right: [27, 28, 29, 30, 31, 32]
  lip_outer: [33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44]
  lip_inner: [45, 46, 47, null, 49, 50, 51, 52]
"""


def test_a_scheme_of_ones_own_with_means_and_gaps(tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text(OWN.replace("46, 47, null, 49", "46, 47, 48, 49"))
    points, mask = to_51(numbered(53), str(own))
    assert mask.all()
    assert points[[0, 9]].tolist() == [
        [0.5, 1.0],
        [10.5, 11.0],
    ]  # means of (0, 0.5), (1, 1.5) and (10, 10.5), (11, 11.5)
    holes = numbered(53)
    holes[11] = np.nan  # one of the two that point 9 is the mean of
    assert np.flatnonzero(~to_51(holes, str(own))[1]).tolist() == [9]
    visibility = np.zeros(53, np.uint8)
    visibility[[1, 20]] = [2, 1]
    seen = load_scheme(str(own)).visibility_to_51(visibility)
    assert {int(k): int(v) for k, v in enumerate(seen) if v} == {0: 2, 18: 1}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("eye_left: [21, 22", "eye_left: [22, 21"), r"point 19 from \[22\] and its mirror point from \[30\]"),
        (("47, null", "47, 48, 48"), "9 entries for lip_inner, which has 8 points"),
        (("47, null", "47, 99"), r"to_51 with \[99\] for point 46"),
        (("47, null", "47, null"), r"point 44 from \[46\] and its mirror point from \[\]"),
        (("rest: [12, 52]", "rest: [12, 50]"), "regions of 51 points that are not 0 to 52"),
        (("rest: [12, 52]", "rest: [11, 52]"), "point 11 in two regions"),
        (("[50, 52]]", "[50, 51], [51, 52]]"), r"a mirror pair \[51, 52\]"),
        (("  nose_base", "  nosebase"), "to_51 with the regions brow_left, brow_right, nose_bridge, nosebase,"),
    ],
)
def test_a_scheme_that_contradicts_itself_is_refused(tmp_path: Path, change: tuple[str, str], sentence: str):
    own = tmp_path / "own.yaml"
    assert change[0] in OWN
    own.write_text(OWN.replace(*change))
    with pytest.raises(PairError, match=f"own.yaml: the scheme contradicts itself, .*{sentence}"):
        load_scheme(str(own))


def test_unknown_schemes_are_answered_with_the_known_ones():
    with pytest.raises(PairError, match="Known names: aaf49, ibug68, lapa106, wflw68, wflw98"):
        load_scheme("ibug86")
    with pytest.raises(ValueError, match="the scheme lapa106 has 106 points, found 68"):
        to_51(numbered(68), "lapa106")
