"""COCO, CVAT, labelme, imglab, WFLW and AFLW2000-3D: files as their tools' documentation describes them, with a truth
made by hand."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pair_fld.config import SourceConfig
from pair_fld.data.load_face import load_crop, read_face
from pair_fld.data.point_map import PointMap
from pair_fld.data.sample import Labels
from pair_fld.data.schemes import load_scheme
from pair_fld.data.sources.base import Listed
from pair_fld.data.sources.listing import list_samples
from pair_fld.data.sources.usual import UsualSource, usual_source
from pair_fld.errors import PairError
from tests.data.labelled_folders import data_config, face_image, face_points, save_image

POINTS = face_points()
NAMES = load_scheme("pair51").names


def read(root: Path, kind: str, path: str, **settings: Any) -> Listed:
    source = SourceConfig.model_validate({"name": "s", "kind": kind, "path": path, **settings})
    return list_samples(data_config(root, source))


def labels_of(root: Path, kind: str, path: str, number: int = 0, **settings: Any) -> Labels:
    """The labels of one listed face as a loaded face has them."""
    source = SourceConfig.model_validate({"name": "s", "kind": kind, "path": path, **settings})
    labels = read_face(list_samples(data_config(root, source)).samples[number], source)[1]
    assert labels is not None
    return labels


def reasons(listed: Listed) -> list[tuple[str, str]]:
    return [(entry.reason, entry.sentence) for entry in listed.left_out]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save_image(tmp_path / "images" / "a.png", face_image())
    save_image(tmp_path / "images" / "b.png", face_image(1))
    return tmp_path


def coco(root: Path, annotations: list[dict[str, Any]], names: list[str] | None = None) -> None:
    tree = {
        "info": {"description": "by hand"},
        "images": [
            {"id": 7, "file_name": "a.png", "width": 120, "height": 120},
            {"id": 8, "file_name": "b.png", "width": 120, "height": 120},
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "face", "keypoints": names or [f"p{k}" for k in range(51)], "skeleton": []}],
    }
    (root / "faces.json").write_text(json.dumps(tree))


def triples(visibility: dict[int, int]) -> list[float]:
    """POINTS as x, y, v; v = 2 but where it is given."""
    return [float(v) for k, (x, y) in enumerate(POINTS) for v in (x, y, visibility.get(k, 2))]


def test_coco_masks_what_is_not_labelled_and_knows_what_is_hidden(root: Path) -> None:
    keypoints = triples({4: 0, 9: 1})
    keypoints[12:14] = [0.0, 0.0]  # point 4, as COCO writes a point that is not labelled
    face = {
        "id": 3,
        "image_id": 7,
        "category_id": 1,
        "keypoints": keypoints,
        "num_keypoints": 50,
        "bbox": [20, 25, 60, 70],
    }
    coco(root, [face, {"id": 4, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]}])
    listed = read(root, "coco", "faces.json")
    assert [(s.key, s.box) for s in listed.samples] == [("images/a.png#3", (20, 25, 80, 95))]
    assert reasons(listed) == [("image without labels", "faces.json: no keypoints for b.png")]
    labels = labels_of(root, "coco", "faces.json")
    assert np.flatnonzero(~labels.point_mask).tolist() == [4]
    assert {int(k): int(v) for k, v in enumerate(labels.visibility) if v} == {9: 1}
    np.testing.assert_array_equal(labels.points[labels.point_mask], np.delete(POINTS, 4, axis=0))


def test_coco_keypoints_are_ordered_by_their_names_where_these_are_known(root: Path) -> None:
    backwards = np.column_stack([POINTS, np.full(51, 2)])[::-1].ravel().tolist()
    coco(root, [{"id": 1, "image_id": 8, "category_id": 1, "keypoints": backwards}], list(NAMES[::-1]))
    np.testing.assert_array_equal(labels_of(root, "coco", "faces.json").points, POINTS)


def test_coco_annotations_that_contradict_the_format_get_a_sentence(root: Path) -> None:
    good = {"id": 1, "image_id": 7, "category_id": 1, "keypoints": triples({})}
    coco(root, [
        good,
        {**good, "id": 2, "keypoints": triples({})[:-1]},
        {**good, "id": 3, "keypoints": triples({5: 7})},
        {**good, "id": 4, "image_id": 99},
        {"id": 5, "category_id": 1, "keypoints": triples({})},
        {**good, "id": 6, "iscrowd": 1, "image_id": 8},
    ])  # fmt: skip
    assert [sentence for _, sentence in reasons(read(root, "coco", "faces.json"))] == [
        "faces.json, annotation 2: 152 numbers are no list of x, y, v",
        "faces.json, annotation 3: a visibility that is none of 0, 1, 2",
        "faces.json, annotation 4: no usable 99",
        "faces.json, annotation 5: no usable 'image_id'",
        "faces.json: no keypoints for b.png",
    ]


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>1</id><mode>annotation</mode></task></meta>
  <image id="0" name="images/a.png" width="120" height="120">
    <skeleton label="face" source="manual" z_order="0">
      <attribute name="glasses">true</attribute>
      {skeleton}
    </skeleton>
    <tag label="outdoors" source="manual"></tag>
  </image>
  <image id="1" name="b.png" width="120" height="120">
    <points label="face" source="manual" occluded="0" points="{points}" z_order="0"></points>
    <points label="face" source="manual" occluded="0" points="1,2;3" z_order="0"></points>
  </image>
  <image id="2" name="c.png" width="120" height="120"></image>
</annotations>
"""


