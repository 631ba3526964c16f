"""The listing rule: links are followed, loops end, what is hidden or no data is counted."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import cv2
import pytest

from pair_fld.config import SourceConfig
from pair_fld.data.sources.files import list_files, passed_over_sentence
from pair_fld.data.sources.listing import list_samples
from pair_fld.inference.inputs import collect
from pair_fld.runtime.image import SUFFIXES, read_image
from pair_fld.runtime.landmark_files import write_faces
from tests.data.labelled_folders import data_config, face_image, face_points


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """photos/ with a linked folder, a link to itself, hidden things, an archive, a video; the link's target beside."""
    photos, other = tmp_path / "photos", tmp_path / "other"
    for path in (
        photos / "b.JPG",
        photos / "a.jfif",
        photos / ".cache" / "x.jpg",
        photos / "._b.JPG",
        photos / "more.zip",
        photos / "clip.mp4",
        photos / "notes",
        photos / "deep" / "c.png",
        other / "d.jpe",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (photos / "linked").symlink_to(other)
    (other / "up").symlink_to(photos)
    (photos / "deep" / "self").symlink_to(photos / "deep")
    (photos / "aside").symlink_to(photos / "deep")
    (photos / "gone.png").symlink_to(tmp_path / "nothing.png")
    return photos


PASSED_OVER = {
    "hidden": 2,
    "archive not unpacked": 1,
    "folder listed under another name": 3,  # linked/up, deep/self, aside
    "link that leads nowhere": 1,
    ".mp4": 1,
    "without a suffix": 1,
}


def test_links_are_followed_once_and_everything_else_is_counted(tree: Path) -> None:
    found = list_files(tree)
    assert [p.relative_to(tree).as_posix() for p in found.files] == ["a.jfif", "b.JPG", "deep/c.png", "linked/d.jpe"]
    assert found.passed_over == PASSED_OVER
    assert passed_over_sentence(found.passed_over) == (
        "passed over: 2 hidden, 1 archive not unpacked, 3 folders listed under another name, "
        "1 link that leads nowhere, 1 .mp4, 1 without a suffix"
    )
    assert passed_over_sentence(Counter()) is None


def test_predict_and_prepare_list_the_same_files(tree: Path) -> None:
    inputs = collect([str(tree)])
    assert inputs.passed_over == PASSED_OVER
    source = SourceConfig(name="u", kind="unlabelled", path="photos", labels="none", box=(0.2, 0.2, 0.8, 0.8))
    listed = list_samples(data_config(tree.parent, source))
    assert [s.path for s in listed.samples] == [p for p, _ in inputs.images]
    assert listed.passed_over == [PASSED_OVER]


def test_labels_are_no_files_that_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.png").touch()
    (folder / "a.txt").touch()
    write_faces(folder / "a.pts", [face_points()])
    listed = list_samples(data_config(tmp_path, SourceConfig(name="s", kind="ibug", path="set")))
    assert listed.passed_over == [{".txt": 1}]


@pytest.mark.skipif(os.geteuid() == 0, reason="root opens every folder")
def test_a_folder_that_cannot_be_opened_is_counted(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    assert list_files(tmp_path).passed_over == {"folder that cannot be opened": 1}


@pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s not in (".pbm", ".pgm")])  # those hold grey only
def test_every_suffix_that_is_listed_decodes(tmp_path: Path, suffix: str) -> None:
    image = face_image()
    encoder = {".jfif": ".jpg", ".jpe": ".jpg"}.get(suffix, suffix)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(encoder, image)[1].tobytes())
    assert list_files(tmp_path).files == [path]
    assert read_image(path).shape == image.shape


def test_what_a_folder_holds_in_place_of_images_is_said(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").touch()
    with pytest.raises(Exception, match=r"found none \(passed over: 1 archive not unpacked\)"):
        collect([str(tmp_path)])
