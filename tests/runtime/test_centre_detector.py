import json
from pathlib import Path

import numpy as np
import pytest

from pair_fld.config import DetectorConfig
from pair_fld.data.synthetic import render_scene
from pair_fld.face_detector.export import export_detector
from pair_fld.face_detector.images import SCENE_SEED, SCENE_SIDE, rendered_scenes
from pair_fld.face_detector.net import DetectorNet
from pair_fld.face_detector.targets import target_map
from pair_fld.face_detector.views import View, without_faces
from pair_fld.runtime.blazeface import BlazeFace
from pair_fld.runtime.centre_detector import (
    KEY_POINTS,
    CentreDetector,
    decode_map,
    key_points_of,
    mean_face_calibration,
)
from pair_fld.runtime.detection import Detection
from pair_fld.runtime.detector import load_detector, open_detector
from pair_fld.runtime.frame import Frame, fit_frame, frame_matrix, frame_residual
from pair_fld.runtime.geometry import transform_points, warp
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.search import SearchConfig
from pair_fld.runtime.session import load_model

CONFIG = DetectorConfig(widths=(4, 4, 8, 8, 8), input_size=64, steps=1, calibration_images=8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """detector.onnx and detector.tflite of an untrained net."""
    folder = tmp_path_factory.mktemp("detector")
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    images = [View(n, np.array([[10.0, 10, 40, 40]]), np.ones(1, bool), np.full((1, 5, 2), 25.0)) for n in noise]
    net = DetectorNet(CONFIG.widths).eval()
    export_detector(net, CONFIG, images, [without_faces(noise[0])], {}, folder)
    return folder


def test_a_cell_by_hand():
    # 2 x 4 cells; cell (row 1, column 2) has its centre at (2.5 / 4, 1.5 / 2)
    output = np.zeros((9, 2, 4), np.float32)  # two key points
    output[0, 1, 2] = np.log(3)  # sigmoid 3 / 4
    output[1:3, 1, 2] = 4, -2  # in eighths of a cell: + 1/2 cell right, 1/4 cell up
    output[3:5, 1, 2] = 4 * np.log(0.5), 4 * np.log(0.25)
    output[5:, 1, 2] = 8, -16, 0, 4  # in 32nds of the longer side, half the view: x, y, x, y
    boxes, key_points, scores = decode_map(output)
    assert scores[1 * 4 + 2] == pytest.approx(0.75)
    centre_x, centre_y = 3 / 4, 1.25 / 2
    expected = [centre_x - 0.25, centre_y - 0.125, centre_x + 0.25, centre_y + 0.125]
    np.testing.assert_allclose(boxes[1 * 4 + 2], expected, atol=1e-6)
    expected = [[centre_x + 0.125, centre_y - 0.25], [centre_x, centre_y + 0.0625]]
    np.testing.assert_allclose(key_points[1 * 4 + 2], expected, atol=1e-6)


def test_a_map_of_an_earlier_version_has_no_key_points():
    boxes, key_points, scores = decode_map(np.zeros((5, 2, 4), np.float32))
    assert (boxes.shape, key_points.shape, scores.shape) == ((8, 4), (8, 0, 2), (8,))


def test_the_trained_target_decodes_to_box_and_key_points():
    box = np.array([30.0, 21.0, 75.0, 71.0])
    points = np.array([[40.0, 38], [66, 40], [52, 50], [43, 62], [63, 61]])
    view = View(np.zeros((128, 128, 3), np.uint8), box[None], np.ones(1, bool), points[None])
    target = target_map(view, 128, 8)
    boxes, key_points, _ = decode_map(
        np.concatenate([np.zeros((1, 16, 16), np.float32), target[1:5], np.nan_to_num(target[6:])])
    )
    cells = boxes.reshape(16, 16, 4)[target[0] == 1]
    assert len(cells) > 3
    np.testing.assert_allclose(cells * 128 - 0.5, np.broadcast_to(box, cells.shape), atol=1e-3)
    cells = key_points.reshape(16, 16, 5, 2)[target[0] == 1]
    np.testing.assert_allclose(cells * 128 - 0.5, np.broadcast_to(points, cells.shape), atol=1e-3)


@pytest.mark.parametrize("roll", range(-180, 180, 45))
def test_a_turned_rendered_face_becomes_an_upright_frame(roll: int):
    """Label, view, target, decoded map, frame: all but the net. The key points come back to a hundredth of the eyes'
    distance; five of them give the frame of all 51 points but for what yaw and expression do to the face."""
    scene = rendered_scenes(1)[0]
    points = render_scene(SCENE_SEED, 0, SCENE_SIDE, faces=1).faces[0]
    labelled = fit_frame(points)
    matrix = frame_matrix(Frame(labelled.centre, 2.4 * labelled.size, roll), 128, 1.0)
    places = transform_points(matrix, scene.key_points[0])
    middle, half = transform_points(matrix, np.array([labelled.centre]))[0], 128 / 2.4 / 2
    box = np.concatenate([middle - half, middle + half])
    view = View(warp(scene.image, matrix, 128), box[None], np.ones(1, bool), places[None])
    target = target_map(view, 128, 8)
    boxes, key_points, _ = decode_map(np.concatenate([np.zeros((1, 16, 16), np.float32), target[1:5], target[6:]]))
    cell = int(np.flatnonzero(target[0].ravel() == 1)[0])
    found = Detection(boxes[cell] * 128 - 0.5, key_points[cell] * 128 - 0.5, 1.0)
    eyes = np.hypot(*(places[1] - places[0]))
    assert np.hypot(*(found.key_points - places).T).max() < 0.01 * eyes
    dx, dy, growth, turn = frame_residual(
        mean_face_calibration("centre_128").frame(found), fit_frame(transform_points(matrix, points))
    )
    assert abs(turn) < 4
    assert np.hypot(dx, dy) < 0.08
    assert abs(growth) < 0.15
    assert abs((fit_frame(transform_points(matrix, points)).roll + roll - labelled.roll + 180) % 360 - 180) < 1e-3


def test_both_formats_agree_and_say_what_they_are(files: Path):
    view = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    detectors = [open_detector(files / name) for name in ("detector.tflite", "detector.onnx")]
    for detector in detectors:
        assert isinstance(detector, CentreDetector)
        assert (detector.name, detector.side) == ("centre_64", 64)
        assert detector.search.second_view == 3.2
        assert detector.key_points == tuple(KEY_POINTS)
    (boxes_a, points_a, scores_a), (boxes_b, points_b, scores_b) = (detector.infer(view) for detector in detectors)
    assert boxes_a.shape == (64, 4)
    assert points_a.shape == (64, 5, 2)
    assert np.abs(points_a - points_b).max() < 0.05
    assert np.abs(scores_a - scores_b).max() < 0.05
    assert np.abs(boxes_a - boxes_b).max() < 0.05


def test_an_archive_with_onnx_runtime_only(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    detector = load_detector(files)
    assert detector.path.name == "detector.onnx"
    with pytest.raises(ValueError, match=r"expected detector.tflite or detector.onnx, found neither"):
        load_detector(tmp_path)


def test_files_are_not_taken_for_one_another(files: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="expected a landmark model, found one for faces"):
        load_model(files / "detector.tflite")
    with pytest.raises(FileNotFoundError, match="no such face detector file"):
        open_detector(tmp_path / "none.tflite")
    with pytest.raises(ValueError, match="expected a BlazeFace file"):
        BlazeFace(files / "detector.tflite")


def test_a_face_is_found_in_image_pixels(files: Path, monkeypatch: pytest.MonkeyPatch):
    """A net that sees brightness: each cell that is not dark gives a box around its centre."""
    detector = CentreDetector(files / "detector.tflite", search=SearchConfig(tiles=(), second_view=1.6))

    def look(views: np.ndarray) -> np.ndarray:
        cells = views[0, :, :, 0].reshape(8, 8, 8, 8).mean(axis=(1, 3))
        output = np.zeros((1, 15, 8, 8), np.float32)
        output[0, 0] = np.where(cells > 30, 5, -5)
        output[0, 3:5] = 4 * np.log(1 / 1.6)
        output[0, 5:] = 32 * key_points_of(MEAN_FACE).reshape(-1, 1, 1)  # an upright mean face in its box
        return output

    monkeypatch.setattr(detector, "_run", look)
    image = np.zeros((640, 640, 3), np.uint8)
    image[320:400, 160:240] = 255  # one cell of the first view
    (found,) = detector.detect(image)
    box, score = found.box, found.score
    np.testing.assert_allclose((box[:2] + box[2:]) / 2, [199.5, 359.5], atol=1)
    # the first box is 640 / 1.6 = 400 wide, the second view 1.6 x 400, and four cells share the face there
    np.testing.assert_allclose(box[2:] - box[:2], [400, 400], atol=1)
    assert score == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-6)
    assert detector.calibration is not None
    frame = detector.calibration.frame(found)
    np.testing.assert_allclose([*frame.centre, frame.size, frame.roll], [199.5, 359.5, 400, 0], atol=1)


def test_files_of_earlier_versions_open_and_others_are_refused(files: Path, monkeypatch: pytest.MonkeyPatch):
    """Versions before key points gave five maps and named no key points."""
    from pair_fld.runtime import centre_detector
    from pair_fld.runtime.session import read_metadata

    metadata = read_metadata(files / "detector.tflite")
    maps = [5]
    monkeypatch.setattr(centre_detector, "open_run", lambda *_: lambda _: np.zeros((1, maps[0], 8, 8), np.float32))
    monkeypatch.setattr(centre_detector, "read_metadata", lambda _: metadata)
    with pytest.raises(ValueError, match=r"do not fit \(5 key points, 5 output channels\)"):
        CentreDetector(files / "detector.tflite")
    metadata["key_points"] = ["nose"]
    with pytest.raises(ValueError, match="expected the key points right_eye, left_eye"):
        CentreDetector(files / "detector.tflite")
    del metadata["key_points"]
    old = CentreDetector(files / "detector.tflite")
    assert (old.key_points, old.calibration) == ((), None)
    assert old.infer(np.zeros((64, 64, 3), np.uint8))[1].shape == (64, 0, 2)


def test_the_search_travels_with_the_file(files: Path):
    from pair_fld.export.metadata import replace_metadata
    from pair_fld.runtime.session import read_metadata

    path = files / "detector.tflite"
    metadata = read_metadata(path)
    metadata["search"] |= {"second_threshold": 0.7, "tiles": [0.5, 0.3]}
    copy = files / "copy.tflite"
    copy.write_bytes(path.read_bytes())
    replace_metadata(copy, json.loads(json.dumps(metadata)))
    assert CentreDetector(copy).search.second_threshold == 0.7
    assert CentreDetector(copy).search.tiles == (0.5, 0.3)
