import os
import sys
from pathlib import Path

import numpy as np
import pytest

from pair_fld.errors import PairError
from pair_fld.face_detector.files import find_detector
from pair_fld.runtime.blazeface import AnchorLayer, BlazeFace, anchor_centres, decode_boxes
from pair_fld.runtime.detection import (
    Search,
    box_iou,
    landmark_box,
    merge_overlapping,
    search_views,
    sigmoid,
)
from pair_fld.runtime.image import read_image

SHARED = Path(os.environ.get("PAIRFLD_SHARED", Path(__file__).parents[3] / "shared"))
DEMO = SHARED / "data" / "contest_demo"


@pytest.fixture(scope="module")
def blazeface() -> BlazeFace:
    try:
        return BlazeFace(find_detector()[0])
    except PairError as fault:
        pytest.skip(str(fault))


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
    boxes = decode_boxes(np.array([row], np.float64), np.array([[0.5, 0.5]]), 100)
    np.testing.assert_allclose(boxes, [[0.52 - 0.2, 0.52 - 0.1, 0.52 + 0.2, 0.52 + 0.1]])


def test_sigmoid_has_no_overflow():
    with np.errstate(all="raise"):
        np.testing.assert_allclose(sigmoid(np.array([-1e6, 0, 1e6], np.float32)), [0, 0.5, 1], atol=1e-6)


def test_iou_by_hand():
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [1, 1, 1, 1]], np.float64)
    np.testing.assert_allclose(box_iou(boxes[0], boxes), [1, 1 / 7, 0, 0])
    assert box_iou(boxes[3], boxes[3:]).tolist() == [0]


def test_overlapping_boxes_become_their_weighted_mean():
    boxes = np.array([[0, 0, 10, 10], [100, 100, 110, 110], [2, 0, 12, 10]], np.float64)
    merged, scores = merge_overlapping(boxes, np.array([0.6, 0.7, 0.9]), 0.3)
    assert scores.tolist() == [0.9, 0.7]
    # (0.9 x 2 + 0.6 x 0) / 1.5 = 1.2
    np.testing.assert_allclose(merged, [[1.2, 0, 11.2, 10], [100, 100, 110, 110]])
    empty, none = merge_overlapping(np.zeros((0, 4)), np.zeros(0), 0.3)
    assert (empty.shape, none.shape) == ((0, 4), (0,))


def test_views_by_hand():
    search = Search(zooms=(1.0, 1.5), tiles=(0.6,))
    views = [v.tolist() for v in search_views(100, 50, search, smallest=60)]
    assert views == [
        [-0.5, -25.5, 99.5, 74.5],  # the picture's longer side, around its centre (49.5, 24.5)
        [-25.5, -50.5, 124.5, 99.5],
        [-0.5, -5.5, 59.5, 54.5],  # tiles of 60: two along x, one centred along y
        [39.5, -5.5, 99.5, 54.5],
    ]
    assert len(list(search_views(100, 50, search, smallest=61))) == 2  # no tile smaller than the network's input


def test_tiles_cover_the_picture_and_overlap_by_a_quarter():
    views = np.array(list(search_views(1024, 700, Search(zooms=(), tiles=(0.35,)), smallest=128)))
    side = 0.35 * 1024
    for axis, length in ((0, 1024), (1, 700)):
        starts = np.unique(views[:, axis])
        assert starts[0] == -0.5
        assert starts[-1] + side == pytest.approx(length - 0.5)
        assert np.diff(starts).max() <= 0.75 * side + 1e-9


def test_landmark_box_by_hand():
    policy = {"offset": [0.1, -0.05], "scale": [0.5, 0.8]}
    # box 100 x 200 centred (60, 120) -> centre (70, 110), size 50 x 160
    np.testing.assert_allclose(landmark_box(np.array([10, 20, 110, 220]), policy), [45, 30, 95, 190])
    assert landmark_box(np.zeros((0, 4)), policy).shape == (0, 4)


def test_nothing_in_pictures_without_a_face(blazeface: BlazeFace):
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    for image in (noise, np.zeros((300, 400, 3), np.uint8), np.full((1, 1, 3), 128, np.uint8)):
        boxes, scores = blazeface.detect(image)
        assert (boxes.shape, scores.shape) == ((0, 4), (0,))


@pytest.mark.parametrize(("name", "least", "most"), [("0001", 1, 1), ("0180", 1, 2), ("0429", 0, 0), ("1148", 3, 4)])
def test_contest_pictures_as_a_person_counts_them(blazeface: BlazeFace, name: str, least: int, most: int):
    path = DEMO / f"image_{name}.jpg"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    boxes, scores = blazeface.detect(read_image(path))
    assert least <= len(boxes) <= most
    assert (np.diff(scores) <= 0).all()


def test_a_face_is_found_where_it_was_pasted(blazeface: BlazeFace):
    path = DEMO / "image_0001.jpg"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    image = read_image(path)
    (whole,), _ = blazeface.detect(image)
    canvas = np.full((1300, 1500, 3), 90, np.uint8)
    canvas[200:1224, 300:1324] = image
    (pasted,), _ = blazeface.detect(canvas)
    assert np.abs(pasted - whole - [300, 200, 300, 200]).max() < 0.05 * (whole[2] - whole[0])


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
    with pytest.raises(ValueError, match="runs in a TFLite runtime only, and none is installed") as fault:
        BlazeFace(blazeface.path)
    assert "pip install ai-edge-litert" in str(fault.value)
    assert "\n" not in str(fault.value)
