"""`pairfld new`: a recipe that works, from folders of any kind."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.config import load_recipe
from pair_fld.data.sources.listing import list_samples
from pair_fld.errors import PairError
from pair_fld.evaluate.validate import labelled_folder
from tests.cli.command import pairfld


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """labelled/train: two images, one with a .pts of 68 points; bare: one image without labels; odd: 5 points."""
    for name, points in (("labelled/train", 68), ("bare", 0), ("odd", 5)):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "a.png"), np.zeros((64, 64, 3), np.uint8))
        if points:
            rows = "\n".join(f"{k} {k + 1}" for k in range(1, points + 1))
            (folder / "a.pts").write_text(f"version: 1\nn_points: {points}\n{{\n{rows}\n}}\n")
    cv2.imwrite(str(tmp_path / "labelled/train/b.png"), np.ones((64, 64, 3), np.uint8))
    return tmp_path


def test_the_recipe_loads_and_lists_the_faces(folders: Path) -> None:
    call = ("new", "mine", str(folders / "labelled/train"), str(folders / "bare"), "--test", str(folders / "odd"))
    done = pairfld(*call, "--out", str(folders), "--json")
    told = json.loads(done.out)
    assert [(s["name"], s["kind"], s["faces"], s["left_out"]) for s in told["sources"]] == [
        ("labelled-train", "ibug", 1, 1),
        ("bare", "unlabelled", 1, 0),
        ("odd", "ibug", 1, 0),
    ]
    assert told["sources"][0]["points"] == 68
    assert "labels of 5 points: name their scheme" in told["sources"][2]["note"]
    recipe = load_recipe(told["recipe"])
    assert [source.split for source in recipe.data.sources] == ["auto", "train", "test"]
    assert len(list_samples(recipe.data).samples) == 3
    assert told["next"][0] == f"pairfld prepare --recipe {folders}/mine.yaml"


def test_labels_in_one_table_are_found_and_others_are_named(folders: Path) -> None:
    row = ",".join(f"{k % 9 + 0.5}" for k in range(102))
    (folders / "bare/labels.csv").write_text(f"a.png,{row}\n")
    done = pairfld("new", "mine", str(folders / "bare"), "--out", str(folders), "--json")
    (source,) = json.loads(done.out)["sources"]
    assert (source["kind"], source["path"], source["faces"]) == ("csv", str(folders / "bare/labels.csv"), 1)
    assert "note" not in source
    (folders / "bare/more.csv").write_text(f"a.png,{row}\n")
    done = pairfld("new", "other", str(folders / "bare"), "--out", str(folders), "--json")
    (source,) = json.loads(done.out)["sources"]
    assert source["kind"] == "unlabelled"
    assert source["note"].startswith("labels.csv, more.csv: several files of labels; name the one to use")
    done = pairfld("new", "third", str(folders / "odd"), "--test", str(folders / "bare"), "--out", str(folders))
    assert (done.code, "several files of labels" in done.err) == (2, True)
    with pytest.raises(PairError, match=r"expected labelled images, found labels\.csv, more\.csv: several files"):
        labelled_folder([folders / "bare"])


def test_what_is_there_is_kept(folders: Path) -> None:
    (folders / "mine.yaml").write_text("mine")
    done = pairfld("new", "mine", str(folders / "bare"), "--out", str(folders))
    assert done.code == 2
    assert "expected no earlier results, found a file of that name" in done.err
    assert (folders / "mine.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("new", "a/b", "bare"), "expected a plain name without slashes"),
        (("new", "x", "absent"), "expected a folder of images, or a label file, found none"),
        (("new", "x", "bare", "--test", "bare"), "expected labelled faces to measure on"),
    ],
)
def test_misuse_is_a_sentence(
    arguments: tuple[str, ...], sentence: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders)
    done = pairfld(*arguments)
    assert done.code == 2
    assert sentence in done.err
    assert not list(folders.glob("*.yaml"))
