import numpy as np
import pytest

from pair_fld.data import audit
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.scheme import FLIP

GOOD = np.ones((1, 51), bool)


def face(roll: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    """The mean face at (100, 80), 60 pixels large; yaw squeezes it as a turned head is seen, with the nose ahead."""
    points = MEAN_FACE.copy()
    points[10:19, 0] += 0.25 * np.sin(np.deg2rad(yaw))
    points[:, 0] *= np.cos(np.deg2rad(yaw))
    c, s = np.cos(np.deg2rad(roll)), np.sin(np.deg2rad(roll))
    return 60 * points @ np.array([[c, s], [-s, c]]) + [100, 80]


def reasons(points: np.ndarray, mask: np.ndarray = GOOD) -> list[str]:
    return [v.reason for v in audit.check_shapes(points[None], mask)]


@pytest.mark.parametrize("roll", [-40, 0, 40])
@pytest.mark.parametrize("yaw", [-60, 0, 60])
def test_faces_of_any_pose_raise_no_doubt(roll: float, yaw: float):
    assert reasons(face(roll, yaw)) == []


@pytest.mark.parametrize("roll", [-20, 0, 20])
def test_each_error_of_a_whole_label_is_named(roll: float):
    good = face(roll)
    # an image 200 wide was mirrored and the points with it, but not their numbers
    assert reasons(np.stack([199 - good[:, 0], good[:, 1]], axis=1)) == [audit.EXCHANGED]
    # the numbers were exchanged without a mirror: on a symmetric face it is the same
    assert reasons(good[list(FLIP)]) == [audit.EXCHANGED]
    assert reasons(good[:, ::-1]) == [audit.XY_EXCHANGED]
    assert reasons(np.stack([good[:, 0], 199 - good[:, 1]], axis=1)) == [audit.Y_FROM_BELOW]
    assert reasons(good[::-1]) == [audit.REVERSED]


def test_points_at_a_corner_are_named():
    points = face()
    points[[3, 20, 44]] = 0
    found = audit.check_shapes(points[None], GOOD)
    assert [v.reason for v in found] == [audit.FAR_POINTS]
    assert found[0].detail == "3 points: 3, 20, 44"


def test_noise_is_no_face_and_an_upside_down_one_is_named():
    noise = np.random.default_rng(1).uniform(50, 110, (51, 2))
    assert reasons(noise) == [audit.NO_SHAPE]
    assert reasons(face(roll=180)) == [audit.UPSIDE_DOWN]


def test_too_few_points_say_nothing():
    mask = np.zeros((1, 51), bool)
    mask[0, :4] = True
    assert reasons(face()[::-1], mask) == []


def test_the_reference_tells_shifted_from_wrong_from_missing():
    good = np.stack([face()] * 30)
    mask = np.ones((30, 51), bool)
    # the whole source lies 2 pixels to the right of the reference, which is no doubt about any face of it
    points = good + [2.0, 0.0]
    points[3] += [8.0, 0.0]  # beyond that, by 8 of 45 pixels between the eyes' corners: 17 %
    points[5] = good[5][::-1]
    reference = good.copy()
    reference[7] = np.nan
    asked = np.ones(30, bool)
    found = {v.row: v for v in audit.check_reference(points, mask, reference, asked, np.zeros(30, int))}
    assert {row: v.reason for row, v in found.items()} == {3: audit.SHIFTED, 5: audit.DISAGREES, 7: audit.NO_FACE}
    eyes = np.linalg.norm(good[0][28] - good[0][19])
    assert found[3].detail == f"by {8 / eyes * 100:.1f} % of the eye distance"
    # 5 % of the eye distance between its flips on face 3, found on one flip only on face 5: it is no witness
    apart = np.zeros(30)
    apart[3], apart[5] = 0.05 * eyes, np.nan
    unsure = {v.row: v for v in audit.check_reference(points, mask, reference, asked, np.zeros(30, int), apart)}
    assert {row: v.reason for row, v in unsure.items()} == {3: audit.UNSURE, 5: audit.UNSURE, 7: audit.NO_FACE}
    assert unsure[3].weight < 1 < found[3].weight
    asked[7] = False
    assert 7 not in [v.row for v in audit.check_reference(points, mask, reference, asked, np.zeros(30, int))]


def test_duplicates_with_other_labels():
    points, mask = np.stack([face(), face(), face() + 5]), np.ones((3, 51), bool)
    found = audit.check_duplicates(points, mask, np.array([[0, 1], [1, 2]]))
    assert [(v.row, v.reason) for v in found] == [(1, audit.OTHER_LABEL), (2, audit.OTHER_LABEL)]


def test_small_and_soft_faces():
    generator = np.random.default_rng(0)
    sharp = generator.integers(0, 255, (96, 96, 3), np.uint8)
    flat = np.full((96, 96, 3), 90, np.uint8)
    ramp = np.repeat(np.linspace(0, 255, 96).astype(np.uint8)[None, :, None], 96, axis=0).repeat(3, axis=2)
    values = [audit.sharpness(image) for image in (sharp, flat, ramp)]
    assert values[0] > 0.2
    assert values[1] == 0
    assert values[2] < audit.MIN_SHARPNESS
    found = audit.check_quality(np.array([10.0, 200.0, 200.0]), values)
    assert [(v.row, v.reason) for v in found] == [(0, audit.SMALL), (1, audit.SOFT), (2, audit.SOFT)]


def test_the_worst_come_first():
    verdicts = [audit.Verdict(1, "a", 1.0, ""), audit.Verdict(2, "b", 3.0, ""), audit.Verdict(1, "c", 2.0, "")]
    assert [(row, [v.reason for v in mine]) for row, mine in audit.rank(verdicts)] == [(2, ["b"]), (1, ["c", "a"])]
