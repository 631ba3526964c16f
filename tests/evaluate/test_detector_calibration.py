import shutil
from pathlib import Path

import numpy as np
import pytest

from pair_fld.data.dataset import DETECTOR_FILE, FaceDataset
from pair_fld.evaluate import detector_calibration
from pair_fld.evaluate.detector_calibration import learn_calibration, measured_calibration
from pair_fld.progress import say_nothing
from pair_fld.runtime.calibration import DetectorCalibration, calibration_from_box_policy, calibration_from_json
from pair_fld.runtime.detection import Detection
from pair_fld.runtime.frame import Frame, frame_from_box, frame_residual, move_frame, place

NAMES = ("right_eye", "left_eye", "mouth")
PLACES = np.array([(-0.28, -0.24), (0.28, -0.24), (0.02, 0.33)])


def seen(rng: np.random.Generator, noise: float = 0.0) -> tuple[list[Detection], list[Frame]]:
    """Faces of any place, size and roll, and a detector that sees their key points at PLACES, `noise` sizes off."""
    frames = [
        Frame(tuple(rng.uniform(0, 900, 2)), float(rng.uniform(20, 400)), float(rng.uniform(-180, 180)))
        for _ in range(200)
    ]
    detections = [
        Detection(np.zeros(4), place(frame, PLACES + rng.normal(0, noise, PLACES.shape)), 0.9) for frame in frames
    ]
    return detections, frames


def test_key_points_are_learnt_at_any_roll():
    detections, frames = seen(np.random.default_rng(0))
    learnt = learn_calibration(detections, frames, "stub", NAMES)
    np.testing.assert_allclose(learnt.reference, PLACES, atol=1e-9)
    np.testing.assert_allclose(learnt.covariance, 0, atol=1e-9)
    for detection, frame in zip(detections, frames, strict=True):
        np.testing.assert_allclose(frame_residual(frame, learnt.frame(detection)), 0, atol=1e-6)


def test_a_biased_detector_is_corrected_and_its_spread_known():
    rng = np.random.default_rng(1)
    detections, frames = seen(rng, 0.02)
    bias = np.array([0.1, -0.05, 0.2, 5.0])
    frames = [move_frame(frame, bias) for frame in frames]
    learnt = learn_calibration(detections, frames, "stub", NAMES)
    residuals = np.array([frame_residual(learnt.frame(d), f) for d, f in zip(detections, frames, strict=True)])
    np.testing.assert_allclose(np.median(residuals, axis=0), 0, atol=0.01)
    np.testing.assert_allclose(residuals.std(axis=0), np.sqrt(np.diag(learnt.covariance)), rtol=0.2)


def test_a_few_wrong_pairs_do_no_harm():
    rng = np.random.default_rng(2)
    detections, frames = seen(rng, 0.01)
    clean = learn_calibration(detections, frames, "stub", NAMES)
    frames[:10] = frames[10:20]
    spoilt = learn_calibration(detections, frames, "stub", NAMES)
    np.testing.assert_allclose(spoilt.reference, clean.reference, atol=0.005)
    np.testing.assert_allclose(np.diag(spoilt.covariance), np.diag(clean.covariance), rtol=0.5)


def test_a_detector_of_boxes_only():
    rng = np.random.default_rng(3)
    _, frames = seen(rng)
    frames = [Frame(f.centre, f.size) for f in frames]
    # its square boxes are twice as large as the faces
    boxes = [np.array([*np.subtract(f.centre, f.size), *np.add(f.centre, f.size)]) for f in frames]
    learnt = learn_calibration([Detection(b, np.zeros((0, 2)), 0.9) for b in boxes], frames, "boxes")
    np.testing.assert_allclose(learnt.bias, [0, 0, np.log(0.5), 0], atol=1e-9)


def test_a_calibration_travels_as_json():
    detections, frames = seen(np.random.default_rng(4), 0.02)
    learnt = learn_calibration(detections, frames, "stub", NAMES)
    again = calibration_from_json(learnt.to_json())
    assert (again.detector, again.key_points, again.faces) == ("stub", NAMES, 200)
    np.testing.assert_allclose(again.covariance, learnt.covariance, rtol=1e-4)
    with pytest.raises(ValueError, match="expected a detector calibration of 3 key points"):
        calibration_from_json(learnt.to_json() | {"weights": [1.0]})


def test_format_1_knew_boxes_only():
    # offset (0.1, -0.05) and scale (0.5, 0.8) of a box 100 x 100 at (10, 20): centre (70, 65), longer side 80; a frame
    # is 1.04 times as large as the box of its points
    calibration = calibration_from_box_policy({"detector": "a", "offset": [0.1, -0.05], "scale": [0.5, 0.8]})
    frame = calibration.frame(Detection(np.array([10, 20, 110, 120.0]), np.zeros((0, 2)), 0.9, 90.0))
    # along the face's own axes, which lie across the image's: x runs down, y to the left
    assert frame.centre == pytest.approx((60 + 5, 70 + 10))
    assert frame.size == pytest.approx(80 * 1.04)
    assert frame.roll == 90
    assert frame_from_box(np.array([10, 20, 110, 120])).centre == (60, 70)


def test_too_few_faces():
    detections, frames = seen(np.random.default_rng(5))
    with pytest.raises(ValueError, match="expected 20 or more pairs, found 19 detections and 19 frames"):
        learn_calibration(detections[:19], frames[:19], "stub", NAMES)


def test_a_calibration_is_kept_in_the_given_file_and_nowhere_else_and_the_data_folders_comes_first(
    dot_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Detector:
        name, key_points = "stub", ()

    class Measured:
        def to_json(self) -> dict[str, int]:
            return {}

    none = np.zeros((0, 2))
    calibration = DetectorCalibration("stub", (), none, none[:, 0], np.zeros(4), np.eye(4))
    calls: list[str] = []
    stubs = {"open_detector": lambda path: Detector(), "measure_detector": lambda *a: Measured(),
             "calibrate": lambda *a: calls.append("learnt") or calibration}  # fmt: skip
    for name, stub in stubs.items():
        monkeypatch.setattr(detector_calibration, name, stub)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "detector.tflite").write_bytes(b"d")
    (tmp_path / "work").mkdir()
    shutil.copytree(dot_pack, tmp_path / "data", symlinks=True)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    dataset, detector, kept = FaceDataset(tmp_path / "data"), tmp_path / "detector.tflite", tmp_path / "work/kept.json"
    measured_calibration(dataset, detector, None, say_nothing)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    for _ in range(2):  # the second takes what the first one kept
        measured_calibration(dataset, detector, kept, say_nothing)
    assert calls == ["learnt", "learnt"]
    assert kept.is_file()
    kept.rename(dataset.folder / DETECTOR_FILE)
    assert measured_calibration(dataset, detector, kept, say_nothing).detector == "stub"
    assert calls == ["learnt", "learnt"]
    detector.write_bytes(b"another detector")
    measured_calibration(dataset, detector, kept, say_nothing)
    assert calls == ["learnt"] * 3
