"""The ablation: what each way to train leaves out, that it resumes, and that it refuses what it cannot compare."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pair_fld.config import AugmentConfig, DistillConfig, StageConfig
from pair_fld.data.dataset import FaceDataset, LabelSource
from pair_fld.errors import PairError
from pair_fld.train import workers
from pair_fld.train.ablation import VARIANTS, AblationSpec, ablate, variant_stage, variants_for
from pair_fld.train.run_folder import RunSpec
from tests.cli.command import pairfld
from tests.train.settings import HEAT, TINY, stage, train

LOSSES = {"wing": 1.0, "heatmap": 0.5, "kd_wing": 1.0, "kd_l2": 2.0, "kd_heatmap": 0.5}


@pytest.fixture(scope="module")
def teacher(dot_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(stage(TINY, epochs=1), FaceDataset(dot_pack), tmp_path_factory.mktemp("teacher") / "run")


def spec(folder: Path, **options: int) -> AblationSpec:
    return AblationSpec(RunSpec(folder / "out", device="cpu"), **options)


def variant_of(variant: str, dataset: FaceDataset) -> StageConfig:
    base = stage(HEAT, losses=LOSSES).model_copy(
        update={"distill": DistillConfig(machine_labels=0.2, fill_max_sigma=1.0)}
    )
    return variant_stage(base, variant, seed=7, dataset=dataset)


def test_every_arm_trains_on_what_it_says(dot_pack: Path) -> None:
    dataset = FaceDataset(dot_pack)
    expected = {
        "no teacher": ({"wing", "heatmap"}, 1.0, False),
        "no teacher, down-weighted machine labels": ({"wing", "heatmap"}, 0.2, False),
        "heatmap KD": ({"wing", "heatmap", "kd_l2", "kd_heatmap"}, 0.2, False),
        "coordinate KD": ({"wing", "heatmap", "kd_wing"}, 0.2, False),
        "all KD": (set(LOSSES), 0.2, False),
        "all KD, unlabelled faces too": (set(LOSSES), 0.2, True),
    }
    assert set(expected) == set(VARIANTS)
    for arm, (losses, machine, unlabelled) in expected.items():
        found = variant_of(arm, dataset)
        assert (set(found.train.losses), found.distill.machine_labels) == (losses, machine), arm
        assert found.distill.unlabelled == unlabelled
        assert found.train.seed == 7
        assert found.train.steps_per_epoch == 5  # 40 labelled faces in steps of 8: the budget of all arms alike
    # a filled gap is a coordinate of the teacher's: no part of less than all the teaching
    assert {arm for arm in VARIANTS if variant_of(arm, dataset).distill.fill_max_sigma} == {
        "all KD",
        "all KD, unlabelled faces too",
    }


def test_arms_that_would_be_the_same_are_left_out(dot_pack: Path) -> None:
    dataset = FaceDataset(dot_pack)  # human and machine labels, every face with some
    assert set(VARIANTS) - set(variants_for(dataset)) == {"all KD, unlabelled faces too"}
    label = np.where(np.arange(48) < 9, LabelSource.NONE, LabelSource.HUMAN).astype(np.uint8)
    dataset.faces = replace(dataset.faces, label=label)
    assert set(VARIANTS) - set(variants_for(dataset)) == {"no teacher, down-weighted machine labels"}


def test_an_error_in_a_run_comes_out_as_its_sentence(dot_pack: Path, teacher: Path, tmp_path: Path) -> None:
    """A run that diverges stops the ablation, in another process, with what that process said."""
    wild = stage(HEAT, lr=1e30, losses={name: 1e30 for name in LOSSES}, epochs=1)
    with pytest.raises(PairError, match=r"expected finite losses, found .* not finite at step .*bad-batch\.pt"):
        ablate(wild, FaceDataset(dot_pack), [teacher], spec(tmp_path, seeds=2, jobs=1))


def test_where_there_can_be_no_processes_jobs_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(workers, "spawn_context", lambda: None)
    workers.run_in_workers(seen.append, ["first", "second"], 2, lambda: seen.append(len(seen)))
    assert seen == ["first", 1, "second", 3]  # `tick` is called after each job


def _die(job: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_a_sentence() -> None:
    with pytest.raises(
        PairError, match=r"process was killed \(exit code -9\), probably for lack of memory. Rerun with"
    ):
        workers.run_in_workers(_die, [1], 1, lambda: None)


def test_a_stopped_comparison_leaves_no_worker_behind() -> None:
    child = """
