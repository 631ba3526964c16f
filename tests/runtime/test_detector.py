import os
import sys
from pathlib import Path

import numpy as np
import pytest

from pair_fld.errors import PairError
from pair_fld.face_detector.files import find_detector
from pair_fld.inference.archive import shipped_archive, unpacked
from pair_fld.runtime.blazeface import AnchorLayer, BlazeFace, anchor_centres, decode_faces
from pair_fld.runtime.detection import Detection, box_iou, sigmoid, weighted_nms
from pair_fld.runtime.frame import Frame, frame_matrix, frame_residual
from pair_fld.runtime.geometry import transform_points, warp
from pair_fld.runtime.image import read_image
from pair_fld.runtime.pipeline import MISSED_TURN, load_pipeline
from pair_fld.runtime.search import (
    THIRD_TURNS,
    FoundFace,
    SearchConfig,
    SearchingDetector,
    search_from_json,
    search_steps,
    search_to_json,
)

SHARED = Path(os.environ.get("PAIRFLD_SHARED", Path(__file__).parents[3] / "shared"))
DEMO = SHARED / "data" / "contest_demo"


@pytest.fixture(scope="module")
def blazeface() -> BlazeFace:
    try:
        return BlazeFace(find_detector()[0])
    except PairError as error:
        pytest.skip(str(error))


def test_anchors_of_the_short_range_model():
    centres = anchor_centres((AnchorLayer(16, 2), AnchorLayer(8, 6)))
    assert centres.shape == (896, 2)
    assert centres[0].tolist() == centres[1].tolist() == [1 / 32, 1 / 32]
    assert centres[2].tolist() == [3 / 32, 1 / 32]  # x runs first
    assert centres[32].tolist() == [1 / 32, 3 / 32]
    assert centres[512].tolist() == centres[517].tolist() == [1 / 16, 1 / 16]
    assert centres[-1].tolist() == [15 / 16, 15 / 16]


def test_box_is_centred_on_eyes_nose_and_mouth():
    # input of 100, anchor in its middle; box 40 x 20; eyes at -10 and +14, y -8; nose y 0; mouth y +12, ears far off
    row = [99, 99, 40, 20, -10, -8, 14, -8, 1, 0, 2, 12, -60, 0, 60, 0]
    boxes, key_points = decode_faces(np.array([row], np.float64), np.array([[0.5, 0.5]]), 100)
    np.testing.assert_allclose(key_points[0, [0, 5]], [[0.4, 0.42], [1.1, 0.5]])
    np.testing.assert_allclose(boxes, [[0.52 - 0.2, 0.52 - 0.1, 0.52 + 0.2, 0.52 + 0.1]])


def test_sigmoid_has_no_overflow():
    with np.errstate(all="raise"):
        np.testing.assert_allclose(sigmoid(np.array([-1e6, 0, 1e6], np.float32)), [0, 0.5, 1], atol=1e-6)


def test_iou_by_hand():
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [1, 1, 1, 1]], np.float64)
    np.testing.assert_allclose(box_iou(boxes[0], boxes), [1, 1 / 7, 0, 0])
    assert box_iou(boxes[3], boxes[3:]).tolist() == [0]


def detection(x: float, score: float, key: float = 0.0, roll: float = 0.0) -> Detection:
    return Detection(np.array([x, 0, x + 10, 10.0]), np.array([[key, key]]), score, roll)


def test_overlapping_detections_become_their_weighted_mean():
    merged = weighted_nms([detection(0, 0.6, 2, 90), detection(100, 0.7), detection(2, 0.9, 0, 0)], 0.3)
    assert [(d.score, d.roll) for d in merged] == [(0.9, 0), (0.7, 0)]
    # (0.9 x 2 + 0.6 x 0) / 1.5 = 1.2; key points (0.9 x 0 + 0.6 x 2) / 1.5 = 0.8
    np.testing.assert_allclose(merged[0].box, [1.2, 0, 11.2, 10])
    np.testing.assert_allclose(merged[0].key_points, [[0.8, 0.8]])
    assert weighted_nms([], 0.3) == []


def test_a_face_seen_upright_and_upside_down_stays_two_candidates():
    eyes, mouth = np.array([[3, 3], [7, 3.0]]), np.array([[5, 8.0]])
    box = np.array([0, 0, 10, 10.0])
    upright = Detection(box, np.concatenate([eyes, mouth]), 0.9)
    turned = Detection(box, np.concatenate([10 - eyes, 10 - mouth]), 0.8, 180.0)
    assert [d.score for d in weighted_nms([turned, upright], 0.3)] == [0.9, 0.8]
    boxes_only = [
        Detection(box, np.zeros((0, 2)), score, roll) for score, roll in ((0.9, 0.0), (0.8, 180.0), (0.7, -20.0))
    ]
    assert [d.roll for d in weighted_nms(boxes_only, 0.3)] == [0.0, 180.0]


