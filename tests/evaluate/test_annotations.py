import json
from pathlib import Path

import pytest

from tests.annotators.shapes import write_set
from tests.cli.command import pairfld


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
