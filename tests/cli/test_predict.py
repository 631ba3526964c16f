"""`pairfld predict` as a user meets it, on plain images and a pipeline that answers the same boxes for each."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.inference import archive
from pair_fld.runtime.landmark_files import read_faces
from pair_fld.runtime.pipeline import Pipeline
from tests.cli.command import Done, pairfld
from tests.runtime.test_main import StubDetector, StubModel

BOXES = [[20, 20, 80, 80], [120, 20, 180, 80]]


def write(path: Path, grey: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.full((200, 200, 3), grey, np.uint8))[1].tobytes())
    return path


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/one.png (two faces), photos/none.png (black: no face), photos/more/one.png; working directory above."""
    monkeypatch.setattr(archive, "load_pipeline", lambda *_, **__: Pipeline(StubDetector(BOXES), StubModel()))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    for name, grey in (("one", 90), ("none", 0), ("more/one", 50)):
        write(folder / f"{name}.png", grey)
    (tmp_path / "model").mkdir()
    return folder


def predict(*arguments: object) -> Done:
    return pairfld("predict", *map(str, arguments), "--archive", "model", "--jobs", "2")


def texts(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_folder_keeps_its_shape(photos: Path) -> None:
    done = predict(photos)
    assert done.code == 0, done.err
    assert texts(Path("landmarks")) == ["more/one.txt", "none.txt", "one.txt"]
    right, left = read_faces("landmarks/one.txt")
    assert right[:, 0].mean() > left[:, 0].mean()
    assert Path("landmarks/none.txt").read_bytes() == b""
    assert "3 of 3 images, 4 faces; written: landmarks" in done.err
    assert done.out == ""


def test_every_kind_of_output(photos: Path) -> None:
    done = predict(
        photos / "one.png", photos / "none.png", "--draw", "d", "--sheet", "s.png", "--json", "a.json", "--csv", "a.csv"
    )
    assert done.code == 0, done.err
    assert not Path("landmarks").exists()  # something else was asked for
    drawing, plain = cv2.imread("d/one.jpg"), cv2.imread("d/none.jpg")
    assert drawing.shape == plain.shape == (200, 200, 3)
    assert plain.max() == 0
    assert (drawing[..., 1] > 200).sum() > 20  # green points
    assert cv2.imread("s.png").shape == (160, 320, 3)  # two faces beside each other
    one, none = json.loads(Path("a.json").read_text())
    assert (one["name"], len(one["faces"]), none["faces"]) == ("one", 2, [])
    with Path("a.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["name"], r["face"]) for r in rows] == [("one", "0"), ("one", "1")]
    assert [float(rows[1]["x50"]), float(rows[1]["y50"])] == one["faces"][1]["points"][50]


def test_json_on_stdout_is_nothing_but_json(photos: Path) -> None:
    done = predict(photos / "one.png", "--json", "-")
    assert json.loads(done.out)[0]["name"] == "one"


def test_bad_images_get_a_line_and_the_others_are_done(photos: Path) -> None:
    (photos / "bad.png").write_text("text")
    (photos / "zero.png").touch()
    done = predict(photos, "gone.png", "--json", "-")
    assert done.code == 2
    assert f"{photos / 'bad.png'}: not an image that OpenCV can decode" in done.err
    assert f"{photos / 'zero.png'}: the file is empty" in done.err
    assert "gone.png: no such file" in done.err
    assert "3 of 6 images, 4 faces" in done.err
    assert "error 3 of 6 failed, see above" in done.err
    assert {r["name"] for r in json.loads(done.out) if "error" in r} == {"bad", "zero", "gone"}


@pytest.mark.parametrize(
    ("make", "arguments", "expected"),
    [
        (b"", ["list.txt"], "expected a list with one image path per line, found an empty list"),
        (None, ["none.txt"], "none.txt: expected a list with one image path per line, found no such file"),
        (None, ["empty"], "empty: expected images"),
        (None, ["photos/*.gif"], "No images match 'photos/*.gif'. Correct the pattern."),
        (None, ["photos", "--out", "in-the-way/x"], "expected a folder that can be written to, found: Not a directory"),
        (None, ["photos", "--draw", "in-the-way"], "expected a folder that can be written to, found: File exists"),
    ],
)
def test_errors_of_the_call_are_sentences(photos: Path, make: bytes | None, arguments: list, expected: str) -> None:
    Path("in-the-way").write_text("a file")
    Path("empty").mkdir()
    if make is not None:
        Path("list.txt").write_bytes(make)
    done = predict(*arguments)
    assert done.code == 2
    assert expected in done.err
    assert "Traceback" not in done.err
    assert not Path("landmarks").exists()


def test_a_list_with_windows_line_ends(photos: Path) -> None:
    Path("list.txt").write_bytes(b"\xef\xbb\xbfphotos\\one.png\r\nphotos\\none.png\r\n")
    assert predict("list.txt").code == 0
    assert texts(Path("landmarks")) == ["none.txt", "one.txt"]


def test_results_are_not_replaced_unasked_and_a_rerun_continues(photos: Path) -> None:
    kept = Path("landmarks/one.txt")
    kept.parent.mkdir()
    kept.write_text("")  # as if an earlier run had found none
    done = predict(photos)
    assert done.code == 2
    assert "landmarks/one.txt: expected no earlier results, found a file of that name" in done.err
    assert texts(Path("landmarks")) == ["one.txt"]
    done = predict(photos, "--resume", "--out", "landmarks", "--json", "-")
    assert done.code == 0
    assert kept.read_text() == ""
    assert [len(r["faces"]) for r in json.loads(done.out)] == [2, 0, 0]  # more/one, none, one: as its file says
    assert predict(photos, "--overwrite").code == 0
    assert len(read_faces(kept)) == 2


def test_an_interruption_leaves_whole_files_and_is_130(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def interrupted(path: Path, faces: object) -> None:
        calls.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr("pair_fld.inference.run.write_faces", interrupted)
    done = predict(photos, "--out", "out", "--json", "a.json")
    assert (done.code, len(calls)) == (130, 1)
    assert "--resume continues" in done.err
    assert texts(Path("out")) == []
    assert not Path("a.json").exists()
    monkeypatch.undo()


def test_frames_of_a_video(photos: Path) -> None:
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    assert writer.isOpened()
    for grey in (0, 60, 120, 180, 240):
        writer.write(np.full((64, 64, 3), grey, np.uint8))
    writer.release()
    assert predict("clip.avi", "--every", "2", "--frames", "2").code == 0
    assert texts(Path("landmarks")) == ["clip_000000.txt", "clip_000002.txt"]
    assert read_faces("landmarks/clip_000000.txt") == []
    done = predict("gone.mp4", photos / "one.png", "--out", "o2")
    assert done.code == 2
    assert "gone.mp4: expected a video, found no such file" in done.err
    assert texts(Path("o2")) == ["one.txt"]


def test_a_model_that_is_none(photos: Path) -> None:
    Path("note.zip").write_text("hello")
    for model, expected in (("gone.zip", "no such file"), ("note.zip", "not a zip file")):
        done = pairfld("predict", str(photos), "--archive", model)
        assert done.code == 2
        assert f"{model}: expected an archive of pairfld package, found" in done.err
        assert expected in done.err
