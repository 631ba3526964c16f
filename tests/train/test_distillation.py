"""What teachers give: answers over several views and teachers, filled gaps, live maps, projected features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pair_fld.config import AugmentConfig, DistillConfig, ModelConfig
from pair_fld.data.augment.geometric import (
    covariance_to_pack,
    covariance_to_view,
    mirror_views,
    points_to_pack,
    points_to_view,
    rotate_views,
    sample_views,
)
from pair_fld.data.dataset import FaceDataset, LabelSource
from pair_fld.errors import PairError
from pair_fld.models.checkpoint import load_checkpoint, load_model
from pair_fld.runtime.scheme import FLIP
from pair_fld.train.batches import BatchSource
from pair_fld.train.predict_dataset import LandmarkPredictions, predict_dataset
from pair_fld.train.resume import LAST
from pair_fld.train.teacher import DistillationTeacher
from pair_fld.train.teacher_predictions import teacher_id, teacher_predictions
from tests.train.settings import HEAT, TINY, stage, train, train_student, weights

CPU = torch.device("cpu")
ATTENTION = ModelConfig(
    arch="heatmap_unet", input_size=64, options={"widths": [16, 24], "blocks": [1, 1], "head": "attention"}
)


@pytest.fixture(scope="module")
def teachers(dot_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Checkpoints of a heatmap net, of one with attention, and of a coordinate net."""
    folder, dataset = tmp_path_factory.mktemp("teachers"), FaceDataset(dot_pack)
    heat, paper = {"wing": 1.0, "heatmap": 1.0}, {"star": 1.0, "awing_points": 10.0, "awing_edges": 10.0}
    stages = [stage(HEAT, losses=heat), stage(ATTENTION, losses=paper), stage(TINY, seed=1)]
    return [train(s, dataset, folder / str(k)) for k, s in enumerate(stages)]


def views(count: int, seed: int = 0) -> tuple[torch.Tensor, object]:
    rng = np.random.default_rng(seed)
    frames = torch.tensor([[45.0, 52.5, 55.0, 0.0]]).repeat(count, 1)  # centre x, y, size, roll
    return frames, sample_views(frames, 96, 1.45, AugmentConfig(rotation=30, scale=0.2), rng)


def test_covariances_move_as_their_points_do() -> None:
    """The covariance of points scattered in the dataset is, seen in a view, the covariance of the points seen there."""
    _, seen = views(4)
    rng = np.random.default_rng(1)
    scattered = torch.from_numpy(rng.multivariate_normal([50, 55], [[9, 4], [4, 5]], (4, 51))).float()
    cloud = torch.from_numpy(rng.multivariate_normal([0, 0], [[9, 4], [4, 5]], 20000)).float()
    in_view = covariance_to_view(torch.tensor([[9.0, 4.0], [4.0, 5.0]]).expand(4, 51, 2, 2), seen, 96)  # type: ignore
    for k in range(4):
        one = scattered[k : k + 1, :1] + cloud[None]
        mine = type(seen)(seen.linear[k : k + 1], seen.offset[k : k + 1], torch.zeros(1, dtype=torch.bool))  # type: ignore
        points = (one / 48 + 1 / 96 - 1 - mine.offset[:, None]) @ torch.linalg.inv(mine.linear).mT
        torch.testing.assert_close(in_view[k, 0], torch.cov(points[0].T), atol=0, rtol=0.05)
    back = covariance_to_pack(in_view, seen, 96)  # type: ignore[arg-type]
    torch.testing.assert_close(back, torch.tensor([[9.0, 4.0], [4.0, 5.0]]).expand(4, 51, 2, 2), atol=1e-4, rtol=0)


def test_turned_and_mirrored_views_give_their_points_back() -> None:
    _, seen = views(3)
    for other in (rotate_views(seen, 8, 1.06), mirror_views(seen)):  # type: ignore[arg-type]
        points = torch.rand(3, 51, 2) * 60 + 20
        there = points_to_view(points, other, 96)
        torch.testing.assert_close(points_to_pack(there, other, 96), points, atol=1e-4, rtol=0)
    plain, mirrored = points_to_view(points, seen, 96), points_to_view(points, mirror_views(seen), 96)  # type: ignore
    torch.testing.assert_close(mirrored, (plain * torch.tensor([-1.0, 1.0]))[:, list(FLIP)], atol=1e-5, rtol=0)
    turned = points_to_view(points, rotate_views(seen, 90, 2.0), 96)  # type: ignore[arg-type]
    # what was at (x, y) is, in a view turned by 90 degrees that shows twice as much, at (y, -x) / 2
    torch.testing.assert_close(turned, torch.stack([plain[..., 1], -plain[..., 0]], -1) / 2, atol=1e-5, rtol=0)


