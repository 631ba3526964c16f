"""Tables: read by the names of their columns, in any order, with any separator; contradictions are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pair_fld.config import SourceConfig
from pair_fld.data.load_face import load_crop
from pair_fld.data.schemes import load_scheme
from pair_fld.data.sources.base import Listed
from pair_fld.data.sources.listing import list_samples
from pair_fld.errors import PairError
from tests.data.labelled_folders import data_config, face_image, face_points, save_image

POINTS = face_points()
X, Y = [f"{v}" for v in POINTS[:, 0]], [f"{v}" for v in POINTS[:, 1]]
PAIRS = [f"{v}" for v in POINTS.ravel()]
X_NAMES, Y_NAMES = [f"x_{k}" for k in range(51)], [f"y_{k}" for k in range(51)]
PAIR_NAMES = [f"{axis}{k}" for k in range(51) for axis in "xy"]


def read(folder: Path, text: str, image: str = "a.png", **settings: object) -> Listed:
    """The samples of a table with this text, beside an image."""
    save_image(folder / image, face_image())
    (folder / "t.csv").write_text(text, encoding="utf-8")
    source = SourceConfig.model_validate({"name": "t", "kind": "csv", "path": "t.csv", **settings})
    return list_samples(data_config(folder, source))


def table(*rows: list[str], separator: str = ",") -> str:
    return "\n".join(separator.join(row) for row in rows) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        table(["image", *X_NAMES, *Y_NAMES], ["a.png", *X, *Y]),
        table(["image", *Y_NAMES, *X_NAMES], ["a.png", *Y, *X]),
        table([*PAIR_NAMES[::-1], "image"], [*PAIRS[::-1], "a.png"]),
        table(["image", *(f"landmark_{k}_{a}" for k in range(51) for a in "yx")],
              ["a.png", *(v for pair in zip(Y, X, strict=True) for v in pair)]),
        table(["", "file_name", *(f"{a}{k}" for k in range(1, 52) for a in "xy")], ["0", "a.png", *PAIRS]),
        table(["box_x1", "box_y1", "box_x2", "box_y2", "image", *PAIR_NAMES], ["1", "2", "3", "4", "a.png", *PAIRS]),
        table(["image", *PAIR_NAMES], ["a.png", *PAIRS], separator=";"),
        table(["image", *PAIR_NAMES], ["a.png", *(v.replace(".", ",") for v in PAIRS)], separator=";"),
        table(["image", *PAIR_NAMES], ["a.png", *PAIRS], separator="\t"),
        table(["image", *PAIR_NAMES], ["a.png", *PAIRS], separator=" "),
        table(["image", *PAIR_NAMES], ["a.png", *PAIRS], separator="|"),
        table(["path", *(f"v{k}" for k in range(102))], ["a.png", *PAIRS]),
        table(["path", *map(str, range(102))], ["a.png", *PAIRS]),
        table(["a.png", *PAIRS]),
        table(["7", "a.png", *PAIRS]),
        table(["a.png", *PAIRS, ""]),
        table(["image", *(f"{n}_{a}" for n in load_scheme("pair51").names[::-1] for a in "xy")],
              ["a.png", *(v for pair in zip(X[::-1], Y[::-1], strict=True) for v in pair)]),
    ],
    ids=["by axis", "y first", "reversed", "yx", "from 1", "with a box", "semicolons", "decimal commas", "tabs",
         "spaces", "bars", "v", "counted", "no names", "index", "trailing comma", "named points"],
)  # fmt: skip
def test_points_are_read_by_their_columns(tmp_path: Path, text: str) -> None:
    listed = read(tmp_path, text)
    assert listed.left_out == []
    np.testing.assert_array_equal(listed.samples[0].points, POINTS)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (["image", *X_NAMES, *Y_NAMES[:-1], "z_50"], "found 'x_50' without its y"),
        (["image", *X_NAMES[:-1], "x_49", *Y_NAMES], "found 'x_49' twice"),
        (["image", *X_NAMES[1:], *Y_NAMES], "expected an x and a y column for each point, found 'y_0' without its x"),
        (["image", *(n for n in X_NAMES + Y_NAMES if not n.endswith("_7"))], "found none of the number 7"),
        (["image", "age", "landmarks"], "expected columns named by point and axis, found image, age"),
    ],
)  # fmt: skip
def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path, header: list[str], sentence: str) -> None:
    with pytest.raises(PairError, match=sentence):
        read(tmp_path, table(header, ["a.png", *PAIRS, "1"][: len(header)]))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<?xml version='1.0'?>\n<dataset><images/></dataset>", "found an imglab file of dlib (kind: imglab)"),
        ("<?xml version='1.0'?>\n<annotations/>", "found a CVAT export (kind: cvat)"),
        ('{"images": [], "annotations": []}', "found a COCO file (kind: coco)"),
        ('{"shapes": []}', "found a labelme file (kind: labelme takes its folder)"),
        ("version: 1\nn_points: 51\n{\n}", "found a .pts label (kind: ibug takes its folder)"),
        (" ".join(["1.5"] * 206) + " a/b.jpg\n", "found a WFLW list (kind: wflw)"),
        ("", "found an empty file"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(PairError) as error:
        read(tmp_path, text)
    assert sentence in str(error.value)


def test_a_spreadsheet_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(PairError, match="found a zip archive or a spreadsheet"):
        list_samples(data_config(tmp_path, SourceConfig(name="t", kind="csv", path="t.csv")))


def test_lines_that_cannot_be_read_get_a_sentence_each(tmp_path: Path) -> None:
    holes = ["", "NA", *PAIRS[2:]]
    text = table(
        ["image", *PAIR_NAMES],
        ["a.png", *holes],
        ["gone.png", *PAIRS],
        ["a.png", *PAIRS[:-2]],
        ["a.png", "oops", *PAIRS[1:]],
        ["x" * 5000, *PAIRS],  # no file system has such a name
    )
    listed = read(tmp_path, text)
    assert [s.key for s in listed.samples] == ["a.png#2"]
    config = data_config(tmp_path, SourceConfig(name="t", kind="csv", path="t.csv"))
    assert np.flatnonzero(~load_crop(listed.samples[0], config.sources[0], 48, 2.2).point_mask).tolist() == [0]
    assert [(s.reason, s.sentence) for s in listed.left_out] == [
        ("labels without an image", "t.csv, line 3: no image 'gone.png'"),
        ("unreadable labels", "t.csv, line 4: 101 fields, expected 103 or more"),
        ("unreadable labels", "t.csv, line 5: 'oops' is no number"),
        ("labels without an image", f"t.csv, line 6: no image '{'x' * 80}'"),
    ]


def test_a_count_that_no_scheme_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        PairError, match=r"t.csv, line 1: expected 49, 51, 68 or 98 points, or a source with a `scheme`"
    ):
        read(tmp_path, table(["a.png", *PAIRS[:-2]]))


@pytest.mark.parametrize("name", [r"faces\set 1\a.png", "faces/set 1/a.png", "/data/of/another/machine/set 1/a.png"])
def test_paths_of_other_machines_are_found_from_their_end(tmp_path: Path, name: str) -> None:
    settings = {} if name.startswith("faces") else {"images": "faces"}
    listed = read(tmp_path, table([name, *PAIRS]), image="faces/set 1/a.png", **settings)
    assert listed.samples[0].path == tmp_path / "faces" / "set 1" / "a.png"
