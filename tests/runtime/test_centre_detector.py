import json
from pathlib import Path

import numpy as np
import pytest

from pair_fld.config import DetectorConfig
from pair_fld.face_detector.export import export_detector
from pair_fld.face_detector.net import DetectorNet
from pair_fld.face_detector.views import View, target_map
from pair_fld.runtime.blazeface import BlazeFace
from pair_fld.runtime.centre_detector import CentreDetector, decode_map
from pair_fld.runtime.detector import load_detector, open_detector
from pair_fld.runtime.search import SearchConfig
from pair_fld.runtime.session import load_model

CONFIG = DetectorConfig(widths=(4, 4, 8, 8, 8), input_size=64, steps=1, calibration_images=8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """detector.onnx and detector.tflite of an untrained net."""
    folder = tmp_path_factory.mktemp("detector")
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    images = [View(n, np.array([[10.0, 10, 40, 40]]), np.ones(1, bool)) for n in noise]
    net = DetectorNet(CONFIG.widths).eval()
    export_detector(net, CONFIG, images, [View(noise[0], np.zeros((0, 4)), np.zeros(0, bool))], {}, folder)
    return folder


def test_a_cell_by_hand():
    # 2 x 4 cells; cell (row 1, column 2) has its centre at (2.5 / 4, 1.5 / 2)
    output = np.zeros((5, 2, 4), np.float32)
    output[0, 1, 2] = np.log(3)  # sigmoid 3 / 4
    output[1:3, 1, 2] = 4, -2  # in eighths of a cell: + 1/2 cell right, 1/4 cell up
    output[3:5, 1, 2] = 4 * np.log(0.5), 4 * np.log(0.25)
    boxes, scores = decode_map(output)
    assert scores[1 * 4 + 2] == pytest.approx(0.75)
    centre_x, centre_y = 3 / 4, 1.25 / 2
    expected = [centre_x - 0.25, centre_y - 0.125, centre_x + 0.25, centre_y + 0.125]
    np.testing.assert_allclose(boxes[1 * 4 + 2], expected, atol=1e-6)


def test_the_trained_target_decodes_to_the_box():
    box = np.array([30.0, 21.0, 75.0, 71.0])
    view = View(np.zeros((128, 128, 3), np.uint8), box[None], np.ones(1, bool))
    target = target_map(view, 128, 8)
    boxes, _ = decode_map(np.concatenate([np.zeros((1, 16, 16), np.float32), target[1:5]]))
    cells = boxes.reshape(16, 16, 4)[target[0] == 1]
    assert len(cells) > 3
    np.testing.assert_allclose(cells * 128 - 0.5, np.broadcast_to(box, cells.shape), atol=1e-3)


def test_both_formats_agree_and_say_what_they_are(files: Path):
    view = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    detectors = [open_detector(files / name) for name in ("detector.tflite", "detector.onnx")]
    for detector in detectors:
        assert isinstance(detector, CentreDetector)
        assert (detector.name, detector.side) == ("own_64", 64)
        assert detector.search.second_look == 3.2
    (boxes_a, _, scores_a), (boxes_b, _, scores_b) = (detector.look(view) for detector in detectors)
    assert boxes_a.shape == (64, 4)
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
    detector = CentreDetector(files / "detector.tflite", search=SearchConfig(tiles=(), second_look=1.6))

    def look(views: np.ndarray) -> np.ndarray:
        cells = views[0, :, :, 0].reshape(8, 8, 8, 8).mean(axis=(1, 3))
        output = np.zeros((1, 5, 8, 8), np.float32)
        output[0, 0] = np.where(cells > 30, 5, -5)
        output[0, 3:5] = 4 * np.log(1 / 1.6)
        return output

    monkeypatch.setattr(detector, "_run", look)
    image = np.zeros((640, 640, 3), np.uint8)
    image[320:400, 160:240] = 255  # one cell of the first view
    (found,) = detector.detect(image)
    box, score = found.box, found.score
    np.testing.assert_allclose((box[:2] + box[2:]) / 2, [199.5, 359.5], atol=1)
    # the candidate is 640 / 1.6 = 400 wide, the second view 1.6 x 400, and four cells share the face there
    np.testing.assert_allclose(box[2:] - box[:2], [400, 400], atol=1)
    assert score == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-6)


def test_the_search_travels_with_the_file(files: Path):
    from pair_fld.export.metadata import replace_metadata
    from pair_fld.runtime.session import read_metadata

    path = files / "detector.tflite"
    metadata = read_metadata(path)
    metadata["search"] |= {"threshold": 0.7, "tiles": [0.5, 0.3]}
    copy = files / "copy.tflite"
    copy.write_bytes(path.read_bytes())
    replace_metadata(copy, json.loads(json.dumps(metadata)))
    assert CentreDetector(copy).search.threshold == 0.7
    assert CentreDetector(copy).search.tiles == (0.5, 0.3)