def test_an_answer_over_views_is_their_mixture(dot_pack: Path, teachers: list[Path]) -> None:
    dataset, rows = FaceDataset(dot_pack), np.arange(5)
    model, _ = load_model(teachers[0])
    plain, both = predict_dataset(model, dataset, rows), predict_dataset(model, dataset, rows, views=2)
    mirrored = 2 * both.points - plain.points
    off = (plain.points - mirrored) / 2  # two values x, y have the variance ((x - y) / 2)^2
    grown = both.covariance - plain.covariance / 2 - off[..., :, None] * off[..., None, :]
    # what is left is half the mirrored view's own covariance: positive, and about as large as the plain one's
    ratio = np.trace(2 * grown, axis1=-2, axis2=-1) / np.trace(plain.covariance, axis1=-2, axis2=-1)
    assert 0.5 < np.median(ratio) < 2
    assert (np.linalg.eigvalsh(2 * grown) > -1e-3).all()
    coords, _ = load_model(teachers[2])
    assert np.abs(predict_dataset(coords, dataset, rows).covariance).max() == 0
    six = predict_dataset(coords, dataset, rows, views=6)
    assert (six.sigma > 0).all()  # a net of plain coordinates is as unsure as its views disagree
    assert not np.array_equal(six.points, predict_dataset(coords, dataset, rows, views=2).points)


def test_several_teachers_answer_together(dot_pack: Path, teachers: list[Path], tmp_path: Path) -> None:
    dataset = FaceDataset(dot_pack)
    a, b = (teacher_predictions([path], dataset, tmp_path) for path in teachers[:2])
    both = teacher_predictions(teachers[:2], dataset, tmp_path)
    np.testing.assert_allclose(both.points, (a.points + b.points) / 2, atol=1e-4)
    off = (a.points - b.points) / 2
    expected = (a.covariance + b.covariance) / 2 + off[..., :, None] * off[..., None, :]
    np.testing.assert_allclose(both.covariance, expected, atol=1e-3)
    student = train_student(stage(TINY, epochs=1, losses={"kd_wing": 1.0}), dataset, teachers[:2], tmp_path / "student")
    assert load_checkpoint(student)["record"]["teacher"] == teacher_id(teachers[:2], dataset)
    assert teacher_id(teachers[:2], dataset) == teacher_id(teachers[1::-1], dataset)


def unsure(dataset: FaceDataset, sigma: float) -> LandmarkPredictions:
    """The labels as answers, each with a deviation of `sigma` percent of a crop of 100 pixels."""
    covariance = np.tile(np.eye(2, dtype=np.float32) * sigma**2 / 2, (len(dataset), 51, 1, 1))
    return LandmarkPredictions(dataset.faces.points + 1, covariance, np.full(len(dataset), 100, np.float32))


@pytest.mark.parametrize(("fill", "filled"), [(0.0, False), (0.9, False), (1.1, True)])
def test_gaps_are_filled_where_the_teacher_is_sure(dot_pack: Path, fill: float, filled: bool) -> None:
    dataset = FaceDataset(dot_pack)  # point 43 lacks on every fifth face
    settings = stage(TINY, batch_size=40).model_copy(
        update={"distill": DistillConfig(machine_labels=0.25, fill_max_sigma=fill)}
    )
    source = BatchSource(dataset, settings, CPU, unsure(dataset, 1.0))
    _, _, batch = source.draw(0)
    gaps = torch.from_numpy(~dataset.faces.point_mask[source.indices_of(0), 43])
    assert gaps.sum() == 8
    assert batch.teacher_points is not None
    if filled:
        assert (batch.weight[gaps, 43] == 0.25).all()
        torch.testing.assert_close(batch.points[gaps, 43], batch.teacher_points[gaps, 43])
    else:
        assert (batch.weight[gaps, 43] == 0).all()


