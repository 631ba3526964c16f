"""`pairfld predict` on videos: followed faces, a drawn video, one line of JSON per frame, times."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.inference import run
from pair_fld.inference.inputs import Video, VideoFrame, frames
from pair_fld.inference.video_file import write_video
from tests.cli.test_predict import photos, predict, texts
from tests.cli.test_results import contents, video

__all__ = ["photos"]  # a fixture comes by its name


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def read(path: Path) -> list[np.ndarray]:
    return [frame.image for frame in frames(Video(path, "x"))]


def test_faces_are_followed_and_each_frame_is_a_line_with_its_time(photos: Path) -> None:
    video(Path("clip.avi"), (60, 60, 120, 120))
    done = predict("clip.avi", "--json", "-", "--csv", "a.csv")
    assert done.code == 0, done.err
    results = lines(done.out)
    assert [(r["name"], r["time"]) for r in results] == [(f"clip_{k:06d}", round(k / 10, 4)) for k in range(4)]
    assert [[face["identity"] for face in r["faces"]] for r in results] == [[1, 2]] * 4  # from right to left
    face = results[0]["faces"][0]
    assert abs(face["pose"]["yaw"]) < 5  # the stub's model sees the mean face from the front
    assert np.array(face["pose"]["matrix"]).shape == (4, 4)
    assert set(face["openness"]) == {"eye_left", "eye_right", "mouth"}
    with Path("a.csv").open(newline="") as stream:
        row = list(csv.DictReader(stream))[3]
    assert (row["time"], row["identity"], float(row["yaw"])) == ("0.1000", "2", results[1]["faces"][1]["pose"]["yaw"])
    anew = lines(predict("clip.avi", "--json", "-", "--per-frame").out)
    assert {face["identity"] for r in anew for face in r["faces"]} == {None}


def test_an_image_beside_a_video_is_a_line_too_and_has_no_time(photos: Path) -> None:
    video(Path("clip.avi"), (60,))
    assert predict("clip.avi", photos / "one.png", "--json", "a.jsonl").code == 0
    image, frame = lines(Path("a.jsonl").read_text())
    assert "time" not in image
    assert (image["name"], frame["name"], frame["time"]) == ("one", "clip_000000", 0.0)


@pytest.mark.parametrize(("draw", "expected"), [("d", "d/clip.mp4"), ("d/mine.avi", "d/mine.avi")])
def test_a_video_is_drawn_as_a_video(photos: Path, draw: str, expected: str) -> None:
    video(Path("clip.avi"), (60, 60, 120))
    assert predict("clip.avi", "--draw", draw).code == 0
    assert texts(Path("d")) == [Path(expected).name]
    drawn = read(Path(expected))
    assert len(drawn) == 3
    assert drawn[0].shape == (200, 200, 3)
    assert (drawn[0][..., 1].astype(int) - drawn[0][..., 0] > 100).sum() > 20  # green points
    before = contents(Path("d"))
    done = predict("clip.avi", "--draw", draw)
    assert done.code == 2
    assert f"{expected}: expected no earlier results" in done.err
    assert predict("clip.avi", "--draw", draw, "--resume").code == 0
    assert contents(Path("d")) == before
    assert predict("clip.avi", "--draw", draw, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["clip.avi", "photos/one.png", "--draw", "d.mp4"], "d.mp4 can hold one drawn video and nothing else."),
        (["clip.avi", "--draw", "d.mp4", "--stills"], "d.mp4 can hold one drawn video and nothing else."),
        (["clip.avi", "--draw", "d.mkv"], "d.mkv: expected a video ending in .mp4 or .avi, found .mkv."),
        (["photos/one.png", "--draw", "d.mp4"], "d.mp4 can hold one drawn video and nothing else."),
        (["clip.avi", "--draw", "clip.avi", "--overwrite"], "clip.avi is an input of this call"),
    ],
)
def test_where_no_video_can_be_drawn(photos: Path, arguments: list[str], expected: str) -> None:
    before = video(Path("clip.avi")).read_bytes()
    done = predict(*arguments)
    assert done.code == 2
    assert expected in done.err
    assert Path("clip.avi").read_bytes() == before
    assert not Path("d.mp4").exists()


def test_a_camera_that_is_stopped_keeps_what_it_showed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def camera(*_: object) -> Iterator[VideoFrame]:
        for number, time in enumerate((0.0, 0.05, 0.3)):
            yield VideoFrame(number, time, np.full((200, 200, 3), 60, np.uint8))
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "frames", camera)
    done = predict("0", "--json", "a.jsonl", "--draw", "d")
    assert done.code == 0, done.err
    assert "camera stopped" in done.err
    assert [r["time"] for r in lines(Path("a.jsonl").read_text())] == [0.0, 0.05, 0.3]
    # at 30 per second the frames lie in the places 0, 2 (0.05 * 30 = 1.5, to even) and 9: ten in all
    assert len(read(Path("d/camera0.mp4"))) == 10


def test_a_video_file_that_is_interrupted_leaves_nothing_half(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video(Path("clip.avi"))

    def interrupted(*_: object) -> Iterator[VideoFrame]:
        yield VideoFrame(0, 0.0, np.full((200, 200, 3), 60, np.uint8))
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "frames", interrupted)
    assert predict("clip.avi", "--json", "a.jsonl", "--draw", "d").code == 130
    assert not Path("a.jsonl").exists()
    assert texts(Path("d")) == []


def test_frames_stand_until_the_next_ones_time(tmp_path: Path) -> None:
    # at 10 per second the times 0, 0.1, 0.4 and 0.42 lie in the places 0, 1, 4 and 4
    with write_video(tmp_path / "a.avi", 10.0) as writer:
        for grey, time in ((0, 0.0), (80, 0.1), (160, 0.4), (240, 0.42)):
            writer.add(np.full((64, 64, 3), grey, np.uint8), time)
    greys = [round(float(image.mean())) for image in read(tmp_path / "a.avi")]
    assert greys == pytest.approx([0, 80, 80, 80, 160], abs=3)
    assert cv2.VideoCapture(str(tmp_path / "a.avi")).get(cv2.CAP_PROP_FPS) == 10
