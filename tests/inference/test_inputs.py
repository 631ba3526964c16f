import struct
from pathlib import Path

import numpy as np
import pytest

from pair_fld.inference.inputs import Video, collect, frames
from pair_fld.inference.outputs import result_names
from pair_fld.inference.video_file import write_video


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a/1.png", "a/2.JPG", "a/.hidden.png", "a/note.md", "a/.cache/3.png", "b/1.png", "b/c/4.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(*inputs: str) -> dict[str, str]:
    return {name: image.as_posix() for image, name in collect(inputs).images}


def test_folders_are_searched_through_without_what_is_hidden(tree: Path):
    assert named("a") == {"1": "a/1.png", "2": "a/2.JPG"}
    assert named("b") == {"1": "b/1.png", "c/4": "b/c/4.webp"}


def test_patterns_count_from_their_fixed_part(tree: Path):
    assert named("b/**/*.*") == {"1": "b/1.png", "c/4": "b/c/4.webp"}
    assert named("[ab]/1.png") == {"a/1": "a/1.png", "b/1": "b/1.png"}


def test_equal_names_are_told_apart_by_their_folders(tree: Path):
    assert named("a", "b") == {"a/1": "a/1.png", "2": "a/2.JPG", "b/1": "b/1.png", "c/4": "b/c/4.webp"}
    assert named("a/1.png", "b/1.png") == {"a/1": "a/1.png", "b/1": "b/1.png"}


def test_equal_stems_in_one_folder_keep_their_suffix():
    base = Path("x")
    assert result_names([(base / "p.png", base), (base / "p.jpg", base)]) == ["p.png", "p.jpg"]
    assert result_names([(base / "p.png", base), (base / "P.jpg", base)]) == ["p.png", "P.jpg"]


def test_a_image_named_twice_is_done_once(tree: Path):
    assert list(named("a/1.png", str(tree / "a/1.png"), "a")) == ["1", "2"]


def test_names_that_cannot_be_told_apart_get_a_number():
    images = [(Path("x/a/1.png"), Path("x/a")), (Path("x/b/1.png"), Path("x/b")), (Path("x/a/1/q.png"), Path("x"))]
    assert result_names(images) == ["a/1", "b/1", "a/1/q"]
    clash = [(Path("x/u.png"), Path("x")), (Path("y/u.png"), Path("y")), (Path("z/x/u.png"), Path("z"))]
    assert result_names(clash) == ["x/u", "y/u", "x/u-2"]


def test_digits_are_a_camera_unless_a_file_is_called_that(tree: Path):
    assert collect(["0", "clip.MP4"]).videos == (Video(0, "camera0"), Video(Path("clip.MP4"), "clip"))
    (tree / "7").touch()
    assert [p for p, _ in collect(["7"]).images] == [Path("7")]


def with_varying_times(mp4: bytes, durations: list[int]) -> bytes:
    """An MP4 file whose frames last these multiples of what they did: its table of durations (`stts`) is rewritten."""
    start = mp4.index(b"stts") - 4
    size, _, _, entries, _, unit = struct.unpack(">I4sIIII", mp4[start : start + 24])
    assert (size, entries) == (24, 1)
    table = b"".join(struct.pack(">II", 1, unit * times) for times in durations)
    more = len(table) - 8
    data = bytearray(mp4[:start] + struct.pack(">I4sII", 16 + len(table), b"stts", 0, len(durations)) + table)
    data += mp4[start + 24 :]
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):  # the boxes around it grow
        at = mp4.rindex(name, 0, start) - 4
        data[at : at + 4] = struct.pack(">I", struct.unpack(">I", mp4[at : at + 4])[0] + more)
    return bytes(data).replace(b"edts", b"free")  # else the edit list ends the video at its old duration


def test_frames_keep_their_times_where_these_vary(tmp_path: Path) -> None:
    with write_video(tmp_path / "a.mp4", 10.0) as writer:
        for k in range(5):
            writer.add(np.full((64, 64, 3), 40 * k, np.uint8), k / 10)
    varying = with_varying_times((tmp_path / "a.mp4").read_bytes(), [1, 3, 1, 2, 1])
    (tmp_path / "b.mp4").write_bytes(varying)
    times = [[frame.time for frame in frames(Video(tmp_path / name, "x"))] for name in ("a.mp4", "b.mp4")]
    assert times[0] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert times[1] == pytest.approx([0.0, 0.1, 0.4, 0.5, 0.7])