def test_faces_without_labels_are_drawn_only_if_wanted(dot_pack: Path) -> None:
    dataset = FaceDataset(dot_pack)
    label = dataset.faces.label.copy()
    label[:10] = LabelSource.NONE
    dataset.faces = replace(dataset.faces, label=label)
    for unlabelled, count in ((True, 40), (False, 30)):
        settings = stage(TINY).model_copy(update={"distill": DistillConfig(unlabelled=unlabelled)})
        assert len(BatchSource(dataset, settings, CPU, unsure(dataset, 1.0)).indices) == count


def test_sampling_weights_of_a_stage_replace_the_datas(dot_pack: Path) -> None:
    dataset = FaceDataset(dot_pack)
    source = BatchSource(dataset, stage(TINY, source_weights={"dots": 2.0}), CPU)
    assert source.steps_per_epoch == 10  # 2 x 40 faces in steps of 8
    with pytest.raises(PairError, match="expected sources among dots, found spots"):
        BatchSource(dataset, stage(TINY, source_weights={"spots": 2.0}), CPU)


def test_the_live_teacher_sees_the_students_views(dot_pack: Path, teachers: list[Path]) -> None:
    dataset = FaceDataset(dot_pack)
    model, _ = load_model(teachers[1])
    teacher = DistillationTeacher(model, ATTENTION, CPU, amp=False, heatmaps=True, fused=True)
    _, images, batch = BatchSource(dataset, stage(ATTENTION), CPU, unsure(dataset, 1.0)).draw(0)
    taught = teacher(images, batch)
    assert taught.teacher_logits is not None
    assert taught.teacher_feature is not None
    with torch.no_grad():
        torch.testing.assert_close(taught.teacher_logits, model(images))
    assert taught.teacher_feature.shape == (8, 16, 16, 16)
    small = teacher(images[..., ::2, ::2], batch)  # a student of half the input
    assert small.teacher_logits is not None
    assert small.teacher_logits.shape == taught.teacher_logits.shape


@pytest.mark.parametrize(
    ("number", "margin", "fused", "expected"),
    [
        (1, 1.6, True, "a teacher with the student's model.margin of 1.6, found 1.45"),
        (0, 1.45, True, "a teacher with the attention head"),
        (2, 1.45, False, "a teacher with heatmaps"),
    ],
)
def test_a_live_teacher_must_fit(teachers: list[Path], number: int, margin: float, fused: bool, expected: str) -> None:
    model, _ = load_model(teachers[number])
    student = ATTENTION.model_copy(update={"margin": margin})
    with pytest.raises(PairError, match=expected):
        DistillationTeacher(model, student, CPU, amp=False, heatmaps=True, fused=fused)


def test_projected_features_resume_exactly(dot_pack: Path, teachers: list[Path], tmp_path: Path) -> None:
    dataset = FaceDataset(dot_pack)
    settings = stage(TINY.model_copy(update={"input_size": 64}), losses={"wing": 1.0, "kd_feature": 1.0})

    class Stop(Exception):
        pass

    def stop(progress) -> None:
        if progress.step == 7:
            raise Stop

    whole = train_student(settings, dataset, teachers[:1], tmp_path / "whole", cache=tmp_path)
    with pytest.raises(Stop):
        train_student(settings, dataset, teachers[:1], tmp_path / "broken", cache=tmp_path, report=stop)
    train_student(settings, dataset, teachers[:1], tmp_path / "broken", cache=tmp_path, resume=True)
    state = load_checkpoint(whole.with_name(LAST))
    assert state["projector"]["weight"].shape == (32, 8, 1, 1)  # the student's 8 channels to the teacher's 32
    assert torch.equal(weights(tmp_path / "broken" / LAST), weights(whole.with_name(LAST)))
    assert load_model(whole)[0].config == settings.model  # the projection is no part of the net
    with pytest.raises(PairError, match="one teacher for losses that run it in every step, found 2"):
        train_student(settings, dataset, teachers[:2], tmp_path / "two", cache=tmp_path)


def test_fused_heatmaps_of_another_size_are_refused(dot_pack: Path, teachers: list[Path], tmp_path: Path) -> None:
    small = ATTENTION.model_copy(update={"input_size": 32})
    settings = stage(small, losses={"kd_fused": 1.0})
    with pytest.raises(PairError, match="fused heatmaps of 8 x 8 cells, as the student's, found 16 x 16"):
        train_student(settings, FaceDataset(dot_pack), teachers[1:2], tmp_path / "run", cache=tmp_path)
