"""Nothing of a user's is lost: results have names of their own, inputs and earlier results stay."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.runtime.landmark_files import format_faces, read_faces
from tests.cli.command import pairfld
from tests.cli.test_predict import BOXES, photos, predict, texts, write

__all__ = ["BOXES", "photos"]  # a fixture comes by its name

FACE = format_faces([np.arange(102.0).reshape(51, 2)])


def video(path: Path, greys: tuple[int, ...] = (0, 60, 120)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (200, 200))
    assert writer.isOpened()
    for grey in greys:
        writer.write(np.full((200, 200, 3), grey, np.uint8))
    writer.release()
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in texts(folder)}


def test_videos_of_one_name_and_an_image_named_like_a_frame_keep_apart(photos: Path) -> None:
    video(Path("a/clip.avi"))
    video(Path("b/clip.avi"), (0, 60))
    write(Path("clip_000000.png"), 90)
    done = predict("a/clip.avi", "b/clip.avi", "--out", "o")
    assert (done.code, texts(Path("o"))) == (
        0,
        ["a/clip_000000.txt", "a/clip_000001.txt", "a/clip_000002.txt", "b/clip_000000.txt", "b/clip_000001.txt"],
    )
    done = predict("clip_000000.png", "a/clip.avi", "--out", "p")
    assert done.code == 0
    assert texts(Path("p")) == [
        "clip.avi_000000.txt", "clip.avi_000001.txt", "clip.avi_000002.txt", "clip_000000.txt",
    ]  # fmt: skip
    assert "4 of 4 images" in done.err


def test_frames_of_an_earlier_run_stay_unless_told(photos: Path) -> None:
    video(Path("clip.avi"))
    assert predict("clip.avi", "--out", "o", "--draw", "o", "--stills").code == 0
    changed = Path("o/clip_000001.txt")
    changed.write_text(FACE)
    Path("o/clip_000002.txt").unlink()
    before = contents(Path("o"))
    done = predict("clip.avi", "--out", "o", "--draw", "o", "--stills")
    assert done.code == 2
    assert "clip_000000.txt: expected no earlier results" in done.err
    assert contents(Path("o")) == before
    done = predict("clip.avi", "--out", "o", "--draw", "o", "--stills", "--resume", "--json", "-")
    assert done.code == 0, done.err
    assert json.loads(done.out.splitlines()[1])["faces"][0]["points"][50] == [100, 101]  # what the changed file says
    after = contents(Path("o"))
    assert after.pop("clip_000002.txt")
    assert after == before
    assert predict("clip.avi", "--out", "o", "--draw", "o", "--stills", "--overwrite").code == 0
    assert changed.read_text() != FACE


def test_resume_replaces_nothing_that_is_there(photos: Path) -> None:
    note = Path("landmarks/one.txt")
    note.parent.mkdir()
    note.write_text("my own note")
    Path("a.json").write_text("[1]")
    done = predict(photos, "--resume", "--out", "landmarks", "--json", "a.json")
    assert done.code == 2
    assert "a.json: expected no earlier results" in done.err
    assert texts(Path("landmarks")) == ["one.txt"]
    done = predict(photos, "--resume", "--out", "landmarks", "--json", "a.json", "--overwrite")
    assert done.code == 2
    assert "landmarks/one.txt is kept, but holds no landmarks of ours" in done.err
    assert note.read_text() == "my own note"
    assert texts(Path("landmarks")) == ["more/one.txt", "none.txt", "one.txt"]
    assert [("error" in r) for r in json.loads(Path("a.json").read_text())] == [True, False, False]  # in order of ends


@pytest.mark.parametrize("spelling", ["photos", "photos/../photos", "link", "hard"])
@pytest.mark.parametrize("flag", ["--overwrite", "--resume", None])
def test_drawings_never_replace_the_images(photos: Path, spelling: str, flag: str | None) -> None:
    for name in ("one", "none", "more/one"):
        (photos / f"{name}.png").rename(photos / f"{name}.jpg")
    Path("link").symlink_to(photos)
    Path("hard").mkdir()
    os.link(photos / "one.jpg", "hard/one.jpg")
    before = contents(photos)
    done = predict("photos", "--draw", spelling, *([flag] if flag else []))
    assert done.code == 2
    assert "one.jpg is an input of this call and is never written over" in done.err
    assert "--overwrite to" not in done.err
    assert contents(photos) == before


@pytest.mark.parametrize("option", ["--json", "--csv", "--sheet"])
@pytest.mark.parametrize("target", ["photos/one.png", "list.txt", "clip.avi", "model/model.tflite"])
def test_summaries_never_replace_an_input(photos: Path, option: str, target: str) -> None:
    video(Path("clip.avi"))
    Path("list.txt").write_text("photos/one.png\n")
    Path("model/model.tflite").write_bytes(b"weights")
    before = Path(target).read_bytes()
    done = predict("list.txt", "photos/one.png", "clip.avi", option, target, "--overwrite")
    assert done.code == 2
    assert Path(target).read_bytes() == before


def test_a_text_never_replaces_the_list(photos: Path) -> None:
    write(Path("list.png"), 90)
    Path("list.txt").write_text("list.png\n")
    done = predict("list.txt", "--out", ".", "--overwrite")
    assert done.code == 2
    assert Path("list.txt").read_text() == "list.png\n"


def test_two_outputs_of_one_path_are_refused(photos: Path) -> None:
    for call in (["--json", "a", "--csv", "a"], ["--json", "a", "--csv", "./A"], ["--json", "-", "--csv", "-"]):
        done = predict(photos, *call)
        assert done.code == 2
        assert "would" in done.err
        assert not Path("a").exists()


def test_names_near_the_system_s_bound(photos: Path) -> None:
    longest = "n" * 251 + ".png"  # 255 bytes
    umlauts = "ü" * 125 + "x.png"  # 255 bytes, 130 characters
    for name in (longest, umlauts):
        write(Path("long") / name, 90)
    write(Path("long/plain.png"), 90)
    video(Path("long") / ("v" * 250 + ".avi"), (60,))
    done = predict("long", "long/" + "v" * 250 + ".avi", "--out", "o", "--draw", "d", "--json", "a.json")
    assert done.code == 0, done.err
    names = texts(Path("o"))
    assert len(names) == 4
    assert "n" * 251 + ".txt" in names
    assert all(len(os.fsencode(name)) <= 255 for name in names)
    assert sorted(json.loads(line)["name"] + ".txt" for line in Path("a.json").read_text().splitlines()) == names


def test_a_path_too_long_costs_one_line_not_the_run(photos: Path) -> None:
    # with the image's name beyond 4096 bytes, the system's bound
    deep = Path("o") / "/".join([*["d" * 200] * 19, "d" * 100])
    deep.mkdir(parents=True)
    write(Path("long") / ("n" * 251 + ".png"), 90)
    write(Path("long/plain.png"), 90)
    done = predict("long", "--out", deep)
    assert done.code == 2
    assert "results cannot be written (File name too long)" in done.err
    assert "Traceback" not in done.err
    assert texts(deep) == ["plain.txt"]


def test_a_name_that_is_no_utf8_loses_nothing(photos: Path) -> None:
    try:
        os.rename(os.fsencode(photos / "none.png"), os.fsencode(photos) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this system has no such names")
    done = predict(photos, "--json", "a.json", "--csv", "a.csv", "--out", "o", "--draw", "d")
    assert done.code == 0, done.err
    names = [r["name"] for r in json.loads(Path("a.json").read_text(encoding="utf-8"))]
    assert names == ["caf\\xe9", "more/one", "one"]
    with Path("a.csv").open(newline="", encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == 4
    assert os.path.isfile(b"o/caf\xe9.txt")
    done = predict(photos, "--json", "-")
    assert len(json.loads(done.out)) == 3
    os.rename(video(Path("clip.avi")), b"cl\xefp.avi")
    done = predict(os.fsdecode(b"cl\xefp.avi"))
    assert (done.code, "Rename the file" in done.err) == (2, True)


def test_an_input_with_a_name_beyond_the_bound_is_one_line(photos: Path) -> None:
    Path("list.txt").write_text("x" * 5000 + ".png\nphotos/one.png\n")
    done = predict("y" * 300 + ".png", "list.txt", "z" * 300 + ".mp4")
    assert done.code == 2
    assert "1 of 4 images" in done.err
    assert texts(Path("landmarks")) == ["one.txt"]


def test_csv_goes_to_stdout(photos: Path) -> None:
    done = predict(photos / "one.png", "--csv", "-")
    assert done.code == 0
    assert [row["face"] for row in csv.DictReader(done.out.splitlines())] == ["0", "1"]
    assert not Path("-").exists()


def test_what_cannot_be_written_is_refused_before_the_work(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def worked(*_: object, **__: object) -> None:
        raise AssertionError("the work had begun")

    monkeypatch.setattr("pair_fld.inference.archive.load_pipeline", worked)
    Path("file").touch()
    Path("folder").mkdir()
    for call, expected in (
        (["--sheet", "s.abc"], "s.abc: expected an image format that OpenCV writes"),
        (["--sheet", "sheet"], "sheet: expected an image format that OpenCV writes, found no suffix"),
        (["--json", "folder"], "folder: expected a file to write, found a folder"),
        (["--csv", "file/a.csv"], "expected a folder that can be written to"),
    ):
        done = predict(photos, *call)
        assert done.code == 2
        assert expected in done.err


def test_a_full_folder_for_temporary_files_is_no_error_of_the_archive(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    with zipfile.ZipFile("m.zip", "w") as archive:
        archive.writestr("model.tflite", b"x" * 10)
    real = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == "model.tflite":
            raise OSError(28, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    done = pairfld("predict", str(photos), "--archive", "m.zip")
    assert done.code == 2
    assert "No space left on device" in done.err
    assert "TMPDIR" in done.err
    assert "an archive of pairfld package" not in done.err


def test_the_last_line_has_no_markup_in_it(photos: Path) -> None:
    (photos / "bad.png").write_text("text")
    done = predict(photos / "bad.png")
    assert done.code == 2
    assert done.err.splitlines()[-1] == "error 1 of 1 failed, see above"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["predict", "--help"],
        ["runs", "--folder", "Büro"],
        ["predict", "Bücher/größe.png", "--json", "-"],
        ["predict", "Bücher/*.png"],
    ],
)
def test_a_terminal_without_unicode(tmp_path: Path, arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONPATH": str(Path.cwd())}
    call = [sys.executable, "-m", "pair_fld", *arguments]
    done = subprocess.run(call, capture_output=True, cwd=tmp_path, env=environment)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert done.returncode in (0, 2)
    assert done.stdout.isascii()
    assert done.stderr.isascii()
    if "-" in arguments:
        assert json.loads(done.stdout)[0]["image"] == "Bücher/größe.png"


def test_the_runner_of_an_archive_never_replaces_its_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pair_fld.runtime import main as runner

    write(tmp_path / "list.png", 90)
    (tmp_path / "list.txt").write_text("list.png\n")
    monkeypatch.setattr(runner, "load_pipeline", lambda *_, **__: pytest.fail("the work had begun"))
    assert runner.main([str(tmp_path / "list.txt"), str(tmp_path)]) == 2
    assert "list.txt is an input and is never written over" in capsys.readouterr().err
    assert (tmp_path / "list.txt").read_text() == "list.png\n"


def test_the_runner_of_an_archive_goes_on_after_a_name_too_long(photos: Path) -> None:
    from pair_fld.runtime import main as runner
    from pair_fld.runtime.pipeline import Pipeline
    from tests.runtime.test_main import StubDetector, StubModel

    folder = Path("o") / "/".join([*["d" * 200] * 19, "d" * 100])
    folder.mkdir(parents=True)
    images = [write(Path("long") / ("n" * 251 + ".png"), 90), write(Path("long/plain.png"), 90)]
    assert runner.run([Pipeline(StubDetector(BOXES), StubModel())], images, folder) == (2, 1)
    assert [p.name for p in folder.iterdir()] == ["plain.txt"]
    assert len(read_faces(folder / "plain.txt")) == 2