def test_cvat_reads_skeletons_and_points(root: Path) -> None:
    order = np.random.default_rng(1).permutation(51)  # of the elements: their labels say which is which
    parts = "\n".join(
        f'<points label="{k + 1}" source="manual" outside="{int(k == 30)}" occluded="{int(k == 20)}" '
        f'points="{POINTS[k, 0]},{POINTS[k, 1]}"></points>'
        for k in order.tolist()
    )
    listed_points = ";".join(f"{x},{y}" for x, y in POINTS)
    (root / "annotations.xml").write_text(CVAT.format(skeleton=parts, points=listed_points))
    listed = read(root, "cvat", ".")
    assert [(s.path.name, s.tags) for s in listed.samples] == [("a.png", ("glasses=true",)), ("b.png", ())]
    assert [sentence for _, sentence in reasons(listed)] == [
        "annotations.xml, b.png, face 1: points '1,2;3' that are no x,y;x,y;...",
        "annotations.xml: no points or skeleton for c.png",
    ]
    skeleton = labels_of(root, "cvat", ".")
    assert np.flatnonzero(~skeleton.point_mask).tolist() == [30]  # outside: not labelled
    assert {int(k): int(v) for k, v in enumerate(skeleton.visibility) if v} == {20: 1}  # occluded
    np.testing.assert_array_equal(skeleton.points[skeleton.point_mask], np.delete(POINTS, 30, axis=0))
    plain = labels_of(root, "cvat", ".", 1)
    np.testing.assert_array_equal(plain.points, POINTS)


def labelme_shape(
    label: str, points: Any, kind: str = "point", group: int | None = None, **flags: bool
) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": group, "description": "", "shape_type": kind, "flags": flags}


def labelme(root: Path, name: str, shapes: list[dict[str, Any]], image: str = "a.png") -> None:
    tree = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None,
            "imageHeight": 120, "imageWidth": 120}  # fmt: skip
    (root / "images" / f"{name}.json").write_text(json.dumps(tree))


def test_labelme_reads_points_by_name_number_and_order(root: Path) -> None:
    named = [
        labelme_shape(NAMES[k], [POINTS[k].tolist()], group=1, occluded=k == 8, hidden=k == 5)
        for k in range(50, -1, -1)
        if k != 50
    ]
    numbered = [labelme_shape(str(k), [(POINTS[k] + 1).tolist()], group=2) for k in range(51)]
    labelme(root, "a", [*named, *numbered, labelme_shape("face", [[1, 1], [9, 9]], "rectangle")], r"..\images\a.png")
    labelme(root, "b", [labelme_shape("face", POINTS.tolist(), "linestrip")], "gone/b.png")
    listed = read(root, "labelme", "images")
    assert [s.key for s in listed.samples] == ["images/a.png#0", "images/a.png#1", "images/b.png"]
    first = labels_of(root, "labelme", "images", 0)
    assert np.flatnonzero(~first.point_mask).tolist() == [50]
    assert {int(k): int(v) for k, v in enumerate(first.visibility) if v} == {5: 2, 8: 1}
    np.testing.assert_array_equal(first.points[:50], POINTS[:50])
    np.testing.assert_array_equal(labels_of(root, "labelme", "images", 1).points, POINTS + 1)
    np.testing.assert_array_equal(labels_of(root, "labelme", "images", 2).points, POINTS)


