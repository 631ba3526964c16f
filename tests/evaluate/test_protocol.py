"""The paper's validation split, in the whole data set and in a part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pair_fld.errors import PairError
from pair_fld.evaluate.protocol import open_protocol
from tests.data.labelled_folders import add_face

PROTOCOL = """
root: nowhere
source: {name: p, kind: ivslab, path: x, split: test}
faces: 3
whole: 12
every: 5
"""


@pytest.fixture
def protocol(tmp_path: Path) -> str:
    (tmp_path / "mine.yaml").write_text(PROTOCOL)
    return str(tmp_path / "mine.yaml")


def add(root: Path, names: list[str]) -> None:
    for name in names:
        add_face(root / name.split("/")[0], name.split("/")[1], 0)


# sorted as bytes: 300W, IFPW, afw, helen, ibug
WHOLE = ["300W/a", "300W/b", "IFPW/a", "IFPW/b", "afw/a", "afw/b", "afw/c", "helen/a", "helen/b", "helen/c", "ibug/a",
         "ibug/b"]  # fmt: skip


def test_every_fifth_of_the_whole_data_set(tmp_path: Path, protocol: str) -> None:
    add(tmp_path / "all", WHOLE)
    (tmp_path / "all" / "afw" / "labels" / "b.pts").unlink()  # number 5 has no label: it keeps its place
    found = open_protocol(protocol, tmp_path / "all")
    assert [s.path.relative_to(tmp_path / "all").as_posix() for s in found.truth.samples] == [
        "300W/images/a.png",
        "ibug/images/a.png",
    ]
    assert [entry.reason for entry in found.truth.left_out] == ["image without labels"]
    assert str(found) == "protocol mine: 2 of its 3 faces"


def test_a_folder_with_a_part_of_the_split_is_measured_whole(tmp_path: Path, protocol: str) -> None:
    add(tmp_path / "part", ["300W/a", "afw/b"])
    assert str(open_protocol(protocol, tmp_path / "part")) == "protocol mine: 2 of its 3 faces"


def test_a_part_of_the_data_set_in_which_the_split_is_lost_is_refused(tmp_path: Path, protocol: str) -> None:
    add(tmp_path / "some", WHOLE[:7])
    with pytest.raises(PairError, match="expected its 12 faces, or the split's 3 at most, found 7"):
        open_protocol(protocol, tmp_path / "some")


def test_the_papers_split_has_444_faces_of_4437() -> None:
    with pytest.raises(PairError, match="/gone: expected the data of source 'pair2024'"):
        open_protocol("pair2024", Path("/gone"))


def test_the_shared_part_of_the_papers_split(shared_data: Path) -> None:
    assert str(open_protocol("pair2024", shared_data / "contest_valid")) == "protocol pair2024: 352 of its 444 faces"


def test_without_its_own_folder_a_protocol_asks_for_one(protocol: str) -> None:
    with pytest.raises(
        PairError, match=r"protocol mine: expected its faces in nowhere/x, found none. Name .* --images"
    ):
        open_protocol(protocol)
