import numpy as np

from pair_fld.evaluate.matching import match_boxes, match_faces, measure_detector
from pair_fld.runtime.detection import Detection


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


class OneBox:
    def detect(self, image_bgr: np.ndarray) -> list[Detection]:
        return [Detection(np.array([0, 0, 10, 10.0]), np.zeros((0, 2)), 0.9)]


def test_recall_and_unmatched_detections_by_hand():
    blank = np.zeros((20, 20, 3), np.uint8)
    near, far = np.array([[1, 1], [10, 10.0]]), np.array([[50, 50], [60, 60.0]])
    result = measure_detector(OneBox(), [(blank, [near]), (blank, []), (blank, [far])])
    assert result.to_json() == {
        "images": 3,
        "faces": 2,
        "found_faces": 1,
        "recall_percent": 50.0,
        "unmatched_detections": 2,
    }
    assert result.truth == (near,)