def test_labelme_files_that_contradict_the_format_get_a_sentence(root: Path) -> None:
    labelme(root, "a", [labelme_shape("face", POINTS.tolist(), "linestrip")])
    save_image(root / "images" / "c.png", face_image(2))
    labelme(root, "c", [labelme_shape("ear", [[1, 2]])], "c.png")
    (root / "images" / "d.json").write_text('{"annotations": []}')
    (root / "images" / "e.json").write_text("{")
    sentences = [sentence for _, sentence in reasons(read(root, "labelme", "images"))]
    assert "c.json, c.png, face 0: 'ear' is neither a number nor a point's name" in sentences
    assert "b.png: no file of labelme names it" in sentences
    assert any("d.json: expected a labelme file (shapes, imagePath), found a JSON file" in s for s in sentences)
    assert any("e.json: expected a labelme file (shapes, imagePath), found damaged JSON" in s for s in sentences)
    assert len(sentences) == 4


def imglab(root: Path, parts: str, more: str = "") -> None:
    (root / "faces.xml").write_text(
        "<?xml version='1.0' encoding='ISO-8859-1'?>\n"
        "<?xml-stylesheet type='text/xsl' href='image_metadata_stylesheet.xsl'?>\n"
        "<dataset>\n<name>faces</name>\n<images>\n  <image file='images/a.png' width='120' height='120'>\n"
        f"    <box top='25' left='20' width='61' height='71'>\n{parts}    </box>\n{more}  </image>\n"
        "</images>\n</dataset>\n"
    )


def part(k: int, x: float, y: float) -> str:
    return f"      <part name='{k:02d}' x='{x}' y='{y}'/>\n"


def test_imglab_reads_numbered_parts(root: Path) -> None:
    jaw = np.full((17, 2), 50.0)
    whole = np.concatenate([jaw, POINTS])
    ignored = "    <box top='1' left='1' width='9' height='9' ignore='1'><part name='00' x='1' y='1'/></box>\n"
    imglab(root, "".join(part(k, *whole[k]) for k in range(67, -1, -1) if k != 17 + 11), ignored)
    listed = read(root, "imglab", "faces.xml")
    assert [(s.key, s.box) for s in listed.samples] == [("images/a.png", (20, 25, 81, 96))]
    labels = labels_of(root, "imglab", "faces.xml")
    assert np.flatnonzero(~labels.point_mask).tolist() == [11]
    np.testing.assert_array_equal(labels.points[labels.point_mask], np.delete(POINTS, 11, axis=0))


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (part(0, 1, 2) + part(0, 3, 4), "faces.xml, images/a.png, face 0: the point '00' twice"),
        ("".join(part(k, 1, 2) for k in range(51)).replace("x='1'", "x='one'"), "x='one' of a part is no number"),
        ("".join(part(k, 1, 2) for k in range(70)), "or a source with a `scheme`, found 70"),
    ],
)  # fmt: skip
def test_imglab_boxes_that_contradict_the_format_get_a_sentence(root: Path, parts: str, sentence: str) -> None:
    imglab(root, parts)
    with pytest.raises(PairError) as error:
        read(root, "imglab", "faces.xml")
    assert sentence in str(error.value)


def test_wflw_keeps_box_and_attributes(root: Path) -> None:
    points = np.random.default_rng(0).uniform(30, 90, (98, 2)).round(6)
    numbers = " ".join(f"{v:.6f}" for v in points.ravel())
    folder = root / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
    folder.mkdir(parents=True)
    save_image(root / "WFLW_images" / "0--Parade" / "0_Parade_1.png", face_image())
    lines = [
        f"{numbers} 20 25 81 96 1 0 0 0 1 0 0--Parade/0_Parade_1.png",
        f"{numbers} 20 25 81 96 0 0 0 0 0 0 0--Parade/gone.png",
        f"{numbers} 20 25 81 96 0--Parade/0_Parade_1.png",
    ]
    (folder / "list.txt").write_text("\n".join(lines))
    listed = read(root, "wflw", "WFLW_annotations/list_98pt_rect_attr_train_test/list.txt")
    assert [(s.key, s.box, s.tags) for s in listed.samples] == [
        ("WFLW_images/0--Parade/0_Parade_1.png#1", (20, 25, 81, 96), ("pose", "occlusion"))
    ]
    np.testing.assert_array_equal(listed.samples[0].points, points)
    assert [sentence for _, sentence in reasons(listed)] == [
        "list.txt, line 2: no image '0--Parade/gone.png'",
        "list.txt, line 3: expected 206 numbers and a path, found 201 fields",
    ]