class Network:
    side, key_points = 60, ("right_eye", "left_eye")

    def __init__(self, **search: object) -> None:
        self.search = SearchConfig(**search)


def test_views_by_hand():
    network = Network(zooms=(1.0, 1.5), tiles=(0.6,), turned="never")
    (step,) = search_steps(100, 50, network)
    assert [(view.centre, view.size) for view in step.views] == [
        ((49.5, 24.5), 100),  # the image's longer side, around its middle
        ((49.5, 24.5), 150),
        ((29.5, 24.5), 60),  # tiles of 60: two along x, one in the middle along y
        ((69.5, 24.5), 60),
    ]
    network.side = 61  # no tile smaller than the network's input
    assert len(next(search_steps(100, 50, network)).views) == 2


def test_steps_run_from_coarse_to_fine_and_stop_where_the_smallest_face_is_large_enough():
    network = Network(tiles=(0.6, 0.3, 0.16), smallest=0.02)

    def upright(size: float, score: float = 0.99, roll: float = 0.0) -> FoundFace:
        return FoundFace(size, roll, score)

    steps = list(search_steps(1000, 1000, network))
    # views of 160 are not turned: there are 8 x 8 of them
    assert [(step.views[0].roll, step.views[-1].size) for step in steps] == [
        (0, 600), (120, 600), (0, 300), (120, 300), (0, 160),
    ]  # fmt: skip
    assert {view.roll for view in steps[1].views} == {120, -120}
    assert all(step.wanted([]) for step in steps)
    assert [step.wanted([upright(400)]) for step in steps] == [True, False, False, False, False]
    # a face of 60 fills a tenth of a view of 600: smaller ones may be near
    assert [step.wanted([upright(60)]) for step in steps] == [True, False, True, False, False]
    # one that is only probable may be seen upside down; one that lies on its side has others beside it
    for face in (upright(400, score=0.9), upright(400, roll=-90)):
        assert [step.wanted([face]) for step in steps] == [True, True, False, False, False]
    # what is not even probable counts for nothing
    assert all(step.wanted([upright(400, score=0.3)]) for step in steps)
    # views of 600 show a face of 0.12 x 600 = 72 well enough
    assert len(list(search_steps(1000, 1000, Network(smallest=0.08)))) == 2
    assert len(list(search_steps(1000, 1000, Network(turned="always", smallest=0.08)))) == 1
    network.key_points = ()  # such a detector cannot say how a face is turned within a view
    assert {view.roll for view in list(search_steps(1000, 1000, network))[1].views} == {90, -90, 180}


