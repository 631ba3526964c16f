from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pair_fld.runtime import main as runner
from pair_fld.runtime.blazeface_calibration import BUILT_IN
from pair_fld.runtime.calibration import DetectorCalibration
from pair_fld.runtime.confidence import FEATURES, Confidence
from pair_fld.runtime.detection import Detection
from pair_fld.runtime.face import Face
from pair_fld.runtime.frame import Frame, frame_from_box, place
from pair_fld.runtime.image_file import ImageFile
from pair_fld.runtime.landmark_files import read_faces
from pair_fld.runtime.main import output_paths, read_list
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.pipeline import DEFAULT_REFINE, Pipeline, PipelineOptions
from pair_fld.runtime.search import SearchConfig

BLANK = np.full((300, 300, 3), 9, np.uint8)


def box_calibration(name: str = "stub") -> DetectorCalibration:
    """Of a detector whose boxes are the faces' 51-point boxes."""
    return DetectorCalibration(name, (), np.zeros((0, 2)), np.zeros(0), np.zeros(4), np.zeros((4, 4)))


class StubDetector:
    """Finds the boxes it was given in the first views, whatever the image; none in a black one."""

    name, side, key_points = "stub", 128, ()

    def __init__(self, boxes: list[list[float]], scores: list[float] | None = None) -> None:
        self.detections = [
            Detection(np.array(box, np.float64), np.zeros((0, 2)), score)
            for box, score in zip(boxes, scores or [0.9] * len(boxes), strict=True)
        ]
        self.search, self.calibration = SearchConfig(), box_calibration()
        self.views: list[Frame] = []

    def detect_in(self, image_bgr: np.ndarray, views: Sequence[Frame]) -> list[Detection]:
        self.views += views
        return self.detections if image_bgr.any() else []