def test_aflw2000_reads_the_points_of_matlab_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """scipy is no dependency: a stand-in gives what its loadmat gives for such a file."""
    (root / "images" / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    (root / "images" / "b.mat").write_bytes(b"cut short")
    whole = np.concatenate([np.full((17, 2), 50.0), POINTS])

    def loadmat(path: str) -> dict[str, np.ndarray]:
        if path.endswith("b.mat"):
            raise ValueError("Unknown mat file type")
        return {"pt3d_68": np.concatenate([whole, np.zeros((68, 1))], axis=1).T, "Pose_Para": np.zeros((1, 7))}

    stand_in = types.ModuleType("scipy.io")
    stand_in.loadmat = loadmat  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "scipy", types.ModuleType("scipy"))
    monkeypatch.setitem(sys.modules, "scipy.io", stand_in)
    listed = read(root, "aflw2000", "images")
    np.testing.assert_array_equal(listed.samples[0].points, whole)
    assert reasons(listed) == [("unreadable labels", "b.mat: no readable pt3d_68 (Unknown mat file type)")]
    monkeypatch.setitem(sys.modules, "scipy.io", None)  # as when it is not installed
    with pytest.raises(
        PairError, match=r"expected scipy, which reads MATLAB files, found none\. Run pip install scipy"
    ):
        read(root, "aflw2000", "images")


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        ("coco", '{"shapes": []}', "expected a COCO keypoints file (images, annotations), found a labelme file"),
        ("coco", "<annotations/>", "found a CVAT export (kind: cvat)"),
        ("coco", '{"images": ', "found damaged JSON"),
        ("cvat", "<dataset></dataset>", "found an imglab file of dlib (kind: imglab)"),
        ("cvat", "<annotations><track/></annotations>", "found one of CVAT for video. Export the task as"),
        ("cvat", "<annotations>", "found damaged XML"),
        ("imglab", "<annotations></annotations>", "found a CVAT export (kind: cvat)"),
        ("imglab", "image,x0,y0\n", "found no XML"),
        ("wflw", "image,x0,y0\n", "found 1 fields in the first line"),
        ("wflw", '{"images": [], "annotations": []}', "found a COCO file (kind: coco)"),
    ],
)  # fmt: skip
def test_label_files_of_another_kind_are_named(root: Path, kind: str, text: str, sentence: str) -> None:
    (root / "labels.file").write_text(text)
    with pytest.raises(PairError) as error:
        read(root, kind, "labels.file")
    assert sentence in str(error.value)


def test_a_loaded_face_carries_visibility_and_tags(root: Path) -> None:
    coco(root, [{"id": 1, "image_id": 7, "category_id": 1, "keypoints": triples({9: 1})}])
    (root / "tags.csv").write_text("name,pose,blur,size\na,1,0,113\n")
    (root / "hidden.csv").write_text("name,points_0_to_50\na," + "0" * 12 + "2" + "0" * 38 + "\n")
    source = SourceConfig(name="s", kind="coco", path="faces.json", tags="tags.csv", visibility="hidden.csv")
    sample = list_samples(data_config(root, source)).samples[0]
    crop = load_crop(sample, source, 48, 2.2)
    assert crop.tags == ("pose", "size=113")
    assert np.flatnonzero(crop.visibility).tolist() == [12]  # the table stands in place of COCO's v


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,p\na,0123\n", "a digit 0, 1 or 2 for each point, found '0123'"),
        ("name,p\nz,000\n", "expected the names of the images without suffix, first in each line, found none of a"),
        (None, "expected a table, found no file"),
    ],
)
def test_tables_beside_the_labels_that_do_not_fit_are_refused(root: Path, text: str | None, sentence: str) -> None:
    coco(root, [{"id": 1, "image_id": 7, "category_id": 1, "keypoints": triples({})}])
    if text is not None:
        (root / "hidden.csv").write_text(text)
    with pytest.raises(PairError) as error:
        read(root, "coco", "faces.json", visibility="hidden.csv")
    assert sentence in str(error.value)


@pytest.fixture
def half_map(root: Path) -> str:
    """A map of 20 points to 51 zeros: only what it is asked is of interest here."""
    reference = np.random.default_rng(3).uniform(-0.5, 0.5, (1, 20, 2))
    matrix = np.zeros((1, 41, 51, 2))
    numbers = np.zeros(1), np.array(0.0), np.array(9)
    PointMap(reference, matrix, np.ones(51, bool), *numbers).save(root / "map.npz")
    return str(root / "map.npz")


