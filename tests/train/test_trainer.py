"""The training loop on a tiny dataset: it learns, resumes exactly, refuses what does not fit."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pair_fld.config import ModelConfig
from pair_fld.data.dataset import FaceDataset, Split
from pair_fld.errors import PairError
from pair_fld.evaluate.metrics import nme
from pair_fld.io import read_json
from pair_fld.models.checkpoint import load_checkpoint, load_model
from pair_fld.train.batches import BatchSource, epoch_order
from pair_fld.train.metric_log import METRICS
from pair_fld.train.predict_dataset import LandmarkPredictions, predict_dataset
from pair_fld.train.teacher_predictions import teacher_predictions
from tests.train.settings import HEAT, stage, train, train_student, weights


@pytest.mark.slow
def test_a_teacher_learns_and_a_student_learns_from_it(dot_pack: Path, tmp_path: Path) -> None:
    dataset = FaceDataset(dot_pack)
    teacher = train(stage(HEAT, epochs=40, losses={"wing": 1.0, "heatmap": 1.0}), dataset, tmp_path / "teacher")
    rows = dataset.indices(Split.TRAIN)
    answers = predict_dataset(load_model(teacher)[0], dataset, rows)
    error = nme(answers.points, dataset.faces.points[rows], dataset.faces.point_mask[rows])
    assert error.mean() < 0.02
    student_stage = stage(epochs=30, losses={"wing": 0.5, "kd_wing": 1.0})
    student = train_student(student_stage, dataset, [teacher], tmp_path / "student")
    assert (
        load_checkpoint(student)["record"]["teacher"]
        == load_checkpoint(tmp_path / "student/last.pt")["record"]["teacher"]
    )
    with (tmp_path / "student" / METRICS).open() as stream:
        curve = [float(row["nme_outer_corners_percent"]) for row in csv.DictReader(stream)]
    assert len(curve) == 30
    assert curve[-1] < 0.75 * curve[0]


def test_resumed_equals_uninterrupted(dot_pack: Path, tmp_path: Path) -> None:
    dataset = FaceDataset(dot_pack)
    straight = train(stage(), dataset, tmp_path / "straight")

    class Stop(Exception):
        pass

    def stop_at(limit: int):
        def report(progress) -> None:
            if progress.step == limit:
                raise Stop

        return report

    # the first checkpoint is written after the first epoch of 5 steps: stop once before it and once after
    for limit in (3, 7):
        with pytest.raises(Stop):
            train(stage(), dataset, tmp_path / "broken", resume=True, report=stop_at(limit))
    train(stage(), dataset, tmp_path / "broken", resume=True)
    assert torch.equal(weights(straight.with_name("last.pt")), weights(tmp_path / "broken/last.pt"))
    assert (tmp_path / "broken" / METRICS).read_text() == (tmp_path / "straight" / METRICS).read_text()


def test_a_finished_run_is_left_alone(dot_pack: Path, tmp_path: Path) -> None:
    dataset = FaceDataset(dot_pack)
    train(stage(epochs=1), dataset, tmp_path / "run")
    before = (tmp_path / "run/last.pt").stat().st_mtime_ns
    train(stage(epochs=1), dataset, tmp_path / "run", resume=True)
    assert (tmp_path / "run/last.pt").stat().st_mtime_ns == before
    with pytest.raises(PairError, match="expected a new or empty output folder"):
        train(stage(epochs=1), dataset, tmp_path / "run")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"batch_size": 4},
            r"the same configuration to resume, found train\.batch_size=4 \(it was started with 8\)\. Only train\.lr",
        ),
        ({"lr": 1e-4}, r"train\.lr=0\.0001 comes too late: the run has done 5 of 5 steps"),
    ],
)
def test_resume_refuses_another_run(dot_pack: Path, tmp_path: Path, changed: dict, expected: str) -> None:
    dataset = FaceDataset(dot_pack)
    train(stage(epochs=1), dataset, tmp_path / "run")
    with pytest.raises(PairError, match=expected):
        train(stage(epochs=1, **changed), dataset, tmp_path / "run", resume=True)


def test_resume_refuses_a_run_of_another_stage(dot_pack: Path, tmp_path: Path) -> None:
    dataset = FaceDataset(dot_pack)
    teacher = train(stage(epochs=1), dataset, tmp_path / "run")
    with pytest.raises(PairError, match=r"the same stage to resume, .*\(teacher, now student\)"):
        train_student(stage(epochs=1), dataset, [teacher], tmp_path / "run", cache=tmp_path, resume=True)


def test_resume_with_settings_that_change_nothing_learnt(dot_pack: Path, tmp_path: Path) -> None:
    """After a stop at step 7 the checkpoint is that of step 5, the end of the first of two epochs."""
    dataset = FaceDataset(dot_pack)

    class Stop(Exception):
        pass

    def stop(progress) -> None:
        if progress.step == 7:
            raise Stop

    train(stage(), dataset, tmp_path / "straight")
    with pytest.raises(Stop):
        train(stage(), dataset, tmp_path / "run", report=stop)
    calm = {"lr": 1.5e-3, "checkpoint_minutes": 9.0}
    train(stage(**calm), dataset, tmp_path / "run", resume=True)
    record = read_json(tmp_path / "run/run.json", "a run record")
    assert (record["config"]["train"]["lr"], record["config"]["train"]["checkpoint_minutes"]) == (1.5e-3, 9.0)
    changes = [
        {"step": 5, "key": "train.lr", "old": 3e-3, "new": 1.5e-3},
        {"step": 5, "key": "train.checkpoint_minutes", "old": 2.0, "new": 9.0},
    ]
    assert record["changes"] == load_checkpoint(tmp_path / "run/last.pt")["record"]["changes"] == changes
    rates = {}
    for run in ("straight", "run"):
        with (tmp_path / run / METRICS).open() as stream:
            rates[run] = [float(row["lr"]) for row in csv.DictReader(stream)]
    # half the rate from the second epoch on: the schedule falls from the rate to a hundredth of it
    assert rates["run"] == pytest.approx([rates["straight"][0], rates["straight"][1] / 2])
    # more epochs make a finished run longer; fewer than are done would have no effect
    train(stage(epochs=3, **calm), dataset, tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run/last.pt")["step"] == 15
    added = {"step": 10, "key": "train.epochs", "old": 2, "new": 3}
    assert read_json(tmp_path / "run/run.json", "a run record")["changes"] == [*changes, added]
    with pytest.raises(PairError, match=r"train\.epochs=1 comes too late: the run has done 15 of 5 steps"):
        train(stage(epochs=1, **calm), dataset, tmp_path / "run", resume=True)


def test_init_from_starts_with_the_weights_only(dot_pack: Path, tmp_path: Path) -> None:
    dataset = FaceDataset(dot_pack)
    first = train(stage(epochs=2), dataset, tmp_path / "first")
    tiny = stage(epochs=1, lr=1e-9, ema_decay=0.0)
    second = train(tiny, dataset, tmp_path / "second", init_from=first)
    kept, new = load_checkpoint(first)["ema"], load_checkpoint(second)["model"]
    name = "net.head.weight"
    torch.testing.assert_close(new[name], kept[name], atol=1e-6, rtol=0)
    assert load_checkpoint(second)["step"] == 5
    with pytest.raises(PairError, match="those of another architecture"):
        train(stage(HEAT), dataset, tmp_path / "third", init_from=first)


def test_grow_from_starts_as_the_smaller_net(dot_pack: Path, tmp_path: Path) -> None:
    dataset, stages = FaceDataset(dot_pack), [[1, 8, 1, 2], [1, 8, 1, 2]]
    small = ModelConfig(arch="heatmap_net", input_size=32, options={"stem": 8, "stages": stages, "width": 8})
    deep = small.model_copy(update={"options": small.options | {"stages": [[1, 8, 2, 2], [1, 8, 1, 2]]}})
    first = train(stage(small, epochs=1), dataset, tmp_path / "first")
    told: list[str] = []
    still = stage(deep, epochs=1, lr=1e-9, ema_decay=0.0)
    second = train(still, dataset, tmp_path / "second", grow_from=first, say=told.append)
    # stem 248, three blocks of 296, laterals of 96, merge 824, head 459: 2,611 numbers, of which 296 are added
    assert told == [
        f"{first}: 89 % of the net's weights are taken over, 1 added blocks start as identities, 0 blocks of the "
        "smaller net are left out: it computes the same at the start"
    ]
    kept, new = load_checkpoint(first)["ema"], load_checkpoint(second)["model"]
    torch.testing.assert_close(new["net.head.weight"], kept["net.head.weight"], atol=1e-6, rtol=0)


def test_nan_stops_with_the_batch_saved(dot_pack: Path, tmp_path: Path) -> None:
    dataset = FaceDataset(dot_pack)
    points = dataset.faces.points.copy()
    points[np.flatnonzero(dataset.faces.split == Split.TRAIN)] = np.nan
    dataset.faces = replace(dataset.faces, points=points)
    with pytest.raises(PairError, match="expected finite losses, found loss, wing not finite at step 0"):
        train(stage(), dataset, tmp_path / "run")
    saved = load_checkpoint(tmp_path / "run/bad-batch.pt")
    assert saved["images"].shape == (8, 3, 64, 64)
    assert len(saved["faces"]) == 8


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"losses": {"wong": 1.0}}, "expected terms among .*wing.* found wong"),
        ({"losses": {"heatmap": 1.0}}, "terms that fit a net of coords outputs, found heatmap with coord_net"),
        (
            {"losses": {"wing": 1.0, "kd_wing": 1.0}},
            "losses of labels alone, found kd_wing. Train this stage with pairfld distill",
        ),
        ({"batch_size": 999}, "at least one batch of faces"),
    ],
)
def test_settings_that_cannot_work(dot_pack: Path, tmp_path: Path, changes: dict, expected: str) -> None:
    with pytest.raises(PairError, match=expected):
        train(stage(**changes), FaceDataset(dot_pack), tmp_path / "run")


def test_without_a_face_no_batch_size_would_help(dot_pack: Path, tmp_path: Path) -> None:
    dataset = FaceDataset(dot_pack)
    dataset.faces = replace(dataset.faces, split=np.full(len(dataset), Split.VALID, np.uint8))
    with pytest.raises(PairError, match=r"found 0 faces of summed weight 0 for a step of 8\. Prepare faces"):
        train(stage(), dataset, tmp_path / "run")


def test_a_missing_teacher_says_which_stage_makes_one(dot_pack: Path, tmp_path: Path) -> None:
    with pytest.raises(PairError, match=r"none\.pt: .*found no such file\. Run pairfld train-teacher first"):
        train_student(stage(), FaceDataset(dot_pack), [tmp_path / "none.pt"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_epoch_order_follow_the_weights() -> None:
    rows, weight = np.arange(1000), np.where(np.arange(1000) < 500, 2.0, 0.25)
    drawn = np.concatenate([epoch_order(rows, weight, seed=1, epoch=e) for e in range(20)])
    assert (np.bincount(drawn, minlength=1000)[:500] == 40).all()
    # 20 epochs x 500 faces x 1/4 = 2500 draws of a coin with standard deviation sqrt(10000 x 3/16) = 43
    assert abs((drawn >= 500).sum() - 2500) < 5 * 43
    assert not np.array_equal(epoch_order(rows, weight, 1, 0), epoch_order(rows, weight, 1, 1))


def test_machine_labels_weigh_less_beside_a_teacher(dot_pack: Path) -> None:
    dataset = FaceDataset(dot_pack)
    # a deviation of 3 % of a crop of 100 pixels, sqrt(4.5 + 4.5)
    variance = np.tile(np.eye(2, dtype=np.float32) * 4.5, (len(dataset), 51, 1, 1))
    answers = LandmarkPredictions(dataset.faces.points.copy(), variance, np.full(len(dataset), 100, np.float32))
    source = BatchSource(dataset, stage(), torch.device("cpu"), answers)
    _, _, batch = next(source.batches(0, 1))
    assert set(batch.weight.unique().tolist()) <= {0.0, 0.25, 1.0}
    assert 0.25 in batch.weight
    assert batch.teacher_weight is not None
    # certainty 3 at sigma 3: one half, also for the points that carry no label
    torch.testing.assert_close(batch.teacher_weight, torch.full((8, 51), 0.5))


def test_teacher_answers_are_kept(dot_pack: Path, tmp_path: Path) -> None:
    dataset = FaceDataset(dot_pack)
    teacher = train(stage(HEAT, epochs=1), dataset, tmp_path / "teacher")
    first = teacher_predictions([teacher], dataset, tmp_path)
    kept = list(tmp_path.glob("answers-*.npz"))
    assert len(kept) == 1
    stamp = kept[0].stat().st_mtime_ns
    second = teacher_predictions([teacher], dataset, tmp_path)
    assert kept[0].stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.points, second.points)


@pytest.mark.parametrize("damage", ["cut", "empty", "shape", "objects", "nan", "missing"])
def test_damaged_predictions_are_made_anew(dot_pack: Path, tmp_path: Path, damage: str) -> None:
    dataset = FaceDataset(dot_pack)
    teacher = train(stage(HEAT, epochs=1), dataset, tmp_path / "teacher")
    first = teacher_predictions([teacher], dataset, tmp_path)
    (kept,) = tmp_path.glob("answers-*.npz")
    if damage in ("cut", "empty"):
        kept.write_bytes(kept.read_bytes()[: 1000 if damage == "cut" else 0])
    else:
        odd = {"shape": first.points[:5], "objects": first.points.astype(object), "nan": first.points * np.nan}
        columns = {"points": odd.get(damage), "covariance": first.covariance, "side": first.side}
        np.savez(kept, **{name: column for name, column in columns.items() if column is not None})
    again = teacher_predictions([teacher], dataset, tmp_path)
    np.testing.assert_array_equal(again.points, first.points)
