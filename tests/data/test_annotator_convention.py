"""An annotator's answers brought to where a dataset's labels put the points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pair_fld.annotators.fit_scheme import fit_scheme
from pair_fld.annotators.images import data_of
from pair_fld.annotators.pairs import lookup_of, read_pairs
from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.annotator_convention import convention_of_dataset, own_convention
from pair_fld.data.conventions import move_points, symmetric
from pair_fld.data.dataset import FaceDataset
from pair_fld.data.packing.prepare import prepare
from pair_fld.runtime.landmark_files import read_one_face, write_faces
from pair_fld.train.annotator_teacher import annotator_predictions
from pair_fld.train.teacher_predictions import teacher_id, teacher_predictions
from tests.annotators.shapes import write_annotations, write_set

# the annotator's map is learnt from `plain`; `moved` are the same people's faces with other points, `held` with the
# opposite ones, and held back
SETS = {"plain": range(30), "moved": range(30, 60), "held": range(60, 84)}
_POINTS = np.zeros((51, 2))
_POINTS[31:37] = (0.0, 3.0)  # the upper lip 3 % of the eye distance lower, and on the whole nothing
OFFSETS = symmetric(_POINTS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The annotator's folder with its map, and the root of the labelled sets."""
    root = tmp_path_factory.mktemp("convention")
    for name, seeds in SETS.items():
        write_set(root, name, seeds)
    for name, sign in (("moved", 1.0), ("held", -1.0)):
        for path in (root / name / "labels").iterdir():
            points = move_points(read_one_face(path), sign * OFFSETS, np.ones(51, bool))
            write_faces(path, [points])
    labels = root / "annotator"
    write_annotations(labels, root, SETS)
    plain = DataConfig(sources=[SourceConfig(name="plain", kind="ibug", path="plain")], root=str(root))
    fit_scheme(read_pairs(lookup_of(str(labels), data_of), [plain]))[0].save(labels / "map.npz")
    return labels, root


def dataset_of(root: Path, folder: Path, *names: str, convention: tuple[str, ...] = ()) -> FaceDataset:
    sources = [
        SourceConfig(name=name, kind="ibug", path=name, split="valid" if name == "held" else "train") for name in names
    ]
    config = DataConfig(
        sources=sources, root=str(root), pack_size=96, num_workers=1, near_duplicate_distance=0, audit="off"
    )  # fmt: skip
    prepare(config, folder)
    if convention:
        record = json.loads((folder / "run.json").read_text())
        record["config"] |= {"convention": list(convention), "reference": {"labels": "-", "scheme": "-"}}
        (folder / "run.json").write_text(json.dumps(record))
    return FaceDataset(folder)


def test_it_is_learnt_from_training_faces_and_moves_the_answers(folders: tuple[Path, Path], tmp_path: Path) -> None:
    labels, root = folders
    dataset = dataset_of(root, tmp_path / "data", "moved", "held")
    reference, learnt = convention_of_dataset(labels, dataset)
    assert learnt.faces == {"moved": 30}
    np.testing.assert_allclose(learnt.offsets, OFFSETS, atol=0.4)
    rows = np.flatnonzero(dataset.faces.source == 0)
    truth = dataset.faces.points[rows]
    apart = [
        np.linalg.norm(annotator_predictions(one, dataset).points[rows] - truth, axis=-1).mean()
        for one in (own_convention(labels), reference)
    ]
    assert apart[1] < 0.5 * apart[0]


def test_it_is_that_of_the_sources_that_the_data_name(folders: tuple[Path, Path], tmp_path: Path) -> None:
    labels, root = folders
    both = dataset_of(root, tmp_path / "both", "plain", "moved")
    named = dataset_of(root, tmp_path / "named", "plain", "moved", convention=("moved",))
    assert both.data_hash == named.data_hash
    # the mean of two sources, one of which lies where the annotator's map does
    np.testing.assert_allclose(convention_of_dataset(labels, both)[1].offsets, OFFSETS / 2, atol=0.4)
    _, learnt = convention_of_dataset(labels, named)
    assert learnt.faces == {"moved": 30}
    np.testing.assert_allclose(learnt.offsets, OFFSETS, atol=0.4)
    # cached predictions of the one are not taken for the other's, and say how they were moved
    assert teacher_id([labels], both) != teacher_id([labels], named)
    teacher_predictions([labels], named, tmp_path / "cache", device="cpu")
    kept = json.loads(next((tmp_path / "cache").glob("*.json")).read_text())
    assert kept == learnt.to_json()
    assert kept["data_hash"] == named.data_hash


def test_too_few_faces_move_nothing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    labels, root = folders
    _, learnt = convention_of_dataset(labels, dataset_of(root, tmp_path / "data", "held"))
    assert not learnt.offsets.any()
    assert str(learnt).startswith("its answers stay as they are: too few training faces")
