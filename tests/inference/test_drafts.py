"""Drafts for annotation tools come back as sources with every digit, and with what a person corrected."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pair_fld.config import SourceConfig
from pair_fld.data.load_face import read_face
from pair_fld.data.sample import Labels
from pair_fld.data.sources.listing import list_samples
from pair_fld.inference.drafts import Draft, write_coco, write_labelme
from tests.data.labelled_folders import SIDE, data_config, face_image, save_image

FACES = [np.random.default_rng(seed).uniform(0, SIDE, (51, 2)) for seed in range(3)]  # all digits of a float


@pytest.fixture
def drafts(tmp_path: Path) -> list[Draft]:
    paths = [
        tmp_path / "photos" / "sub" / "ünï cödé.png",
        tmp_path / "photos" / "b.png",
        tmp_path / "photos" / "empty.png",
    ]
    for path in paths:
        save_image(path, face_image())
    return [
        Draft(paths[0], (SIDE, SIDE), FACES[:2]),
        Draft(paths[1], (SIDE, SIDE), FACES[2:]),
        Draft(paths[2], (SIDE, SIDE), []),
    ]


def read_back(root: Path, kind: str, path: str) -> dict[str, list[Labels]]:
    """The labels by image name, as prepare reads them."""
    source = SourceConfig.model_validate({"name": "drafts", "kind": kind, "path": path})
    found: dict[str, list[Labels]] = {}
    for sample in list_samples(data_config(root, source)).samples:
        labels = read_face(sample, source)[1]
        assert labels is not None
        found.setdefault(sample.path.name, []).append(labels)
    return found


def write(drafts: list[Draft], kind: str, folder: Path) -> None:
    if kind == "coco":
        write_coco(folder / "drafts.json", drafts)
    else:
        for draft in drafts:
            write_labelme(folder / "drafts" / f"{draft.image.stem}.json", draft)


@pytest.mark.parametrize(("kind", "path"), [("coco", "drafts.json"), ("labelme", "drafts")])
def test_nothing_is_lost_on_the_way_there_and_back(tmp_path: Path, drafts: list[Draft], kind: str, path: str) -> None:
    write(drafts, kind, tmp_path)
    back = read_back(tmp_path, kind, path)
    assert sorted(back) == ["b.png", "ünï cödé.png"]
    for draft in drafts[:2]:
        for labels, face in zip(back[draft.image.name], draft.faces, strict=True):
            np.testing.assert_array_equal(labels.points, face)
            assert labels.point_mask.all()
            assert not labels.visibility.any()


def test_corrections_in_coco_come_back(tmp_path: Path, drafts: list[Draft]) -> None:
    """As a tool writes them: one point moved, one not visible, one taken away."""
    write(drafts, "coco", tmp_path)
    tree = json.loads((tmp_path / "drafts.json").read_text(encoding="utf-8"))
    keypoints = tree["annotations"][2]["keypoints"]  # of the one face in b.png
    keypoints[0:3], keypoints[3 * 7 + 2], keypoints[3 * 9 : 3 * 10] = [12.5, 13.25, 2], 1, [0, 0, 0]
    (tmp_path / "drafts.json").write_text(json.dumps(tree), encoding="utf-8")
    (labels,) = read_back(tmp_path, "coco", "drafts.json")["b.png"]
    assert labels.points[0].tolist() == [12.5, 13.25]
    assert np.flatnonzero(labels.visibility).tolist() == [7]
    assert np.flatnonzero(~labels.point_mask).tolist() == [9]
    rest = np.delete(np.arange(51), [0, 9])
    np.testing.assert_array_equal(labels.points[rest], FACES[2][rest])


def test_corrections_in_labelme_come_back(tmp_path: Path, drafts: list[Draft]) -> None:
    write(drafts, "labelme", tmp_path)
    path = tmp_path / "drafts" / "b.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["shapes"][0]["points"] = [[12.5, 13.25]]
    tree["shapes"][7]["flags"] = {"occluded": True}
    del tree["shapes"][9]
    tree["shapes"].reverse()  # the order of shapes says nothing
    path.write_text(json.dumps(tree), encoding="utf-8")
    (labels,) = read_back(tmp_path, "labelme", "drafts")["b.png"]
    assert labels.points[0].tolist() == [12.5, 13.25]
    assert np.flatnonzero(labels.visibility).tolist() == [7]
    assert np.flatnonzero(~labels.point_mask).tolist() == [9]


def test_a_coco_file_holds_what_tools_ask_for(tmp_path: Path, drafts: list[Draft]) -> None:
    """cocodataset.org, "Data format": the fields of images, annotations and categories for keypoints."""
    write(drafts, "coco", tmp_path)
    tree = json.loads((tmp_path / "drafts.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in tree["images"]] == [
        "photos/sub/ünï cödé.png",
        "photos/b.png",
        "photos/empty.png",
    ]
    assert all({"id", "width", "height"} <= set(image) for image in tree["images"])
    face = tree["annotations"][0]
    assert (len(face["keypoints"]), face["num_keypoints"], face["iscrowd"]) == (153, 51, 0)
    low, high = FACES[0].min(axis=0), FACES[0].max(axis=0)
    assert face["bbox"] == [*low, *(high - low)]
    category = tree["categories"][0]
    assert category["keypoints"][19] == "eye_left_0"
    assert [20, 21] in category["skeleton"]  # eye_left_0 to eye_left_1, counted from 1
    assert {end for edge in category["skeleton"] for end in edge} == set(range(1, 52))
