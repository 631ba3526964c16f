"""Contest texts are found where `pairfld predict` and run_model.py leave them; what has no partner is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pair_fld.data.sample import Sample
from pair_fld.errors import PairError
from pair_fld.evaluate.text_files import match_texts
from pair_fld.runtime.landmark_files import write_faces
from tests.cli.command import pairfld
from tests.data.labelled_folders import add_face, face_points


def sample(path: str, index: int = 0) -> Sample:
    return Sample(Path("/faces") / path, path, 0, index=index)


def texts(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


def matched(folder: Path, *samples: Sample) -> list[str | None]:
    found = match_texts(folder, samples).paths
    return [path and path.relative_to(folder).as_posix() for path in found]


@pytest.mark.parametrize(
    ("names", "image", "expected"),
    [
        (["0.txt"], "images/0.png", "0.txt"),  # as run_model.py writes
        (["images/0.txt"], "images/0.png", "images/0.txt"),  # as predict writes for the folder above
        (["0.txt", "images/0.txt", "other/images/0.txt"], "images/0.png", "images/0.txt"),
        (["0.png.txt", "0.jpg.txt"], "images/0.png", "0.png.txt"),  # two images that differ by suffix only
        (["a.b.txt"], "a.b.png", "a.b.txt"),
        (["faces/x/0.txt"], "x/0.png", "faces/x/0.txt"),
    ],
)
def test_the_longest_end_of_the_path_wins(tmp_path: Path, names: list[str], image: str, expected: str) -> None:
    assert matched(texts(tmp_path, *names), sample(image)) == [expected]


def test_faces_of_one_image_share_its_text_and_others_do_not(tmp_path: Path) -> None:
    texts(tmp_path, "0.txt")
    assert matched(tmp_path, sample("a/0.png"), sample("a/0.png")) == ["0.txt", "0.txt"]
    for other in (sample("b/0.png"), sample("a/0.png", index=1)):
        with pytest.raises(PairError, match=r"0\.txt: expected one image for each text, found a/0\.png and"):
            match_texts(tmp_path, [sample("a/0.png"), other])


def test_what_has_no_partner_is_counted(tmp_path: Path) -> None:
    texts(tmp_path, "0.txt", "old.txt")
    assert match_texts(tmp_path, [sample("0.png"), sample("1.png"), sample("2.png")]).notes == [
        "2 of 3 faces have no text and count as missed: 1.png, 2.png",
        "1 of 2 texts belong to no labelled image: old.txt",
    ]


def test_texts_of_other_images_are_no_failures(tmp_path: Path) -> None:
    with pytest.raises(PairError, match=r"expected texts named as the images \(0\.txt\), found no \.txt file"):
        match_texts(tmp_path, [sample("0.png")])
    texts(tmp_path, "a/7.txt")
    with pytest.raises(PairError, match=r"found 1 texts \(a/7\), none of them"):
        match_texts(tmp_path, [sample("0.png")])


def test_validate_finds_the_texts_of_a_folder_of_folders(tmp_path: Path) -> None:
    """Texts that hold the labels themselves: an error of 0, where it was infinite."""
    for k in range(3):
        add_face(tmp_path / "faces", str(k), seed=k)
        (tmp_path / "o/images").mkdir(parents=True, exist_ok=True)
        write_faces(tmp_path / f"o/images/{k}.txt", [face_points(k)])
    arguments = ("validate", str(tmp_path / "o"), "--images", str(tmp_path / "faces"), "--json", "--out")
    done = pairfld(*arguments, str(tmp_path / "report"))
    assert done.code == 0, done.err
    assert json.loads(done.out)["nme_outer_corners_percent"] == pytest.approx(0, abs=1e-3)
    (tmp_path / "o/images").rename(tmp_path / "o/elsewhere")
    (tmp_path / "o/elsewhere/0.txt").rename(tmp_path / "o/0.txt")
    done = pairfld(*arguments, str(tmp_path / "second"))
    assert "2 of 3 faces have no text and count as missed" in done.err
    assert "2 of 3 texts belong to no labelled image: elsewhere/1.txt, elsewhere/2.txt" in done.err
