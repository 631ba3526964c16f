import json
from pathlib import Path

import pytest

from pair_fld.annotators.fit_scheme import fit_scheme
from pair_fld.annotators.images import data_of
from pair_fld.annotators.pairs import lookup_of, read_pairs
from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.annotations import write_annotation
from tests.annotators.shapes import write_annotations, write_set
from tests.cli.command import pairfld

LEARNT, TESTED = range(60), range(500, 506)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """An annotator's answers on 60 faces, from which its map is learnt, and on the six of t; one of these it missed."""
    write_set(tmp_path, "a", LEARNT)
    write_set(tmp_path, "t", TESTED, (3.0, 0.0))
    folder = tmp_path / "labels"
    write_annotations(folder, tmp_path, {"a": LEARNT, "t": TESTED})
    for flip in (0, 1):
        write_annotation(folder, flip, f"t/images/{TESTED[0]}.png", None)
    source = SourceConfig(name="a", kind="ibug", path="a")
    data = DataConfig(sources=[source], root=str(tmp_path))
    fit_scheme(read_pairs(lookup_of(str(folder), data_of), [data]), ridges=(1e-3,))[0].save(folder / "map.npz")
    return folder


def test_an_annotator_is_measured_where_it_answers(labels: Path, tmp_path: Path) -> None:
    call = ("validate", str(labels), "--images", str(tmp_path / "t"), "--work", str(tmp_path / "w"))
    done = pairfld(*call, "--json")
    assert done.code == 0, done.err
    tree = json.loads(done.out)
    assert (tree["labelled_faces"], tree["faces"]) == (6, 5)
    assert [entry["reason"] for entry in tree["left_out"]] == ["no face found by the annotator"]
    # the labels of t lie 3 % of the eye distance to the right; the answers are nearly exact
    name = next(iter(tree["sources"]))
    assert tree["nme_outer_corners_percent"] == pytest.approx(3, abs=0.5)
    assert tree["sources"][name]["nme_outer_corners_shift_removed_percent"] < 0.5
    assert tree["sources"][name]["label_shift"]["x_percent"] == pytest.approx(3, abs=0.3)
    (labels / "map.npz").unlink()
    assert "expected a point map (.npz), found no such file" in pairfld(*call).err


def test_answers_on_other_faces_are_none(labels: Path, tmp_path: Path) -> None:
    write_set(tmp_path, "other", range(900, 902))
    done = pairfld("validate", str(labels), "--images", str(tmp_path / "other"), "--work", str(tmp_path / "w"))
    assert done.code == 2
    assert "expected answers on the labelled faces, found none" in done.err
