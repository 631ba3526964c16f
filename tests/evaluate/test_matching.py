import numpy as np
import pytest

from pair_fld.evaluate.matching import learn_box_policy, match_boxes, match_faces, measure_detector
from pair_fld.runtime.detection import landmark_box


def test_matching_is_one_to_one_and_takes_the_greatest_overlap_first():
    truth = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]], np.float64)
    found = np.array([[22, 0, 32, 10], [1, 0, 11, 10], [0, 0, 10, 10], [80, 80, 90, 90]], np.float64)
    matches = match_boxes(found, truth)
    assert matches.pairs == ((0, 1), (2, 0))
    assert matches.missed == (2,)
    assert matches.unmatched == (1, 3)


def test_nothing_found_and_nothing_to_find():
    assert match_boxes(np.zeros((0, 4)), np.array([[0, 0, 1, 1.0]])).missed == (0,)
    assert match_boxes(np.array([[0, 0, 1, 1.0]]), np.zeros((0, 4))).unmatched == (0,)
    assert match_faces([], []).pairs == ()


def test_faces_match_by_their_known_points():
    face = np.array([[0, 0], [10, 10], [np.nan, np.nan]])
    assert match_faces([face[:2]], [face]).pairs == ((0, 0),)


def test_a_policy_is_recovered_from_its_own_boxes():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 500, (50, 2))
    boxes = np.concatenate([low, low + rng.uniform(50, 200, (50, 1))], axis=1)
    policy = {"offset": [0.02, -0.1], "scale": [0.75, 0.7]}
    learnt = learn_box_policy(boxes, landmark_box(boxes, policy), "stub")
    np.testing.assert_allclose(learnt["offset"], policy["offset"], atol=1e-5)
    np.testing.assert_allclose(learnt["scale"], policy["scale"], atol=1e-5)
    assert learnt["offset_std"] == pytest.approx([0, 0], abs=1e-6)
    assert (learnt["detector"], learnt["faces"]) == ("stub", 50)


def test_the_longer_side_is_right_on_average():
    boxes = np.array([[0, 0, 100, 100.0]] * 4)
    wide, tall = [10, 20, 90, 80], [20, 10, 80, 90]  # longer side 80 either way
    learnt = learn_box_policy(boxes, np.array([wide, tall, wide, tall], np.float64), "stub")
    np.testing.assert_allclose(learnt["scale"], [0.8, 0.8], atol=1e-5)


def test_one_pair_is_too_few():
    with pytest.raises(ValueError, match="expected two or more pairs of boxes, found 1 and 1"):
        learn_box_policy(np.ones((1, 4)), np.ones((1, 4)), "stub")


class OneBox:
    name = "stub"

    def detect(self, image_bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[0, 0, 10, 10.0]]), np.ones(1)


def test_recall_and_unmatched_boxes_by_hand():
    blank = np.zeros((20, 20, 3), np.uint8)
    pictures = [
        (blank, np.array([[1, 1, 10, 10.0]])),
        (blank, np.zeros((0, 4))),
        (blank, np.array([[50, 50, 60, 60.0]])),
    ]
    result = measure_detector(OneBox(), pictures)
    assert result.to_json() == {
        "pictures": 3,
        "faces": 2,
        "found_faces": 1,
        "recall_percent": 50.0,
        "unmatched_boxes": 2,
    }
    assert result.truth.tolist() == [[1, 1, 10, 10]]
