import json
from pathlib import Path

import numpy as np
import pytest

from pair_fld.config import DataConfig, ReferenceConfig, SecondOpinionConfig, SourceConfig
from pair_fld.data.annotations import write_annotation
from pair_fld.data.dataset import FaceDataset, LabelSource
from pair_fld.data.packing.prepare import prepare
from pair_fld.data.sample import FLIPS_APART, NO_FACE
from pair_fld.data.second_opinion import with_what_is_there
from pair_fld.data.zero_points import face_unit
from pair_fld.errors import PairError
from pair_fld.io import write_json
from pair_fld.runtime.frame import Frame, place
from pair_fld.runtime.geometry import invert, transform_points
from pair_fld.runtime.landmark_files import write_faces
from tests.cli.command import pairfld
from tests.data.labelled_folders import face_image, identity_map, save_image

FACES = 4
EYES = float(np.linalg.norm(place(Frame((60, 60), 50, 0))[28] - place(Frame((60, 60), 50, 0))[19]))
RIGHT = np.array([EYES / 100, 0.0])  # 1 % of the eye distance


def label(face: int) -> np.ndarray:
    return place(Frame((60 + face, 60), 50, 0))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four labelled faces in set/, four images in bare/, and a reference of the 51 points themselves in ref/.

    Its answers on set/ lie 2 % to the right on the image and 4 % on the mirror image: 3 % in the mean. But for face 0,
    point 0: 20 % to the right; point 1: its flips lie 10 % apart; point 2: not labelled. Face 3 it does not find. On
    bare/ it answers faces 0 and 1; on face 1 its flips lie 10 % apart; it misses face 2, and face 3 on one flip.
    """
    for face in range(FACES):
        save_image(tmp_path / "set/images" / f"{face}.png", face_image(face))
        save_image(tmp_path / "bare" / f"{face}.png", face_image(10 + face))
        (tmp_path / "set/labels").mkdir(exist_ok=True)
        points = label(face)
        if face == 0:
            points[2] = -1
        write_faces(tmp_path / "set/labels" / f"{face}.pts", [points])
        answers = [label(face) + 2 * RIGHT, label(face) + 4 * RIGHT]
        if face == 0:
            for answer, apart in zip(answers, (-1, 1), strict=True):
                answer[0] += 17 * RIGHT
                answer[1] += 4 * apart * RIGHT
        for flip, answer in enumerate(answers):
            write_annotation(tmp_path / "ref", flip, f"set/images/{face}.png", None if face == 3 else answer)
            found = face < 2 or (face == 3 and flip == 0)
            bare = label(face) + (5 * (-1) ** flip * RIGHT if face == 1 else 0)
            write_annotation(tmp_path / "ref", flip, f"bare/{face}.png", bare if found else None)
    write_json(tmp_path / "ref/run.json", {"root": str(tmp_path), "annotator": "itself", "about": {"title": "itself"}})
    identity_map().save(tmp_path / "map.npz")
    return tmp_path


def config(root: Path, source: SourceConfig, **changes: object) -> DataConfig:
    reference = ReferenceConfig(labels=str(root / "ref"), scheme=str(root / "map.npz"))
    whole = DataConfig(sources=[source], root=str(root), pack_size=64, num_workers=1, near_duplicate_distance=0)
    return whole.model_copy(update={"reference": reference, **changes})


def in_image(dataset: FaceDataset, row: int) -> np.ndarray:
    return transform_points(invert(dataset.faces.matrix[row]), dataset.faces.points[row])


SET = SourceConfig(name="set", kind="ibug", path="set", split="train")
BARE = SourceConfig(
    name="bare", kind="unlabelled", path="bare", labels="none", split="train", box=(0.2, 0.2, 0.8, 0.8), relabel=True
)


def test_points_that_agree_are_averaged_and_the_others_stay(root: Path) -> None:
    report = prepare(config(root, SET, second_opinion=SecondOpinionConfig()), root / "pack")
    # 50 labelled points of face 0 less points 0 and 1, 51 of faces 1 and 2, none of face 3
    assert report["sources"][0]["second_opinion"] == {
        "labelled_points": 50 + 3 * 51,
        "averaged_points": 48 + 2 * 51,
        "filled_points": 0,
        "relabelled_faces": 0,
    }
    assert report["sources"][0]["annotator"] == {"title": "itself"}  # for the card of what learns from it
    dataset = FaceDataset(root / "pack")
    moved = label(1) + 0.35 * 3 * RIGHT  # the answers' mean lies 3 % to the right, and has a weight of 0.35
    np.testing.assert_allclose(in_image(dataset, 1), moved, atol=1e-3)
    first = label(0) + 0.35 * 3 * RIGHT
    first[[0, 1]] = label(0)[[0, 1]]
    known = np.arange(51) != 2
    assert dataset.faces.point_mask[0].tolist() == known.tolist()
    np.testing.assert_allclose(in_image(dataset, 0)[known], first[known], atol=1e-3)
    np.testing.assert_allclose(in_image(dataset, 3), label(3), atol=1e-3)
    assert set(dataset.faces.label.tolist()) == {LabelSource.HUMAN}


def test_a_lacking_point_is_filled_where_asked(root: Path) -> None:
    wish = SecondOpinionConfig(weight=0.0, fill_missing=True)
    report = prepare(config(root, SET.model_copy(update={"second_opinion": wish})), root / "pack")
    assert report["sources"][0]["second_opinion"]["filled_points"] == 1
    dataset = FaceDataset(root / "pack")
    assert dataset.faces.point_mask.all()
    np.testing.assert_allclose(in_image(dataset, 0)[2], label(0)[2] + 3 * RIGHT, atol=1e-3)
    np.testing.assert_allclose(in_image(dataset, 0)[3:], label(0)[3:], atol=1e-3)
    # of a face that contradicts the reference, nothing is filled: all answers lie 17 % off, but those of 20 points
    for flip in (0, 1):
        answer = label(0) + 17 * RIGHT
        answer[:20] = label(0)[:20]
        write_annotation(root / "ref", flip, "set/images/0.png", answer)
    again = prepare(config(root, SET.model_copy(update={"second_opinion": wish})), root / "again")
    assert again["sources"][0]["second_opinion"]["filled_points"] == 0


def test_answers_are_compared_at_the_labels_zero_point(root: Path) -> None:
    for face in range(4, 24):  # a shift is estimated from 20 faces on
        save_image(root / "set/images" / f"{face}.png", face_image(face))
        write_faces(root / "set/labels" / f"{face}.pts", [label(face) - 12 * RIGHT])
        for flip in (0, 1):
            write_annotation(root / "ref", flip, f"set/images/{face}.png", label(face))
    keep = config(root, SET, second_opinion=SecondOpinionConfig(weight=0.5))
    report = prepare(keep, root / "keep")
    # the set's median shift, 12 % to the left, is no disagreement: nothing moves but the odd first four
    assert report["sources"][0]["shift"]["x_percent"] == pytest.approx(-12, abs=0.05)
    dataset = FaceDataset(root / "keep")
    row = dataset.faces.path.tolist().index("set/images/20.png")
    np.testing.assert_allclose(in_image(dataset, row), label(20) - 12 * RIGHT, atol=0.02)
    assert report["sources"][0]["second_opinion"]["averaged_points"] == 20 * 51
    auto = SET.model_copy(update={"offset": "auto"})
    prepare(config(root, auto, second_opinion=SecondOpinionConfig(weight=0.5)), root / "auto")
    dataset = FaceDataset(root / "auto")
    np.testing.assert_allclose(in_image(dataset, row), label(20), atol=0.02)


def test_relabelled_faces_have_the_references_points_or_are_left_out(root: Path) -> None:
    report = prepare(config(root, BARE), root / "pack")
    assert report["left_out"] == {FLIPS_APART: 2, NO_FACE: 1}
    assert report["sources"][0]["second_opinion"]["relabelled_faces"] == 1
    dataset = FaceDataset(root / "pack")
    assert dataset.faces.label.tolist() == [LabelSource.MACHINE]
    np.testing.assert_allclose(in_image(dataset, 0), label(0), atol=1e-3)


def test_measured_faces_keep_their_labels(root: Path) -> None:
    test = SET.model_copy(update={"split": "test"})
    report = prepare(config(root, test, second_opinion=SecondOpinionConfig()), root / "pack")
    assert report["sources"][0]["second_opinion"] is None
    np.testing.assert_allclose(in_image(FaceDataset(root / "pack"), 1), label(1), atol=1e-3)
    asked = test.model_copy(update={"second_opinion": SecondOpinionConfig()})
    with pytest.raises(PairError, match="no `second_opinion` with split: test"):
        prepare(config(root, asked), root / "asked")
    off = SET.model_copy(update={"second_opinion": False})
    report = prepare(config(root, off, second_opinion=SecondOpinionConfig()), root / "off")
    assert report["sources"][0]["second_opinion"] is None


def test_without_the_reference(root: Path) -> None:
    with pytest.raises(PairError, match="expected a `reference` for its `relabel`, found none"):
        prepare(config(root, BARE, reference=None), root / "pack")
    gone = ReferenceConfig(labels=str(root / "gone"), scheme=str(root / "map.npz"))
    with pytest.raises(PairError, match="expected labels of an annotator, found none"):
        prepare(config(root, BARE, reference=gone), root / "pack")
    optional = config(root, BARE, reference=gone.model_copy(update={"optional": True}))
    assert (with_what_is_there(optional)[1] or "").startswith(f"no annotator's labels ({root / 'gone' / 'run.json'}")
    assert prepare(optional, root / "pack")["by_label"] == {"human": 0, "machine": 0, "none": 4}
    assert FaceDataset(root / "pack").config.reference is None  # as it was prepared


def test_a_map_of_another_annotator(root: Path) -> None:
    write_annotation(root / "ref", 0, "set/images/1.png", label(1)[:49])
    with pytest.raises(PairError, match="expected 51 points, as the map, found 49"):
        prepare(config(root, SET, second_opinion=SecondOpinionConfig()), root / "pack")


def test_the_table_counts_what_changed(root: Path) -> None:
    data = config(root, SET, second_opinion=SecondOpinionConfig(fill_missing=True))
    (root / "data.yaml").write_text(json.dumps(data.model_dump(mode="json", exclude_unset=True)))
    done = pairfld("prepare", "--data-config", str(root / "data.yaml"), "--out", str(root / "pack"))
    assert done.code == 0, done.err
    assert "74 % averaged, 1 filled" in done.out  # 150 of 203 points


def test_the_unit_of_a_turned_face_is_its_boxs() -> None:
    points = np.zeros((51, 2))
    points[28] = [50.0, 0.0]  # the outer corners, 19 and 28, are 50 apart; the box is 100 x 64, its root 80
    points[0] = [100.0, 64.0]
    assert face_unit(points, np.ones(51, bool)) == pytest.approx(0.79 * 80)
    points[0] = [50.0, 10.0]  # box 50 x 10: the eyes are further apart than 0.79 times its root
    assert face_unit(points, np.ones(51, bool)) == pytest.approx(50.0)