class Scripted(SearchingDetector):
    """Sees one face per view, in turn: x of its middle, half its side, both over the view's side, and its score."""

    side, key_points, calibration = 100, (), None

    def __init__(self, seen: list[tuple[float, float, float]]) -> None:
        self.seen, self.search, self.inferred = seen, SearchConfig(), 0

    def infer(self, view: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, half, score = self.seen[self.inferred]
        self.inferred += 1
        kept = 1 if score >= threshold else 0
        boxes = np.array([[x - half, 0.5 - half, x + half, 0.5 + half]])[:kept]
        return boxes, np.zeros((kept, 0, 2)), np.array([score])[:kept]


@pytest.mark.parametrize(("score", "runs"), [(0.2, 3), (0.3, 4)])
def test_weak_detections_have_a_second_pass_too(score: float, runs: int) -> None:
    # Two views around one middle. The first shows a box of 20 around (50, 50) with 0.9, the second one of 10 around
    # (62.5, 50): below 0.25 it is nothing; from there the second pass runs for both.
    same = (0.5, 0.5 / 2.4, 0.9)
    detector = Scripted([(0.5, 0.1, 0.9), (0.75, 0.1, score), same, same])
    detector.detect_in(np.zeros((100, 100, 3), np.uint8), [Frame((49.5, 49.5), 100), Frame((49.5, 49.5), 50)])
    assert detector.inferred == runs


def test_tiles_cover_the_image_and_overlap_by_a_quarter():
    network = Network(zooms=(), tiles=(0.35,), turned="never")
    (step,) = search_steps(1024, 700, network)
    side = 0.35 * 1024
    for axis, length in ((0, 1024), (1, 700)):
        starts = np.unique([view.centre[axis] - side / 2 for view in step.views])
        assert starts[0] == pytest.approx(-0.5)
        assert starts[-1] + side == pytest.approx(length - 0.5)
        assert np.diff(starts).max() <= 0.75 * side + 1e-9


def test_a_search_travels_as_json_and_newer_entries_are_left_out():
    search = SearchConfig(tiles=(0.5,), smallest=0.03)
    assert search_from_json(search_to_json(search) | {"of a later version": 1}) == search
    former = {"candidate": 0.2, "threshold": 0.6, "second_look": 3.2}  # as an earlier version named them
    renamed = SearchConfig(first_threshold=0.2, second_threshold=0.6, second_view=3.2)
    assert search_from_json(former) == renamed
    with pytest.raises(ValueError, match="smallest: expected a share of the longer side"):
        SearchConfig(smallest=0)


def test_nothing_in_images_without_a_face(blazeface: BlazeFace):
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    for image in (noise, np.zeros((300, 400, 3), np.uint8), np.full((1, 1, 3), 128, np.uint8)):
        assert blazeface.detect(image) == []


# 1148 has a fourth, blurred man in the background: the detector sees him, the landmark model takes him for no face
@pytest.mark.parametrize(("name", "faces"), [("0001", 1), ("0180", 2), ("0429", 0), ("1148", 3)])
def test_contest_images_as_a_person_counts_them(name: str, faces: int):
    path = DEMO / f"image_{name}.jpg"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    with unpacked(shipped_archive()) as folder:
        found = load_pipeline(folder).faces_of_file(path)
    assert len(found) == faces
    assert all(0 <= face.score <= 1 and face.deviations.shape == (51,) for face in found)
    centres = [face.frame.centre[0] for face in found]
    assert centres == sorted(centres, reverse=True)


def test_a_face_is_found_where_it_was_pasted(blazeface: BlazeFace):
    path = DEMO / "image_0001.jpg"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    image = read_image(path)
    whole = blazeface.detect(image)[0]
    canvas = np.full((1300, 1500, 3), 90, np.uint8)
    canvas[200:1224, 300:1324] = image
    pasted = blazeface.detect(canvas)[0]
    assert np.abs(pasted.box - whole.box - [300, 200, 300, 200]).max() < 0.08 * (whole.box[2] - whole.box[0])


@pytest.mark.parametrize("turn", [30.0, 100.0, 180.0, -60.0])
def test_key_points_give_a_turned_face_its_frame(blazeface: BlazeFace, turn: float):
    path = DEMO / "image_0001.jpg"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    image = read_image(path)
    upright = Frame((511.5, 511.5), 1500)
    matrix = frame_matrix(Frame(upright.centre, 1500, -turn), 750, 1.0)  # the content turns clockwise, at half size
    turned = warp(image, matrix, 750)
    found = {}
    for name, view, rolls in (("as it is", image, [0.0]), ("turned", turned, [0.0, *THIRD_TURNS])):
        side = len(view)
        views = [Frame(((side - 1) / 2, (side - 1) / 2), side, roll) for roll in rolls]
        best = blazeface.detect_in(view, views)[0]
        found[name] = blazeface.calibration.frame(best)
    expected = Frame(
        tuple(transform_points(matrix, np.array(found["as it is"].centre)).tolist()),
        found["as it is"].size / 2, found["as it is"].roll + turn,
    )  # fmt: skip
    shift_x, shift_y, growth, roll = frame_residual(expected, found["turned"])
    assert max(abs(shift_x), abs(shift_y), abs(growth)) < 0.2
    assert abs(roll) < 1.2 * MISSED_TURN  # at most a little more than what leaves the crop as it is


def test_other_files_are_refused(tmp_path: Path, blazeface: BlazeFace):
    with pytest.raises(FileNotFoundError, match="no such face detector file"):
        BlazeFace(tmp_path / "detector.tflite")
    iris = blazeface.path.with_name("iris_landmark.tflite")
    if iris.is_file():
        with pytest.raises(ValueError, match="expected a BlazeFace file with outputs"):
            BlazeFace(iris)


def test_onnxruntime_alone_cannot_run_it_and_says_so(blazeface: BlazeFace, monkeypatch: pytest.MonkeyPatch):
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match="runs in a TFLite runtime only, and none is installed") as error:
        BlazeFace(blazeface.path)
    assert "pip install ai-edge-litert" in str(error.value)
    assert "\n" not in str(error.value)
