from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pair_fld.runtime.confidence import FEATURES, Confidence
from pair_fld.runtime.detection import Detection, box_iou
from pair_fld.runtime.face import Face
from pair_fld.runtime.frame import Frame, place
from pair_fld.runtime.image_file import ImageFile
from pair_fld.runtime.pipeline import Pipeline, PipelineOptions, distinct_faces
from tests.runtime.test_main import BLANK, StubDetector, StubModel


def face(y: float, roll: float, score: float) -> Face:
    frame = Frame((100.0, y), 80.0, roll)
    return Face(place(frame), None, score, frame)


def test_a_face_seen_upside_down_on_another_is_not_a_second_one() -> None:
    upright, upside_down, beside = face(100, 0, 0.9), face(145, 175, 0.5), face(145, 20, 0.6)
    # boxes 80 wide and 68 high, 45 apart: 23 / (2 * 68 - 23) is a fifth
    assert 0.1 < box_iou(upright.box, upside_down.box[None])[0] < 0.4
    assert [f.score for f in distinct_faces([upside_down, upright])] == [0.9]
    assert [f.score for f in distinct_faces([beside, upright])] == [0.9, 0.6]


def test_of_one_face_found_twice_the_better_score_stays() -> None:
    assert [f.score for f in distinct_faces([face(100, 0, 0.4), face(104, 3, 0.8)])] == [0.8]


class OnlyTurned(StubDetector):
    """Finds its boxes in turned views only."""

    def detect_in(self, image_bgr: np.ndarray, views: Sequence[Frame]) -> list[Detection]:
        return super().detect_in(image_bgr, views) if all(view.roll for view in views) else []


def test_without_a_confidence_the_detector_decides_and_further_views_must_be_surer() -> None:
    # a model with heatmaps: another model's numbers would throw its faces out for their spread
    model = StubModel(spread=9.0, output={"kind": "heatmap"})
    scores = {}
    for kind in (StubDetector, OnlyTurned):
        detector: Any = kind([[0, 0, 60, 60], [100, 0, 160, 60], [200, 0, 260, 60]], [0.55, 0.7, 0.85])
        scores[kind] = [face.score for face in Pipeline(detector, model).faces(BLANK)]
    assert scores == {StubDetector: [0.85, 0.7], OnlyTurned: [0.85]}


def test_while_nobody_is_seen_a_video_is_searched_in_turns() -> None:
    searched: list[tuple[int, float]] = []

    class Looker(StubDetector):
        def detect_in(self, image_bgr: np.ndarray, views: Sequence[Frame]) -> list[Detection]:
            searched.append((len(views), views[-1].roll))
            return []

    detector: Any = Looker([])
    pipeline = Pipeline(detector, StubModel(spread=9.0))
    image = ImageFile.of_array(np.zeros((480, 640, 3), np.uint8))
    pipeline.faces_of(image)
    first, *further = searched
    assert len(further) > 1
    searched.clear()
    for turn in range(len(further) + 1):
        pipeline.faces_in_turn(image, turn, [Frame((50.0, 60.0), 90.0, 7.0)])
    assert searched[::2] == [(first[0] + 1, 7.0)] * (len(further) + 1)
    assert searched[1::2] == [*further, further[0]]


@pytest.mark.parametrize(("bias", "again", "found", "crops"), [(0.0, 3.0, 1, 2), (0.0, -3.0, 0, 2), (9.0, -3.0, 1, 1)])
def test_only_a_doubtful_face_has_a_second_crop_and_that_decides(
    bias: float, again: float, found: int, crops: int
) -> None:
    # a presence of 1 / 2 is in doubt; then it is 1 / (1 + exp(-again)), 0.95 or 0.05, against a bound of 0.4. A bias of
    # 9 leaves no doubt.
    none = np.zeros(len(FEATURES))
    second = np.zeros(len(FEATURES) + 2)
    confidence = Confidence(
        none, 9.0, none, bias, gain=1.0, power=1.0, again_weights=second, again_bias=again
    )  # fmt: skip
    model = StubModel(spread=1.0, confidence=confidence.to_json())
    detector: Any = StubDetector([[50, 20, 150, 120]])
    options = PipelineOptions(turned="never")
    assert len(Pipeline(detector, model, options).faces(np.full((100, 200, 3), 9, np.uint8))) == found
    assert len(model.seen) == crops


class OnlyFine(StubDetector):
    """Finds its boxes in fine upright views only, those of less than half the image's longer side."""

    def detect_in(self, image_bgr: np.ndarray, views: Sequence[Frame]) -> list[Detection]:
        fine = all(view.roll == 0 and view.size < max(image_bgr.shape[:2]) / 2 for view in views)
        return super().detect_in(image_bgr, views) if fine else []


@pytest.mark.parametrize(
    ("kind", "presence", "found"),
    [
        (StubDetector, 0.5, 1), (StubDetector, 0.3, 0), (OnlyFine, 0.85, 1), (OnlyFine, 0.7, 0),
        (OnlyTurned, 0.95, 1), (OnlyTurned, 0.85, 0),
    ],
)  # fmt: skip
def test_further_views_must_be_surer_of_a_face_and_turned_ones_surer_still(
    kind: type[StubDetector], presence: float, found: int
) -> None:
    # bounds of 0.4, 0.8 and 0.9
    none, bias = np.zeros(len(FEATURES)), float(np.log(presence / (1 - presence)))
    confidence = Confidence(none, 9.0, none, bias, gain=1.0, power=1.0)
    model = StubModel(spread=1.0, confidence=confidence.to_json())
    detector: Any = kind([[50, 20, 150, 120]])
    assert len(Pipeline(detector, model).faces(np.full((600, 800, 3), 9, np.uint8))) == found