class StubModel:
    """Sees the mean face in every crop, filling its middle half, moved by `shift` pixels along x."""

    input_size, margin = 40, 2.0

    def __init__(self, shift: float = 0.0, spread: float | None = None, **metadata: Any) -> None:
        self.metadata = {"crop": {"margin": 2.0}} | metadata
        self.shift, self.spread, self.seen = shift, spread, []

    def locate(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        self.seen.append(crops)
        points = MEAN_FACE * 20 + (19.5 + self.shift, 19.5)
        spreads = None if self.spread is None else np.full((len(crops), 51), self.spread)
        return np.repeat(points[None], len(crops), axis=0).astype(np.float32), spreads


def face_in(box: list[float]) -> np.ndarray:
    """The stub's points for a face of this square box."""
    return place(frame_from_box(np.array(box, float)))


def test_points_return_to_the_image_by_hand():
    # box 100 x 100 at (50, 20): crop side 200 image pixels on 40, one crop pixel is 5. The brows' ends are points 0
    # and 9, half the face's size left and right of its middle (100, 70).
    (face,) = Pipeline(StubDetector([[50, 20, 150, 120]]), StubModel(shift=0.8)).faces(BLANK)
    np.testing.assert_allclose(face.points[[0, 9], 0], [54, 154], atol=1e-3)
    assert face.frame.centre == pytest.approx((104, 70), abs=1e-3)
    assert face.frame.size == pytest.approx(100, abs=1e-3)
    assert face.score == 0.9  # the detector's: a model without heatmaps has no opinion
    assert face.deviations is None


def test_a_turned_detection_is_cropped_upright_and_its_points_are_turned_back():
    # the image's colours are its coordinates: blue is x, green is y
    y, x = np.mgrid[:250, :250]
    image = np.dstack([x, y, np.full_like(x, 7)]).astype(np.uint8)
    detector, model = StubDetector([[100, 90, 160, 150]]), StubModel()
    detector.detections = [replace(detector.detections[0], roll=90.0)]
    (face,) = Pipeline(detector, model).faces(image)
    assert face.frame.roll == pytest.approx(90)
    # one crop pixel is 60 * 2 / 40 = 3; the crop's x axis runs down in the image, its y axis to the left
    u, v = 12, 27
    seen = model.seen[0][0][v, u, :2].astype(float)
    assert np.abs(seen - [130 - (v - 19.5) * 3, 120 + (u - 19.5) * 3]).max() <= 1.0
    np.testing.assert_allclose(face.points[0], [130 - MEAN_FACE[0, 1] * 60, 120 + MEAN_FACE[0, 0] * 60], atol=1e-3)


def test_refinement_crops_by_the_frame_of_the_points_just_found():
    model = StubModel(shift=0.8)
    detector = StubDetector([[50, 20, 150, 120]])
    (face,) = Pipeline(detector, model, PipelineOptions(refine=2)).faces(BLANK)
    assert len(model.seen) == 3
    assert face.frame.centre == pytest.approx((112, 70), abs=1e-3)  # 4 further each time


def test_faces_run_from_right_to_left_and_of_two_on_one_place_the_better_stays():
    boxes = [[10, 10, 60, 60], [200, 10, 260, 70], [12, 11, 62, 61], [100, 10, 150, 60]]
    faces = Pipeline(StubDetector(boxes, [0.7, 0.8, 0.9, 0.8]), StubModel()).faces(BLANK)
    assert [round(f.frame.centre[0]) for f in faces] == [230, 125, 37]


def test_no_face_gives_an_empty_list_and_asks_no_model():
    model = StubModel()
    assert Pipeline(StubDetector([[0, 0, 5, 5]]), model).faces(np.zeros((9, 9, 3), np.uint8)) == []
    assert model.seen == []


def test_a_certain_large_face_ends_the_search_after_the_first_upright_views():
    detector = StubDetector([[50, 20, 450, 420]])
    Pipeline(detector, StubModel()).faces(np.full((600, 600, 3), 9, np.uint8))
    assert {view.roll for view in detector.views} == {0.0}
    assert len(detector.views) == 1 + 4  # the whole image and four tiles


def test_nothing_certain_calls_for_turned_views_and_never_means_never():
    doubtful = Confidence(np.zeros(len(FEATURES)), -2.0, np.zeros(len(FEATURES)), 5.0, gain=1.0, power=1.0).to_json()
    rolls = {}
    for turned in ("auto", "never", "always"):
        detector = StubDetector([[50, 20, 450, 420]])
        model = StubModel(spread=1.0, confidence=doubtful)
        Pipeline(detector, model, PipelineOptions(turned=turned)).faces(np.full((300, 300, 3), 9, np.uint8))
        rolls[turned] = {view.roll for view in detector.views}
    assert rolls == {"auto": {0.0, 90.0, -90.0, 180.0}, "never": {0.0}, "always": {0.0, 90.0, -90.0, 180.0}}


def test_options_come_from_the_metadata_unless_they_are_given():
    search = {"turned": "never", "smallest": 0.1, "min_score": 0.25}
    model = StubModel(search=search, crop={"margin": 2.0, "refine": 3})
    own = Pipeline(StubDetector([]), model)
    assert (own.refine, own.min_score, own.detector.search.turned) == (3, 0.25, "never")
    options = Pipeline(StubDetector([]), model, PipelineOptions(0, "always", 0.05, 0.0))
    assert (options.refine, options.min_score, options.detector.search.smallest) == (0, 0.0, 0.05)
    assert Pipeline(StubDetector([]), StubModel()).refine == DEFAULT_REFINE
    with pytest.raises(ValueError, match="turned: expected one of auto, always, never, found 'yes'"):
        Pipeline(StubDetector([]), model, PipelineOptions(turned="yes"))


def test_spread_heatmaps_lower_the_score_and_low_scores_are_left_out():
    # score: 1 / (1 + exp(-(w log spread))) with weight -2 on the mean spread alone: spread / size is 2.5 or 0.5 pixels
    # times 5 over 100, so 0.125 and 0.025: scores 64 / 65 and 1600 / 1601, times a presence of 1
    weights = np.zeros(len(FEATURES))
    weights[FEATURES.index("spread")] = -2
    confidence = Confidence(weights, 0.0, np.zeros(len(FEATURES)), 99.0, gain=2.0, power=1.0).to_json()
    scores = {}
    for spread in (2.5, 0.5):
        model = StubModel(spread=spread, confidence=confidence)
        (face,) = Pipeline(StubDetector([[50, 20, 150, 120]]), model).faces(BLANK)
        scores[spread] = face.score
        np.testing.assert_allclose(face.deviations, np.full(51, 2 * spread * 5), rtol=1e-5)
    assert scores == {2.5: pytest.approx(64 / 65, rel=1e-5), 0.5: pytest.approx(1600 / 1601, rel=1e-5)}
    doubtful = Pipeline(
        StubDetector([[50, 20, 150, 120]]),
        StubModel(spread=2.5, confidence=confidence),
        PipelineOptions(min_score=0.99),
    )
    assert doubtful.faces(BLANK) == []


def test_what_the_landmark_model_takes_for_no_face_is_left_out():
    # presence 1 / (1 + exp(5)) whatever the features
    confidence = Confidence(np.zeros(len(FEATURES)), 9.0, np.zeros(len(FEATURES)), -5.0, gain=1.0, power=1.0).to_json()
    model = StubModel(spread=1.0, confidence=confidence)
    assert Pipeline(StubDetector([[50, 20, 150, 120]]), model).faces(BLANK) == []
    assert len(model.seen) > 0


def test_a_crop_that_missed_its_face_is_cut_anew():
    # the face lies 6 of 20 crop pixels beside the middle: 0.3 of its size, more than MISSED_SHIFT
    model = StubModel(shift=6.0)
    (face,) = Pipeline(StubDetector([[50, 20, 150, 120]]), model).faces(BLANK)
    assert len(model.seen) == 4  # the first, anew, and MORE_CROPS: this face always lies aside
    assert face.frame.centre == pytest.approx((100 + 4 * 30, 70), abs=1e-3)


def test_a_crop_cut_anew_is_cut_again_only_until_it_has_the_face(monkeypatch: pytest.MonkeyPatch):
    # 0.3, 0.3 and 0 of the size: the third crop has it. 0.04 is less than MISSED_SHIFT: the first has it.
    for shifts, centre in (((6.0, 6.0, 0.0), 160), ((0.8,), 104)):
        model = StubModel()
        locate, left = model.locate, list(shifts)

        def moved(crops: np.ndarray, model=model, locate=locate, left=left):
            model.shift = left.pop(0)
            return locate(crops)

        monkeypatch.setattr(model, "locate", moved)
        (face,) = Pipeline(StubDetector([[50, 20, 150, 120]]), model).faces(BLANK)
        assert left == []
        assert face.frame.centre == pytest.approx((centre, 70), abs=1e-3)


def test_a_better_crop_makes_nobody_surer(monkeypatch: pytest.MonkeyPatch):
    pipeline = Pipeline(StubDetector([[50, 20, 150, 120]]), StubModel(shift=6.0))
    scores, face_of = [0.7, 0.9, 0.8], pipeline._face

    def surer(*arguments: Any) -> Face | None:
        face = face_of(*arguments)
        return face and replace(face, score=scores.pop(0))

    monkeypatch.setattr(pipeline, "_face", surer)
    (face,) = pipeline.predict(ImageFile.of_array(BLANK), [Frame((100, 70), 100)], [0.9])
    assert scores == []  # both further crops were asked
    assert face.score == 0.7
    assert face.frame.centre == pytest.approx((100 + 4 * 30, 70), abs=1e-3)  # the points are the last crop's


def test_a_detector_that_nobody_calibrated_is_refused():
    detector = StubDetector([])
    other = {"crop": {"margin": 2.0, "detector_calibration": box_calibration("blazeface_128").to_json()}}
    with pytest.raises(ValueError, match="calibration is of 'blazeface_128', found the detector 'stub'"):
        Pipeline(detector, StubModel(**other))
    named = {
        "crop": {"margin": 2.0, "detector_calibration": replace(BUILT_IN["blazeface_128"], detector="stub").to_json()}
    }
    with pytest.raises(ValueError, match=r"of key points right_eye, left_eye.*found the detector 'stub' with none"):
        Pipeline(detector, StubModel(**named))
    detector.calibration = None
    with pytest.raises(ValueError, match="says where its key points lie in a face"):
        Pipeline(detector, StubModel())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images a.png (grey), b.png (black: no face), 'bad.png' (text), and the stub pipeline behind `main`."""
    for name, value in (("a", 90), ("b", 0), ("c", 50)):
        (tmp_path / f"{name}.png").write_bytes(
            cv2.imencode(".png", np.full((200, 200, 3), value, np.uint8))[1].tobytes()
        )
    (tmp_path / "bad.png").write_text("text")
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call main with a list's bytes; (exit code, stderr)."""
    stub = Pipeline(StubDetector([[20, 20, 80, 80], [120, 20, 180, 80]]), StubModel())
    monkeypatch.setattr(runner, "load_pipeline", lambda *_, **__: stub)

    def call(listing: bytes, *options: str, out: str = "out") -> tuple[int, str]:
        (folder / "list.txt").write_bytes(listing)
        code = runner.main([str(folder / "list.txt"), str(folder / out), *options])
        return code, capsys.readouterr().err

    return call


def test_one_text_file_a_image(run, folder: Path):
    code, err = run(b"a.png\nb.png\n")
    assert code == 0
    assert "2 of 2 images, 2 faces" in err
    first, second = read_faces(folder / "out" / "a.txt")
    assert first[:, 0].mean() > second[:, 0].mean()
    assert (folder / "out" / "b.txt").read_bytes() == b""
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    "listing",
    [
        b"\xef\xbb\xbfa.png\r\n\r\n  b.png  \r\n",
        "a.png\r\nb.png".encode("utf-16"),
        b".\\a.png\n.\\b.png\n",
        b"a.png\na.png\nb.png",
    ],
    ids=["Windows ends and mark", "UTF-16", "backslashes", "twice"],
)
def test_lists_as_people_write_them(run, folder: Path, listing: bytes):
    code, _ = run(listing)
    assert code == 0
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["a.txt", "b.txt"]


