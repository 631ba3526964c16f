import numpy as np
import pytest

from pair_fld.benchmarks.detectors import Case, CountingDetector, measure_detector_sets
from pair_fld.runtime.pipeline import Pipeline
from pair_fld.runtime.search import SearchConfig, SearchingDetector
from tests.runtime.test_main import StubDetector, StubModel, face_in


def label(low: float, high: float) -> np.ndarray:
    """51 points as the stub model predicts them for the box (low, low) to (high, high)."""
    return face_in([low, low, high, high])


def test_counts_and_errors_by_hand():
    bright, dark = np.full((200, 200, 3), 9, np.uint8), np.zeros((200, 200, 3), np.uint8)
    shifted = label(22, 82)
    cases = [
        Case("a", bright, label(20, 80)[None]),  # detected, and the other box beside it
        Case("a", dark, label(20, 80)[None]),  # missed
        Case("b", bright, shifted[None]),
        Case("empty", dark, np.zeros((0, 51, 2))),
        Case("nobody", bright, None),
    ]
    pipeline = Pipeline(StubDetector([[20, 20, 80, 80], [120, 120, 180, 180]]), StubModel())
    rows = {row.set: row for row in measure_detector_sets(pipeline, cases)}
    assert [(r.images, r.faces, r.detected, r.without_label) for r in rows.values()] == [
        (2, 2, 1, 1), (1, 1, 1, 1), (1, 0, 0, 0), (1, 0, 0, 2),
    ]  # fmt: skip
    assert rows["a"].nme_end_to_end_outer_corners_percent == pytest.approx(0, abs=1e-4)
    # off by (2, 2) everywhere; the outer corners of the mean face are 2 x 0.3787 of its size apart
    expected = 100 * 2 * np.sqrt(2) / (60 * 2 * 0.3787)
    assert rows["b"].nme_end_to_end_outer_corners_percent == pytest.approx(expected, rel=1e-4)
    assert rows["b"].nme_labelled_boxes_outer_corners_percent == pytest.approx(0, abs=1e-4)
    assert rows["empty"].nme_end_to_end_outer_corners_percent is None


def test_runs_of_the_network_are_counted():
    class Blind(SearchingDetector):
        name, side, search, key_points, calibration = "blind", 32, SearchConfig(tiles=(0.5,), turned="never"), (), None

        def infer(self, view: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            assert view.shape == (32, 32, 3)
            return np.zeros((0, 4)), np.zeros((0, 0, 2)), np.zeros(0)

    counting = CountingDetector(Blind())
    assert counting.detect(np.zeros((128, 128, 3), np.uint8)) == []
    # the whole image, and tiles of half its side every 3/8 of it: (128 - 64) / 48 -> 3 per edge
    assert counting.runs == 1 + 3 * 3
