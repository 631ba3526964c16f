from pathlib import Path

import pytest

from pair_fld.inference.inputs import Video, collect
from pair_fld.inference.outputs import result_names


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
