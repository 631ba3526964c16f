"""Where annotators put each point: estimated against a reference, brought together, and asked for in a sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pair_fld.config import DataConfig, PercentOffset, ReferenceConfig, SourceConfig
from pair_fld.data.annotations import write_annotation
from pair_fld.data.conventions import estimate_convention, mean_convention, move_points, rms, symmetric
from pair_fld.data.dataset import FaceDataset
from pair_fld.data.packing.prepare import prepare
from pair_fld.data.second_opinion import with_what_is_there
from pair_fld.data.zero_points import face_unit
from pair_fld.errors import PairError
from pair_fld.io import read_json, write_json
from pair_fld.runtime.frame import Frame, place
from pair_fld.runtime.geometry import invert, transform_points
from pair_fld.runtime.landmark_files import write_faces
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.scheme import FLIP
from tests.cli.command import pairfld
from tests.data.labelled_folders import face_image, identity_map, save_image

ALL = np.ones(51, bool)
BROWS = np.arange(51) < 10
UNIT = face_unit(MEAN_FACE, ALL)  # of a face of size 1
# brows 2 % lower, less the mean over the points: 10 of 51 points 2 % down are 20 / 51 % in the mean
LOW_BROWS = np.where(BROWS[:, None], [0.0, 2 - 20 / 51], [0.0, -20 / 51])


def turned(count: int) -> list[Frame]:
    return [Frame((100.0 + 3 * k, 90.0 - k), 50.0 + 2 * k, 40.0 * (k % 5) - 80) for k in range(count)]


def labelled(frames: list[Frame], offsets: np.ndarray, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N, 51, 2) at the mean face, and a reference from which they lie `offsets` and `shift` to the right."""
    labels = np.stack([place(frame) for frame in frames])
    moved = MEAN_FACE - (offsets + [shift, 0.0]) / 100 * UNIT
    return labels, np.stack([place(frame, moved) for frame in frames])