@pytest.mark.parametrize("kind", ["coco", "cvat", "labelme", "imglab"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_point_map_takes_numbered_points(root: Path, half_map: str, kind: str, first: int) -> None:
    """Points of a map's 20 in another order than their numbers', counted from 0 or from 1."""
    order = np.random.default_rng(2).permutation(20).tolist()
    names = [str(k + first) for k in order]
    path = {"coco": "faces.json", "cvat": ".", "labelme": "images", "imglab": "faces.xml"}[kind]
    if kind == "coco":
        keypoints = [v for k in order for v in (*POINTS[k].tolist(), 2)]
        coco(root, [{"id": 1, "image_id": 7, "category_id": 1, "keypoints": keypoints}], names)
    elif kind == "cvat":
        parts = "".join(
            f'<points label="{name}" outside="0" occluded="0" points="{POINTS[k, 0]},{POINTS[k, 1]}"/>'
            for k, name in zip(order, names, strict=True)
        )
        (root / "annotations.xml").write_text(CVAT.format(skeleton=parts, points="1,2"))
    elif kind == "labelme":
        labelme(root, "a", [labelme_shape(n, [POINTS[k].tolist()]) for k, n in zip(order, names, strict=True)])
    else:
        imglab(root, "".join(part(int(n), *POINTS[k]) for k, n in zip(order, names, strict=True)))
    points = read(root, kind, path, scheme=half_map).samples[0].points
    np.testing.assert_array_equal(points, POINTS[:20])


def test_a_point_map_has_no_names(root: Path, half_map: str) -> None:
    labelme(root, "a", [labelme_shape(NAMES[k], [POINTS[k].tolist()]) for k in range(20)])
    with pytest.raises(PairError, match="'brow_left_0' is neither a number nor a point's name"):
        read(root, "labelme", "images", scheme=half_map)


@pytest.mark.parametrize(
    ("files", "named", "kind"),
    [
        ({"a.csv": ""}, "a.csv", "csv"),
        ({"a.JSON": ""}, "a.JSON", "coco"),
        ({"a.txt": ""}, "a.txt", "wflw"),
        ({"a.xml": "<?xml version='1.0'?><dataset>"}, "a.xml", "imglab"),
        ({"a.xml": "<?xml version='1.0'?><annotations>"}, "a.xml", "cvat"),
        ({"s/annotations.xml": "", "s/images/a.jpg": ""}, "s", "cvat"),
        ({"s/afw/images/a.jpg": "", "s/afw/labels/a.pts": ""}, "s", "ivslab"),
        ({"s/ivslab_facial_train/IFPW/images/a.jpg": ""}, "s", "ivslab"),
        ({"s/a.pts": "", "s/b.json": ""}, "s", "ibug"),
        ({"s/deep/b.json": '{"shapes": []}', "s/c.json": ""}, "s", "labelme"),
        ({"s/b.mat": ""}, "s", "aflw2000"),
        ({"s/b.jpg": ""}, "s", "unlabelled"),
    ],
)
def test_what_is_named_without_its_kind(tmp_path: Path, files: dict[str, str], named: str, kind: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usual_source(tmp_path / named) == UsualSource(kind, tmp_path / named)


TABLE = "image," + ",".join(f"x{k},y{k}" for k in range(51)) + "\na.png" + ",1" * 102 + "\n"


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("labels.csv", TABLE, "csv"),
        ("labels.csv", TABLE.partition("\n")[2], "csv"),
        ("more/labels.xml", "<?xml version='1.0'?><dataset>", "imglab"),
        ("labels.xml", "<?xml version='1.0'?><annotations>", "cvat"),
        ("annotations/train.json", '{"images": [], "annotations": []}', "coco"),
    ],
)
def test_a_folder_goes_by_the_one_label_file_in_it(tmp_path: Path, name: str, text: str, kind: str) -> None:
    save_image(tmp_path / "s" / "images" / "a.png", face_image())
    (tmp_path / "s" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "s" / name).write_text(text)
    (tmp_path / "s" / "tags.csv").write_text("name,pose,blur\na,1,0\n")  # no labels
    assert usual_source(tmp_path / "s") == UsualSource(kind, tmp_path / "s" / name)


def test_a_folder_of_videos_goes_by_its_tables(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("videoID,personName\nv,p\n")
    assert usual_source(tmp_path) == UsualSource("ytf", tmp_path)


def test_labels_that_are_not_recognised_are_named(tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text("name,pose\na,1\n")
    assert usual_source(tmp_path).note == "tags.csv: no labels of a known kind"
    for name in ("train.csv", "valid.csv"):
        (tmp_path / name).write_text(TABLE)
    assert usual_source(tmp_path) == UsualSource(
        "unlabelled",
        tmp_path,
        "train.csv, valid.csv: several files of labels; name the one to use in place of the folder",
    )
