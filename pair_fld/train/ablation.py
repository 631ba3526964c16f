"""What distillation is worth: one student trained without parts of its teaching, equal in all else, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pair_fld.config import StageConfig
from pair_fld.data.dataset import MACHINE, NONE, TEST, TRAIN, VALID, Pack
from pair_fld.errors import PairError
from pair_fld.evaluate.metrics import nme
from pair_fld.io import read_json, write_json
from pair_fld.models import LandmarkNet
from pair_fld.models.checkpoint import load_model
from pair_fld.processes import cores, spawn_context
from pair_fld.runs import RECORD, claim_folder, provenance
from pair_fld.train.batches import steps_per_epoch
from pair_fld.train.builder import known_terms, start
from pair_fld.train.comparison import Row, compare
from pair_fld.train.distill import distill, live_teacher, teacher_answers, teacher_id
from pair_fld.train.distributed import ALONE, pick_device
from pair_fld.train.metric_log import METRICS, read_rows
from pair_fld.train.predict_dataset import predict_pack
from pair_fld.train.trainer import LAST

STAGE, RESULT = "ablation", "result.json"
HEATMAP_KD = ("kd_heatmap", "kd_l2", "kd_fused", "kd_simcc")
COORDINATE_KD = ("kd_wing", "kd_smooth_l1")
VALID_NAME = "validation split"


@dataclass(frozen=True)
class Arm:
    """One way to train: which families of `kd_` terms stay, whether machine-made labels weigh as they do beside a
    teacher (or in full), and whether faces without labels are trained on."""

    heatmap: bool = False
    coordinate: bool = False
    other: bool = False
    less_machine: bool = True
    unlabelled: bool = False


# The first two have no teacher: the plain baseline, and one that tells what down-weighting machine-made labels, as all
# taught ones do, is worth by itself. All but the last see the same faces in the same order and look.
ARMS: dict[str, Arm] = {
    "no teacher": Arm(less_machine=False),
    "no teacher, machine labels weigh less": Arm(),
    "heatmap KD": Arm(heatmap=True),
    "coordinate KD": Arm(coordinate=True),
    "all KD": Arm(heatmap=True, coordinate=True, other=True),
    "all KD, unlabelled faces too": Arm(heatmap=True, coordinate=True, other=True, unlabelled=True),
}
BASELINES = tuple(ARMS)[:2]


def arms_for(pack: Pack) -> dict[str, Arm]:
    """The arms that differ on this data: some need machine-made labels, or faces without labels, to be ones."""
    labels = set(pack.faces.label[pack.rows(TRAIN)].tolist())
    same = {BASELINES[1]} if MACHINE not in labels else set()
    same |= {name for name, arm in ARMS.items() if arm.unlabelled} if NONE not in labels else set()
    return {name: arm for name, arm in ARMS.items() if name not in same}


def ablate(
    stage: StageConfig, pack: Pack, teachers: Sequence[Path], out: Path, *, seeds: int = 3, jobs: int = 0,
    cache: Path | None = None, device: str = "auto", resume: bool = False, overwrite: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Row]:  # fmt: skip
    """Train every arm with every seed, each in a folder below `out`, and compare their last weights.

    Nothing is chosen by the faces that are measured: the last EMA weights count, not the best epoch's.

    Args:
        jobs: runs side by side; 0: one a core, of one thread each, on a CPU, and one on an accelerator.
        cache: folder of the teachers' answers. progress: told (steps done, steps in all, what).

    Raises:
        PairError: the stage has no `kd_` term of a family to leave out, there are no faces to measure on, or what
            `fit` and `claim_folder` raise.
    """
    live = live_teacher(stage, teachers)
    _check(stage, pack, seeds, live)
    plan = {"config": stage.model_dump(mode="json"), "teacher": teacher_id(teachers), "data_hash": pack.data_hash}
    _claim(out, plan, resume=resume, overwrite=overwrite)
    told = (lambda done, total: progress(done, total, "faces answered by the teacher")) if progress else None
    teacher_answers(teachers, pack, cache or out, views=stage.distill.teacher_views, device=device, progress=told)
    on_cpu, arms = pick_device(device).type == "cpu", arms_for(pack)
    jobs = jobs or (cores() if on_cpu else 1)
    threads = 1 if on_cpu and jobs > 1 else 0
    runs = {_folder(out, arm, seed): _stage(stage, arm, seed, pack) for seed in range(seeds) for arm in arms}
    left = [folder for folder in runs if not (folder / RESULT).is_file()]
    calls = [(runs[folder], pack.folder, list(teachers), folder, cache or out, device, threads) for folder in left]
    _run_side_by_side(calls, jobs, lambda: _tell(progress, runs))
    every = {arm: [_folder(out, arm, seed) / RESULT for seed in range(seeds)] for arm in arms}
    results = {arm: [read_json(path, "an ablation's result") for path in paths] for arm, paths in every.items()}
    return compare(results, [name for name in BASELINES if name in arms])


def _check(stage: StageConfig, pack: Pack, seeds: int, live: LandmarkNet | None) -> None:
    names = known_terms(stage)
    for family, members in (("heatmap", HEATMAP_KD), ("coordinate", COORDINATE_KD)):
        if not set(members) & set(names):
            expected = f"a term of {family} distillation ({', '.join(members)})"
            raise PairError("train.losses", expected, ", ".join(names), "Add one; ablate trains with and without it.")
    if not {name for name in names if not name.startswith("kd_")}:
        raise PairError("train.losses", "a term of labels for the student without a teacher", "none", "Add one.")
    if seeds < 2:
        raise PairError("--seeds", "2 or more, to tell a gain from chance", str(seeds), "Give 3 or more.")
    for splits, what in (((TRAIN,), "to train on"), ((VALID, TEST), "to measure on")):
        if not any(len(pack.rows(split, labelled=True)) for split in splits):
            raise PairError(pack.folder, f"labelled faces {what}", "none", "Prepare others.")
    start(stage, 2, 0, torch.device("cpu"), ALONE, live)  # whether all the terms fit the net and its teacher


def _claim(out: Path, plan: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    if resume and (out / RECORD).is_file():
        old = read_json(out / RECORD, "an ablation's record")
        if any(old.get(key) != value for key, value in plan.items()):
            remedy = "Use another --out, or --overwrite to start anew."
            found = "one of another configuration, teacher or data"
            raise PairError(out, "the same ablation to resume", found, remedy)
        return
    claim_folder(out, STAGE, overwrite=overwrite)
    record = provenance(plan["config"], data_hash=plan["data_hash"])
    write_json(out / RECORD, record | plan | {"arms": {name: asdict(arm) for name, arm in ARMS.items()}})


def _folder(out: Path, arm: str, seed: int) -> Path:
    return out / f"{arm.replace(',', '').replace(' ', '-')}-{seed}"


def _stage(stage: StageConfig, arm: str, seed: int, pack: Pack) -> StageConfig:
    """The stage with what an arm leaves out left out."""
    part = ARMS[arm]

    def stays(name: str) -> bool:
        if not name.startswith("kd_"):
            return True
        return part.heatmap if name in HEATMAP_KD else part.coordinate if name in COORDINATE_KD else part.other

    losses = {name: weight for name, weight in stage.train.losses.items() if stays(name)}
    labelled = pack.weights(stage.train.source_weights)[pack.rows(TRAIN, labelled=True)]
    steps = stage.train.steps_per_epoch or steps_per_epoch(
        labelled, stage.train.batch_size * stage.train.grad_accumulation
    )
    train = {"losses": losses, "seed": seed, "steps_per_epoch": steps}
    teaching: dict[str, Any] = {"unlabelled": part.unlabelled, "teacher_mode": stage.distill.teacher_mode}
    if not part.less_machine:
        teaching["machine_labels"] = 1.0
    if not (part.heatmap and part.coordinate):
        teaching["fill_max_sigma"] = 0.0  # a filled label is a coordinate of the teacher's
    return stage.model_copy(
        update={"train": stage.train.model_copy(update=train), "distill": stage.distill.model_copy(update=teaching)}
    )


def _run(
    stage: StageConfig, data: Path, teachers: list[Path], folder: Path, cache: Path, device: str, threads: int
) -> None:
    """Train one arm with one seed and measure its last weights on every source that is not trained on."""
    if threads:
        torch.set_num_threads(threads)
    pack = Pack(data)
    distill(stage, pack, teachers, folder, cache=cache, resume=True, device=device)
    model, _ = load_model(folder / LAST)
    model.to(pick_device(device))
    faces = pack.faces
    sets = {VALID_NAME: pack.rows(VALID, labelled=True)}
    tested = pack.rows(TEST, labelled=True)
    sets |= {s.name: tested[faces.source[tested] == k] for k, s in enumerate(pack.config.sources)}
    result = {}
    for name, mine in sets.items():
        if len(mine):
            error = nme(predict_pack(model, pack, mine).points, faces.points[mine], faces.valid[mine])
            result[name] = float(np.nanmean(error) * 100)
    write_json(folder / RESULT, result)


def _run_side_by_side(calls: list[tuple[Any, ...]], jobs: int, tell: Callable[[], None]) -> None:
    context = spawn_context()
    if context is None:
        for call in calls:
            _run(*call)
            tell()
        return
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = {pool.submit(_run, *call) for call in calls}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=2, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                tell()
        except BaseException:
            children = list((pool._processes or {}).values())  # the pool forgets them when it shuts down
            pool.shutdown(wait=False, cancel_futures=True)
            for child in children:
                child.terminate()  # SIGTERM: a run writes its checkpoint and ends
            raise


def _tell(progress: Callable[[int, int, str], None] | None, runs: dict[Path, StageConfig]) -> None:
    if progress is None:
        return
    total = sum(stage.train.epochs * stage.train.steps_per_epoch for stage in runs.values())
    done = 0
    for folder in runs:
        rows = read_rows(folder / METRICS)
        done += int(rows[-1]["step"]) if rows else 0
    finished = sum((folder / RESULT).is_file() for folder in runs)
    progress(done, total, f"{finished} of {len(runs)} runs finished")