def test_the_mean_and_what_is_not_symmetric_are_taken_out() -> None:
    offsets = np.zeros((51, 2))
    offsets[0] = [1, 2]
    # point 0 less the mean: (1 - 1/51, 2 - 2/51); its mirror image, point 9: (-1/51, -2/51), mirrored (1/51, -2/51);
    # their mean: (1/2, 1 - 2/51). All others: (0, -2/51)
    expected = np.tile([0.0, -2 / 51], (51, 1))
    expected[[0, 9]] = [[0.5, 1 - 2 / 51], [-0.5, 1 - 2 / 51]]
    np.testing.assert_allclose(symmetric(offsets), expected, atol=1e-12)
    np.testing.assert_allclose(symmetric(offsets).mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(symmetric(offsets)[list(FLIP)] * [-1, 1], symmetric(offsets), atol=1e-12)


def test_a_convention_is_found_whatever_the_faces_place_size_and_roll() -> None:
    labels, reference = labelled(turned(21), LOW_BROWS, shift=1.0)
    apart = np.zeros((21, 51))
    labels[0, 0] += 1000  # no label lies 12 % off: face 0 does not count for this point
    apart[1] = 1000  # contradicts itself on its flips: face 1 does not count
    mask = np.ones((21, 51), bool)
    mask[2, 5] = False
    labels[2, 5] = 0
    found = estimate_convention(np.where(mask[..., None], labels, 0.0), reference, apart, mask)
    assert found is not None
    # points 0 and 5 are known from 19 faces alone; their mirror images, 9 and 4, from 20, stand in
    assert found.faces == 20
    # face 0 has another frame and unit for its stray point, but the median of 20 faces does not see it
    np.testing.assert_allclose(found.offsets, LOW_BROWS, atol=1e-9)
    # p = 10 / 51 of the points differ by 2 from the others: 2 sqrt(p (1 - p)) = 2 sqrt(410) / 51
    assert found.rms == pytest.approx(2 * np.sqrt(410) / 51)
    assert found.to_json()["points_percent"][0] == [0.0, 1.608]


def test_a_mirrored_data_set_has_the_same_convention() -> None:
    rng = np.random.default_rng(3)
    labels, reference = labelled(turned(20), rng.normal(0, 1, (51, 2)))
    apart, mask = np.zeros((20, 51)), np.ones((20, 51), bool)
    found = estimate_convention(labels, reference, apart, mask)
    mirrored = [points[:, list(FLIP)] * [-1.0, 1.0] for points in (labels, reference)]
    again = estimate_convention(mirrored[0], mirrored[1], apart, mask)
    assert found is not None
    assert again is not None
    assert found.rms > 0.3
    np.testing.assert_allclose(again.offsets, found.offsets, atol=1e-9)


def test_points_that_are_not_labelled() -> None:
    labels, reference = labelled(turned(20), LOW_BROWS)
    mask = np.tile(~BROWS, (20, 1))
    found = estimate_convention(labels, reference, np.zeros((20, 51)), mask)
    assert found is not None
    # without brows the others do not differ among themselves
    np.testing.assert_allclose(found.offsets[~BROWS], 0, atol=1e-9)
    assert np.isnan(found.offsets[BROWS]).all()
    assert found.to_json()["points_percent"][0] is None
    whole = estimate_convention(labels, reference, np.zeros((20, 51)), np.ones((20, 51), bool))
    assert whole is not None
    # y of brows, of `whole` alone: 2 - 20/51 = 4182/2601; of others, the half of -20/51: -510/2601.
    # less their mean, (10 * 4182 - 41 * 510) / 51 = 410 of 2601
    expected = np.where(BROWS[:, None], [0, 3772 / 2601], [0, -920 / 2601])
    np.testing.assert_allclose(mean_convention([found, whole]), expected, atol=1e-9)
    assert estimate_convention(labels, reference, np.zeros((20, 51)), np.zeros((20, 51), bool)) is None
    assert estimate_convention(labels, reference, np.full((20, 51), np.nan), mask) is None  # answered on one flip


def test_a_face_on_its_side_is_moved_along_its_own_axes() -> None:
    face = place(Frame((100, 100), 50, 90))  # turned clockwise: down in the face is left in the image
    down = np.tile([0.0, 10.0], (51, 1))
    np.testing.assert_allclose(move_points(face, down, ALL), face - [5 * UNIT, 0], atol=1e-9)
    np.testing.assert_allclose(move_points(face, down, BROWS)[~BROWS], face[~BROWS], atol=1e-12)
    nothing = np.zeros((51, 2))
    assert (move_points(nothing, down, ALL) == nothing).all()  # no face, no frame


FACES = 24
UP_BROWS = -0.5 * LOW_BROWS  # brows 1 % higher


def face(number: int) -> np.ndarray:
    return place(Frame((60 + number % 7, 60), 50, 10.0 * (number % 3)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Sets a, b and c of 24 labelled faces, bare/ of two images, and a reference of the 51 points in ref/.

    Against the reference a's brows lie 2 % lower, b's 1 % higher, c's where the reference's do. b's labels also lie 3 %
    to the right in the image.
    """
    offsets = {"a": LOW_BROWS, "b": UP_BROWS, "c": np.zeros((51, 2)), "bare": None}
    for number, (name, offset) in enumerate(offsets.items()):
        for k in range(2 if offset is None else FACES):
            image = tmp_path / name / ("." if offset is None else "images") / f"{k}.png"
            save_image(image, face_image(100 * number + k))
            for flip in (0, 1):
                write_annotation(tmp_path / "ref", flip, image.relative_to(tmp_path).as_posix(), face(k))
            if offset is not None:
                (tmp_path / name / "labels").mkdir(exist_ok=True)
                labels = move_points(face(k), offset, ALL) + [0.03 * 50 * UNIT if name == "b" else 0, 0]
                write_faces(tmp_path / name / "labels" / f"{k}.pts", [labels])
    write_json(tmp_path / "ref/run.json", {"root": str(tmp_path), "annotator": "itself"})
    identity_map().save(tmp_path / "map.npz")
    return tmp_path


def data(root: Path, **changes: Any) -> dict[str, Any]:
    """a is the convention, b is brought to it, c keeps its own, bare is labelled by the reference."""
    bare = {"name": "bare", "kind": "unlabelled", "path": "bare", "labels": "none", "box": [0, 0, 1, 1]}
    return {
        "root": str(root),
        "reference": {"labels": str(root / "ref"), "scheme": str(root / "map.npz")},
        "convention": ["a"],
        "sources": [
            {"name": "a", "kind": "ibug", "path": "a", "split": "train", "offset": "auto"},
            {"name": "b", "kind": "ibug", "path": "b", "split": "train", "offset": "convention"},
            {"name": "c", "kind": "ibug", "path": "c", "split": "train", "offset": "auto",
             "second_opinion": {"weight": 0.5}},
            {**bare, "split": "train", "relabel": True},
        ],
        "pack_size": 64, "num_workers": 1, "near_duplicate_distance": 0, **changes,
    }  # fmt: skip


def off_reference(dataset: FaceDataset, source: int) -> np.ndarray:
    """(51, 2): mean over a source's faces of label minus reference, percent, in the upright face."""
    faces, found = dataset.faces, []
    for row in np.flatnonzero(faces.source == source):
        frame = Frame((0, 0), UNIT * 50 / 100, 10.0 * (int(Path(faces.path[row]).stem) % 3))
        labels = transform_points(invert(faces.matrix[row]), faces.points[row])
        found.append((labels - face(int(Path(faces.path[row]).stem))) @ np.linalg.inv(place(frame, np.eye(2))))
    return np.mean(found, axis=0)


def test_labels_and_answers_come_to_the_convention_of_the_named_sources(root: Path) -> None:
    (root / "data.yaml").write_text(json.dumps(data(root)))
    done = pairfld("prepare", "--data-config", str(root / "data.yaml"), "--out", str(root / "pack"))
    assert done.code == 0, done.err
    assert re.findall(r"\d\.\d\d moved", done.out) == ["0.40 moved"]
    dataset = FaceDataset(root / "pack")
    close = 0.03  # percent: a label's own unit and roll are not quite those of the face that it was made from
    np.testing.assert_allclose(off_reference(dataset, 0), LOW_BROWS, atol=close)
    np.testing.assert_allclose(off_reference(dataset, 1), LOW_BROWS, atol=close)
    # c's own labels lie at the reference, whose answers are moved 2 % down at the brows and count half
    np.testing.assert_allclose(off_reference(dataset, 2), 0.5 * LOW_BROWS, atol=close)
    np.testing.assert_allclose(off_reference(dataset, 3), LOW_BROWS, atol=close)
    report = read_json(root / "pack/run.json", "record")["report"]
    low = pytest.approx(2 * np.sqrt(410) / 51, abs=0.01)
    assert report["convention"]["rms_percent"] == low
    assert [s["convention"] and s["convention"]["rms_percent"] for s in report["sources"]] == [
        low, pytest.approx(np.sqrt(410) / 51, abs=0.01), pytest.approx(0, abs=0.01), None,
    ]  # fmt: skip
    # what was added to b's labels: brows from 1 % up to 2 % down, less the mean
    moved = np.array(report["sources"][1]["offset"]["points"])
    np.testing.assert_allclose(moved, LOW_BROWS - UP_BROWS, atol=close)
    assert report["sources"][0]["offset"]["points"] is None


def test_what_is_prepared_needs_no_second_move(root: Path) -> None:
    config = DataConfig.model_validate_json(json.dumps(data(root)))
    prepare(config, root / "pack")
    dataset = FaceDataset(root / "pack")
    rows = np.flatnonzero(dataset.faces.source == 1)
    for row in rows:
        labels = transform_points(invert(dataset.faces.matrix[row]), dataset.faces.points[row])
        write_faces(root / "b/labels" / f"{Path(dataset.faces.path[row]).stem}.pts", [labels])
    again = prepare(config, root / "again")["sources"][1]
    assert np.abs(again["offset"]["percent"]).max() < 0.03
    assert rms(np.array(again["offset"]["points"])) < 0.03


def test_an_offset_of_each_point_can_be_given() -> None:
    moves = [[0.0, float(k < 10)] for k in range(51)]
    given = {"name": "a", "kind": "ibug", "path": "a", "offset": {"percent": [1, 0], "points": moves}}
    offset = SourceConfig.model_validate_json(json.dumps(given)).offset
    assert isinstance(offset, PercentOffset)
    assert offset.points is not None
    assert offset.points[9:11] == ((0.0, 1.0), (0.0, 0.0))
    given["offset"] = {"percent": [1, 0], "points": moves[:50]}
    with pytest.raises(ValidationError, match="at least 51 items"):
        SourceConfig.model_validate_json(json.dumps(given))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"convention": ["z"]}, "convention: there is no source 'z'"),
        ({"convention": ["bare"]}, "convention: source 'bare' has no labels of its own"),
        ({"convention": []}, "source 'b': `offset: convention` needs the data's `convention`"),
        ({"reference": None}, "convention: needs a `reference` to compare the sources with"),
        ({"split": "test"}, "source 'b': no `offset: convention` with split test"),
        ({"convention": ["b"], "split": "test"}, "convention: source 'b' has split test"),
    ],
)
def test_a_convention_that_cannot_be(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    whole = data(tmp_path)
    whole["sources"][1]["split"] = changes.pop("split", "train")
    (tmp_path / "data.yaml").write_text(json.dumps({**whole, **changes}))
    done = pairfld("prepare", "--data-config", str(tmp_path / "data.yaml"), "--out", str(tmp_path / "pack"))
    assert done.code == 2
    assert sentence in " ".join(done.err.split())
    assert not (tmp_path / "pack").exists()


def test_too_few_answers_for_a_convention(root: Path) -> None:
    config = DataConfig.model_validate_json(json.dumps(data(root)))
    for k in range(5):
        write_annotation(root / "ref", 1, f"a/images/{k}.png", None)
    with pytest.raises(PairError, match=r"are labelled and have answers .* on both flips\..*out of the data's `conv"):
        prepare(config, root / "pack")
    for k in range(5):
        write_annotation(root / "ref", 0, f"a/images/{k}.png", None)
    with pytest.raises(PairError, match="fewer than 20 faces are both labelled and in the reference"):
        prepare(config, root / "pack")


def test_without_an_optional_reference_labels_stay(root: Path) -> None:
    gone = ReferenceConfig(labels=str(root / "gone"), scheme=str(root / "map.npz"), optional=True)
    config = DataConfig.model_validate_json(json.dumps(data(root))).model_copy(update={"reference": gone})
    found, sentence = with_what_is_there(config)
    assert (found.convention, found.sources[1].offset) == ([], "keep")
    assert sentence is not None
    assert DataConfig.model_validate_json(found.model_dump_json()) == found  # as run.json keeps it
