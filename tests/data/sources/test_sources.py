"""Formats: what each source lists, in which order, and the sentence for everything that has no partner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pair_fld.config import SourceConfig
from pair_fld.data.dataset import LabelSource
from pair_fld.data.load_face import load_crop
from pair_fld.data.sources.listing import list_samples
from pair_fld.data.sources.ytf import YTF_FRAMES
from pair_fld.errors import PairError
from pair_fld.runtime.geometry import invert, transform_points
from pair_fld.runtime.landmark_files import write_faces
from tests.data.labelled_folders import add_face, data_config, face_image, face_points, save_image


def test_ibug_pairs_by_name_in_two_folders_and_reports_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    add_face(folder, "b", 1)
    add_face(folder, "a", 0)
    save_image(folder / "images" / "lonely.jpg", face_image(2))
    write_faces(folder / "labels" / "orphan.pts", [face_points()])
    save_image(folder / "images" / "a.jpg", face_image(3))  # sorts before a.png and takes the label
    config = data_config(tmp_path, SourceConfig(name="s", kind="ibug", path="set"))
    listed = list_samples(config)
    samples, skipped = listed.samples, listed.left_out
    assert [s.key for s in samples] == ["set/images/a.jpg", "set/images/b.png"]
    assert [(s.path, s.reason, s.sentence) for s in skipped] == [
        ("set/images/a.png", "second image of one label", "a.png: its label already belongs to a.jpg"),
        (
            "set/images/lonely.jpg",
            "image without labels",
            "lonely.jpg: no lonely.pts beside it or in labels/",
        ),
        (
            "set/labels/orphan.pts",
            "labels without an image",
            "orphan.pts: no image orphan.jpg, .png, ... in images/",
        ),
    ]


def test_ibug_beside_each_other_in_subfolders_ignores_hidden_files(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "Bild 1 übung"
    save_image(folder / "gesicht ä.PNG".replace("PNG", "png"), face_image())
    write_faces(folder / "gesicht ä.pts", [face_points()])
    save_image(folder / "._gesicht ä.png", face_image())
    config = data_config(tmp_path, SourceConfig(name="s", kind="ibug", path="deep"))
    listed = list_samples(config)
    samples, skipped = listed.samples, listed.left_out
    assert [s.key for s in samples] == ["deep/Bild 1 übung/gesicht ä.png"]
    assert skipped == []
    crop = load_crop(samples[0], config.sources[0], 48, 2.2)
    back = transform_points(invert(crop.matrix), crop.points)
    assert np.abs(back - face_points()).max() < 1e-3


def test_ivslab_takes_the_contest_folders_and_only_51_points(tmp_path: Path) -> None:
    train = tmp_path / "ivslab_facial_train"
    add_face(train / "IFPW", "x", 0)
    add_face(train / "300W", "x", 1)
    add_face(train / "other", "x", 2)  # no folder of the contest
    config = data_config(tmp_path, SourceConfig(name="c", kind="ivslab", path="."))
    samples = list_samples(config).samples
    assert [s.key for s in samples] == [
        "ivslab_facial_train/300W/images/x.png",
        "ivslab_facial_train/IFPW/images/x.png",
    ]
    empty = tmp_path / "none"
    empty.mkdir()
    with pytest.raises(PairError, match="300W/, afw/, helen/, ibug/, IFPW/ with images/ and labels/ in them"):
        list_samples(data_config(tmp_path, SourceConfig(name="c", kind="ivslab", path="none")))


@pytest.mark.parametrize(
    ("count", "masked", "label"),
    [(49, [43, 47], LabelSource.HUMAN), (68, [], LabelSource.HUMAN), (98, [], LabelSource.MACHINE)],
)
def test_other_schemes_are_brought_to_51(tmp_path: Path, count: int, masked: list[int], label: int) -> None:
    points = np.random.default_rng(0).uniform(30, 90, (count, 2))
    add_face(tmp_path / "set", "a", 0, points)
    config = data_config(tmp_path, SourceConfig(name="s", kind="ibug", path="set"))
    crop = load_crop(list_samples(config).samples[0], config.sources[0], 48, 2.2)
    assert np.flatnonzero(~crop.point_mask).tolist() == masked
    assert (crop.points[masked] == 0).all()
    assert crop.label == label
    # point 30 of iBUG 68 is 13 of the contest; WFLW 54 is the same tip of the nose; 49 keeps its number
    tip = points[{49: 13, 68: 30, 98: 54}[count]]
    assert transform_points(invert(crop.matrix), crop.points[13]) == pytest.approx(tip, abs=2e-3)


def test_ytf_takes_spaced_frames_as_bgr_and_names_the_person(tmp_path: Path) -> None:
    frames = 3 * YTF_FRAMES
    points = np.random.default_rng(0).uniform(30, 90, (68, 2, frames))
    red = np.zeros((120, 120, 3, frames), np.uint8)
    red[:, :, 0] = 200  # RGB
    (tmp_path / "videos_1").mkdir()
    np.savez(tmp_path / "videos_1" / "Ann_Lee_0.npz", colorImages=red, landmarks2D=points)
    (tmp_path / "videos_1" / "Bob_0.npz").write_bytes(b"PK\x03\x04 cut short")
    table = "videoID,personName,videoDuration\nAnn_Lee_0,Ann Lee,24\nBob_0,Bob,9\nCy_0,Cy,9\n"
    (tmp_path / "full.csv").write_text(table)
    (tmp_path / "large.csv").write_text(table.replace("Cy_0,Cy,9\n", ""))
    config = data_config(tmp_path, SourceConfig(name="y", kind="ytf", path="."))
    listed = list_samples(config)
    samples, skipped = listed.samples, listed.left_out
    assert [s.key for s in samples][:2] == ["videos_1/Ann_Lee_0.npz#0", "videos_1/Ann_Lee_0.npz#3"]
    assert len(samples) == YTF_FRAMES
    assert samples[-1].index == frames - 1
    assert {s.identity for s in samples} == {"Ann_Lee"}
    crop = load_crop(samples[1], config.sources[0], 48, 2.2)
    assert crop.image[24, 24].tolist() == [0, 0, 200]
    assert transform_points(invert(crop.matrix), crop.points[0]) == pytest.approx(points[17, :, 3], abs=1e-3)
    assert [(s.path, s.reason) for s in skipped] == [
        ("videos_1/Bob_0.npz", "unreadable labels"),
        ("Cy_0.npz", "labels without an image"),
    ]


def test_unlabelled_uses_the_box_as_fractions_of_the_image(tmp_path: Path) -> None:
    save_image(tmp_path / "u" / "a.png", np.full((100, 200, 3), 7, np.uint8))
    source = SourceConfig(name="u", kind="unlabelled", path="u", labels="none", box=(0.25, 0.5, 0.75, 1.0))
    config = data_config(tmp_path, source)
    crop = load_crop(list_samples(config).samples[0], source, 48, 2.0)
    # 200 x 100 pixels span [-0.5, 199.5] x [-0.5, 99.5]
    assert crop.box_img.tolist() == [49.5, 49.5, 149.5, 99.5]
    # longer side 100 -> crop of 200 image pixels on 48: the frame has size 24 about the centre 23.5
    assert crop.frame.tolist() == [23.5, 23.5, 24.0, 0.0]
    assert crop.label == LabelSource.NONE
    assert not crop.point_mask.any()
    boxless = source.model_copy(update={"box": None})
    with pytest.raises(PairError, match=r"expected a face box, found None\. Give .x0, y0, x1, y1. as fractions"):
        list_samples(data_config(tmp_path, boxless))


def test_identity_is_the_first_group_of_the_expression(tmp_path: Path) -> None:
    for seed, name in enumerate(["Ann_Lee_01a", "Ann_Lee_02b", "odd"]):
        add_face(tmp_path / "set", name, seed)
    source = SourceConfig(name="s", kind="ibug", path="set", identity=r"^(.+)_\d+[ab]\.")
    samples = list_samples(data_config(tmp_path, source)).samples
    assert [s.identity for s in samples] == ["Ann_Lee", "Ann_Lee", None]
    for pattern, wording in (("(", "a regular expression"), ("Ann", "expected a group, found 'Ann'")):
        with pytest.raises(PairError, match=wording):
            list_samples(data_config(tmp_path, source.model_copy(update={"identity": pattern})))


@pytest.mark.parametrize(
    ("source", "wording"),
    [
        ({"kind": "ibug", "path": "gone"}, "no such file or folder. Correct the source's `path` or `root`"),
        ({"kind": "ibug"}, "expected a `path`, found none. Give the folder, relative to `root`."),
        ({"kind": "ibug", "path": "empty"}, "expected faces of kind 'ibug', found none. Check the source's"),
        ({"kind": "ytf", "path": "empty"}, "expected a .csv of videos, found none."),
        ({"kind": "csv", "path": "empty"}, "found a folder. Give the file's path."),
        ({"kind": "ibug", "path": "file.txt"}, "found a file. Give the folder's path."),
        ({"kind": "synthetic"}, "expected `count` of at least 1, found 0. Say how many faces to render."),
    ],
)
def test_unusable_sources_get_a_sentence(tmp_path: Path, source: dict[str, str], wording: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(PairError) as error:
        list_samples(data_config(tmp_path, SourceConfig.model_validate({"name": "s", **source})))
    assert wording in str(error.value)


def test_sources_need_different_names(tmp_path: Path) -> None:
    source = SourceConfig(name="s", kind="synthetic", count=1)
    with pytest.raises(PairError, match="expected sources of different names, found s, s"):
        list_samples(data_config(tmp_path, source, source))
    with pytest.raises(PairError, match="expected at least one source, found none"):
        list_samples(data_config(tmp_path))