def test_relative_paths_prefer_the_working_directory(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "sub").mkdir()
    (folder / "sub" / "list.txt").write_text("a.png\nonly.png\nnone.png\n")
    (folder / "sub" / "a.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "sub" / "only.png").write_bytes((folder / "a.png").read_bytes())
    monkeypatch.chdir(folder)
    assert read_list("sub/list.txt") == [Path("a.png"), Path("sub/only.png"), Path("none.png")]


def test_bad_images_are_named_and_the_others_done(run, folder: Path):
    code, err = run(b"bad.png\nnowhere.png\na.png\n")
    assert code == 2
    lines = err.splitlines()
    assert lines[0] == f"{folder / 'bad.png'}: not an image that OpenCV can decode"
    assert lines[1] == "nowhere.png: no such file"
    assert lines[2].startswith("1 of 3 images, 2 faces")
    assert lines[3] == "run_model.py: 2 of 3 images failed, see above"
    assert [p.name for p in (folder / "out").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("listing", [b"", b"\r\n \n", b"\xef\xbb\xbf"])
def test_an_empty_list(run, folder: Path, listing: bytes):
    code, err = run(listing)
    assert code == 2
    assert err == f"run_model.py: {folder / 'list.txt'}: expected one image path per line, found an empty list\n"
    assert not (folder / "out").exists()


def test_a_missing_list(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert runner.main([str(folder / "none.txt"), str(folder / "out")]) == 2
    assert "expected a text file with one image path per line, found no such file" in capsys.readouterr().err


def test_equal_stems_are_refused_before_any_work(run, folder: Path):
    (folder / "x").mkdir()
    (folder / "x" / "a.jpg").write_bytes(b"")
    code, err = run(b"a.png\nx/a.jpg\n")
    assert code == 2
    assert f"{folder / 'a.png'} and {folder / 'x' / 'a.jpg'} would both write a.txt" in err
    assert not (folder / "out").exists()
    with pytest.raises(ValueError, match=r"b/u\.txt|u\.txt.*v\.txt"):
        output_paths([Path("a/u.png"), Path("b/u.png"), Path("a/v.png"), Path("b/v.png")], folder)


def test_an_output_folder_that_cannot_be_written(run, folder: Path):
    (folder / "file").write_text("in the way")
    code, err = run(b"a.png\n", out="file/out")
    assert code == 2
    assert "expected a folder that can be written to, found: Not a directory" in err


def test_continue_does_only_what_is_missing(run, folder: Path):
    (folder / "out").mkdir()
    (folder / "out" / "a.txt").write_text("kept")
    code, _ = run(b"a.png\nc.png\n", "--continue")
    assert code == 0
    assert (folder / "out" / "a.txt").read_text() == "kept"
    assert len(read_faces(folder / "out" / "c.txt")) == 2
    run(b"a.png\n")
    assert len(read_faces(folder / "out" / "a.txt")) == 2


def test_an_interruption_leaves_whole_files_only(run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "write_faces", interrupted)
    code, err = run(b"a.png\nb.png\n")
    assert code == 130
    assert err == "run_model.py: interrupted; finished files are whole, --continue does the rest\n"
    assert list((folder / "out").iterdir()) == []


def test_an_archive_without_a_model(tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected model\.tflite or model\.onnx, found neither"):
        runner.load_pipeline(tmp_path)
