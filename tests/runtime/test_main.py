from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.runtime import main as runner
from pair_fld.runtime.landmark_files import read_faces
from pair_fld.runtime.main import output_paths, read_list
from pair_fld.runtime.pipeline import DEFAULT_REFINE, Pipeline

POLICY = {"detector": "stub", "offset": [0.0, 0.0], "scale": [1.0, 1.0]}


class StubDetector:
    """Answers the boxes it was given, whatever the picture; none for a black one."""

    name = "stub"

    def __init__(self, boxes: list[list[float]]) -> None:
        self.boxes = np.array(boxes, np.float64).reshape(-1, 4)

    def detect(self, image_bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes = self.boxes if image_bgr.any() else self.boxes[:0]
        return boxes, np.ones(len(boxes))


class StubModel:
    """Always the same points: on the outline of the 51-point box of a crop whose margin is 2, moved by `shift`."""

    input_size, margin = 40, 2.0

    def __init__(self, shift: float = 0.0, **crop: object) -> None:
        self.metadata = {"crop": {"margin": 2.0, "from_detector": POLICY, **crop}}
        self.shift, self.seen = shift, []

    def predict(self, crops: np.ndarray) -> np.ndarray:
        self.seen.append(crops)
        line = np.linspace(9.5, 29.5, 51)  # the middle half of -0.5 ... 39.5
        return np.repeat(np.stack([line + self.shift, line], axis=1)[None], len(crops), axis=0).astype(np.float32)


def test_points_return_to_the_picture_by_hand():
    # box 100 x 100 at (50, 20): crop side 200 picture pixels on 40, one crop pixel is 5
    pipeline = Pipeline(StubDetector([[50, 20, 150, 120]]), StubModel(shift=2.0), refine=0)
    (face,) = pipeline.faces(np.full((300, 300, 3), 9, np.uint8))
    np.testing.assert_allclose(face[[0, 50]], [[60, 20], [160, 120]], atol=1e-3)


def test_the_second_crop_is_cut_around_the_first_result():
    model = StubModel(shift=2.0)
    (face,) = Pipeline(StubDetector([[50, 20, 150, 120]]), model, refine=2).faces(np.full((300, 300, 3), 9, np.uint8))
    assert len(model.seen) == 3
    np.testing.assert_allclose(face[[0, 50]], [[80, 20], [180, 120]], atol=1e-3)  # 10 further each time


def test_what_the_model_sees_is_what_lies_under_the_points():
    # the picture's colours are its coordinates: blue is x, green is y
    y, x = np.mgrid[:250, :250]
    picture = np.dstack([x, y, np.full_like(x, 7)]).astype(np.uint8)
    model = StubModel()
    (face,) = Pipeline(StubDetector([[100, 90, 160, 150]]), model, refine=0).faces(picture)
    u, v = 12, 27
    seen = model.seen[0][0][v, u, :2].astype(float)
    # crop pixel (u, v) lies at ((u - 9.5) / 20, (v - 9.5) / 20) of the box from the first point to the last
    expected = face[0] + (np.array([u, v]) - 9.5) / 20 * (face[50] - face[0])
    assert np.abs(seen - expected).max() <= 1.0


def test_faces_run_from_right_to_left_and_doubles_are_dropped():
    boxes = [[10, 10, 60, 60], [200, 10, 260, 70], [12, 11, 62, 61], [100, 10, 150, 60]]
    faces = Pipeline(StubDetector(boxes), StubModel(), refine=0).faces(np.full((100, 300, 3), 9, np.uint8))
    assert [round(f[0, 0]) for f in faces] == [200, 100, 10]


def test_no_face_gives_an_empty_list_and_asks_no_model():
    model = StubModel()
    assert Pipeline(StubDetector([[0, 0, 5, 5]]), model).faces(np.zeros((9, 9, 3), np.uint8)) == []
    assert model.seen == []


def test_refinement_comes_from_the_metadata():
    assert Pipeline(StubDetector([]), StubModel()).refine == DEFAULT_REFINE
    assert Pipeline(StubDetector([]), StubModel(refine=3)).refine == 3
    assert Pipeline(StubDetector([]), StubModel(refine=3), refine=0).refine == 0


def test_a_model_without_the_detectors_box_policy_is_refused():
    with pytest.raises(ValueError, match="carries no box policy"):
        Pipeline(StubDetector([]), StubModel(from_detector=None))
    with pytest.raises(ValueError, match="learnt for the detector 'blazeface_128', found 'stub'"):
        Pipeline(StubDetector([]), StubModel(from_detector={**POLICY, "detector": "blazeface_128"}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures a.png (grey), b.png (black: no face), 'bad.png' (text), and the stub pipeline behind `main`."""
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


def test_one_text_file_a_picture(run, folder: Path):
    code, err = run(b"a.png\nb.png\n")
    assert code == 0
    assert "2 of 2 pictures, 2 faces" in err
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


def test_bad_pictures_are_named_and_the_others_done(run, folder: Path):
    code, err = run(b"bad.png\nnowhere.png\na.png\n")
    assert code == 2
    lines = err.splitlines()
    assert lines[0] == f"{folder / 'bad.png'}: not a picture that OpenCV can decode"
    assert lines[1] == "nowhere.png: no such file"
    assert lines[2].startswith("1 of 3 pictures, 2 faces")
    assert lines[3] == "run_model.py: 2 of 3 pictures failed, see above"
    assert [p.name for p in (folder / "out").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("listing", [b"", b"\r\n \n", b"\xef\xbb\xbf"])
def test_an_empty_list(run, folder: Path, listing: bytes):
    code, err = run(listing)
    assert code == 2
    assert err == f"run_model.py: {folder / 'list.txt'}: expected one picture path a line, found an empty list\n"
    assert not (folder / "out").exists()


def test_a_missing_list(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert runner.main([str(folder / "none.txt"), str(folder / "out")]) == 2
    assert "expected a text file with one picture path a line, found no such file" in capsys.readouterr().err


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
