from pathlib import Path

import numpy as np
import pytest

from pair_fld.annotators.fit_scheme import fit_scheme
from pair_fld.annotators.images import data_of
from pair_fld.annotators.pairs import lookup_of, read_pairs
from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.annotations import annotation_path, is_annotator
from pair_fld.data.annotator_convention import annotator_sha256, own_convention
from pair_fld.data.dataset import FaceDataset
from pair_fld.data.packing.prepare import prepare
from pair_fld.errors import PairError
from pair_fld.models.checkpoint import load_checkpoint
from pair_fld.train.annotator_teacher import NO_PREDICTION, annotator_predictions
from pair_fld.train.predict_dataset import LandmarkPredictions
from pair_fld.train.teacher_predictions import mixture, teacher_id, teacher_predictions
from tests.annotators.shapes import write_annotations, write_set
from tests.train.settings import TINY, stage, train_student

SEEDS = range(30)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FaceDataset]:
    """A folder of labels with its map, where face 4 was not found and face 6 on one flip only; and a dataset."""
    root = tmp_path_factory.mktemp("teacher")
    write_set(root, "set", SEEDS)
    labels = root / "labels"
    write_annotations(labels, root, {"set": SEEDS})
    config = DataConfig(
        sources=[SourceConfig(name="set", kind="ibug", path="set", split="train")],
        root=str(root), pack_size=64, num_workers=1, near_duplicate_distance=0,
    )  # fmt: skip
    fit_scheme(read_pairs(lookup_of(str(labels), data_of), [config]))[0].save(labels / "map.npz")
    for flip in (0, 1):
        annotation_path(labels, flip, "set/images/4.png").write_text("")
    annotation_path(labels, 1, "set/images/6.png").write_text("")
    prepare(config, root / "pack")
    return labels, FaceDataset(root / "pack")


def row_of(dataset: FaceDataset, seed: int) -> int:
    return dataset.faces.path.tolist().index(f"set/images/{seed}.png")


def test_its_predictions_are_its_points_and_its_doubt(data: tuple[Path, FaceDataset]):
    labels, dataset = data
    found = annotator_predictions(own_convention(labels), dataset)
    lost, single, good = (row_of(dataset, seed) for seed in (4, 6, 8))
    assert found.sigma[lost].min() >= NO_PREDICTION
    # the labels are what it learnt from: within a pixel of the packed crop
    np.testing.assert_allclose(found.points[good], dataset.faces.points[good], atol=1.0)
    assert found.sigma[single].mean() > 2 * found.sigma[good].mean()
    # 1.2 % of the frame's size along x and y, of a crop of 1.45 times that size
    assert found.sigma[good].min() >= 1.2 * np.sqrt(2) / 1.45 - 1e-3


def test_a_checkpoints_predictions_stand_where_it_has_none(data: tuple[Path, FaceDataset]):
    labels, dataset = data
    annotator = annotator_predictions(own_convention(labels), dataset)
    other = LandmarkPredictions(
        dataset.faces.points + np.float32(2),
        np.tile(np.eye(2, dtype=np.float32), (len(dataset), 51, 1, 1)),
        annotator.side,
    )
    both = mixture([annotator, other])
    lost, good = row_of(dataset, 4), row_of(dataset, 8)
    np.testing.assert_allclose(both.points[lost], other.points[lost])
    np.testing.assert_allclose(both.covariance[lost], other.covariance[lost], atol=1e-5)
    np.testing.assert_allclose(both.points[good], (annotator.points[good] + other.points[good]) / 2, atol=1e-3)
    # 2 pixels apart in x and in y: the mixture's variance has a share of 1 for each, beside the means of their own
    own = (annotator.covariance[good] + other.covariance[good]) / 2
    apart = ((annotator.points[good] - other.points[good]) / 2) ** 2
    variances = np.diagonal(both.covariance[good] - own, axis1=1, axis2=2)
    np.testing.assert_allclose(variances, apart, atol=1e-3)


def test_faces_that_nobody_predicts_weigh_nothing(data: tuple[Path, FaceDataset], tmp_path: Path):
    labels, dataset = data
    found = teacher_predictions([labels], dataset, tmp_path, device="cpu")
    assert np.isfinite(found.points).all()
    lost = row_of(dataset, 4)
    assert found.sigma[lost].min() > 100
    again = teacher_predictions([labels], dataset, tmp_path, device="cpu")  # from the cache
    np.testing.assert_array_equal(found.points, again.points)
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_what_is_an_annotator(data: tuple[Path, FaceDataset], tmp_path: Path):
    labels, dataset = data
    assert is_annotator(labels)
    assert not is_annotator(dataset.folder)
    bare = tmp_path / "bare"
    write_annotations(bare, tmp_path, {"set": range(1)})
    with pytest.raises(PairError, match=r"expected a point map \(\.npz\), found no such file"):
        annotator_sha256(bare)


def test_a_students_record_says_how_its_teachers_answers_were_moved(data: tuple[Path, FaceDataset], tmp_path: Path):
    labels, dataset = data
    student = train_student(
        stage(TINY, epochs=1, losses={"kd_wing": 1.0}, batch_size=4), dataset, [labels], tmp_path / "student"
    )
    record = load_checkpoint(student)["record"]
    assert record["teacher"] == teacher_id([labels], dataset)
    [about] = record["annotators"]
    assert about["convention"]["training_faces"] == {"set": 28}  # of 30; one not found, one on one flip only
    # the map is learnt from these very labels: what is left is noise
    assert about["convention"]["rms_percent"] < 0.5
