import numpy as np
import pytest

from pair_fld.benchmarks.detectors import _measure
from pair_fld.runtime.pipeline import Pipeline
from tests.runtime.test_main import StubDetector, StubModel, face_in


def label(low: float, high: float) -> np.ndarray:
    """51 points as the stub model predicts them for the box (low, low) to (high, high)."""
    return face_in([low, low, high, high])


def test_counts_and_errors_by_hand():
    bright, dark = np.full((200, 200, 3), 9, np.uint8), np.zeros((200, 200, 3), np.uint8)
    shifted = label(22, 82)
    cases = [
        ("a", bright, label(20, 80)),  # found, and the other box beside it
        ("a", dark, label(20, 80)),  # missed
        ("b", bright, shifted),
        ("empty", dark, np.zeros((0, 2))),
        ("nobody", bright, None),
    ]
    pipeline = Pipeline(StubDetector([[20, 20, 80, 80], [120, 120, 180, 180]]), StubModel())
    rows = {row.set: row for row in _measure(pipeline, iter(cases))}
    assert [(r.pictures, r.faces, r.found, r.extra) for r in rows.values()] == [
        (2, 2, 1, 1), (1, 1, 1, 1), (1, 0, 0, 0), (1, 0, 0, 2),
    ]  # fmt: skip
    assert rows["a"].nme_end_to_end_outer_corners_percent == pytest.approx(0, abs=1e-4)
    # off by (2, 2) everywhere; the outer corners of the mean face are 2 x 0.3787 of its size apart
    expected = 100 * 2 * np.sqrt(2) / (60 * 2 * 0.3787)
    assert rows["b"].nme_end_to_end_outer_corners_percent == pytest.approx(expected, rel=1e-4)
    assert rows["b"].nme_labelled_boxes_outer_corners_percent == pytest.approx(0, abs=1e-4)
    assert rows["empty"].nme_end_to_end_outer_corners_percent is None