import multiprocessing, time
from pair_fld.train.workers import run_in_workers
def tick(): print(*(p.pid for p in multiprocessing.active_children()), flush=True)
if __name__ == "__main__":
    run_in_workers(time.sleep, [60, 60], 2, tick)
"""
    with subprocess.Popen(
        [sys.executable, "-c", child], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as main:
        assert main.stdout is not None
        pids = [int(pid) for pid in main.stdout.readline().split()]
        assert len(pids) == 2
        main.terminate()
        assert "KeyboardInterrupt" in main.communicate()[1]
    for pid in pids:  # this process's children's children: gone, not only told to go
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
def test_the_command_compares_and_resumes(dot_pack: Path, teacher: Path, tmp_path: Path) -> None:
    student = stage(HEAT, epochs=1, losses=LOSSES, augment=AugmentConfig()).model_dump(mode="json")
    recipe = {"name": "tiny", "data": "synthetic", "quant": "int8", "budget": "pair2024", "student": student}
    recipe["teacher"] = stage(TINY).model_dump(mode="json")
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    call = ["ablate", "--recipe", str(tmp_path / "recipe.yaml"), "--work", str(tmp_path / "w"),
            "--dataset", str(dot_pack), "--teacher", str(teacher), "--seeds", "2", "--jobs", "2", "--json"]  # fmt: skip
    done = pairfld(*call)
    assert done.code == 0, done.err
    rows = json.loads(done.out)
    assert [row["variant"] for row in rows] == list(variants_for(FaceDataset(dot_pack)))
    assert set(rows[-1]["against"]) == {"no teacher", "no teacher, down-weighted machine labels"}
    assert {row["faces"] for row in rows} == {"validation split"}  # this dataset has no test faces
    assert all(len(row["nme"]) == 2 and row["nme"][0] != row["nme"][1] for row in rows)
    out = tmp_path / "w/ablation"
    assert {"ablation.md", "ablation.json", "ablation.png"} <= {p.name for p in out.iterdir()}
    assert "heatmap KD" in (out / "ablation.md").read_text()
    again = pairfld(*call)
    assert again.code == 2
    assert "--resume to continue" in again.err
    (out / "all-KD-1/result.json").unlink()  # as if it had been killed there
    before = (out / "all-KD-0/last.pt").stat().st_mtime_ns
    one_job = [*call[:-2], "1", "--json"]  # threads are no part of what is compared
    assert json.loads(pairfld(*one_job, "--resume").out) == rows
    assert (out / "all-KD-0/last.pt").stat().st_mtime_ns == before
    other = pairfld(*call, "--resume", "student.train.lr=0.001")
    assert other.code == 2
    assert "the same ablation to resume" in other.err


@pytest.mark.parametrize(
    ("losses", "seeds", "expected"),
    [
        ({"wing": 1.0, "kd_wing": 1.0}, 3, "a term of heatmap distillation"),
        ({"wing": 1.0, "kd_l2": 1.0}, 3, "a term of coordinate distillation"),
        ({"kd_l2": 1.0, "kd_wing": 1.0}, 3, "a term of labels"),
        (LOSSES, 1, "2 or more, to tell a gain from chance"),
    ],
)
def test_what_cannot_be_compared(
    dot_pack: Path, tmp_path: Path, losses: dict[str, float], seeds: int, expected: str
) -> None:
    with pytest.raises(PairError, match=expected):
        ablate(stage(HEAT, losses=losses), FaceDataset(dot_pack), [tmp_path / "none.pt"], spec(tmp_path, seeds=seeds))
    assert not (tmp_path / "out").exists()


def test_faces_to_measure_on_and_terms_that_fit_are_checked_first(dot_pack: Path, tmp_path: Path) -> None:
    dataset = FaceDataset(dot_pack)
    with pytest.raises(PairError, match="terms that fit a net of coords outputs"):
        ablate(stage(TINY, losses=LOSSES), dataset, [tmp_path / "none.pt"], spec(tmp_path))
    dataset.faces = replace(dataset.faces, split=np.zeros(48, np.uint8))
    with pytest.raises(PairError, match="labelled faces to measure on, found none"):
        ablate(stage(HEAT, losses=LOSSES), dataset, [tmp_path / "none.pt"], spec(tmp_path))
