"""What distillation is worth: one student trained without parts of its teaching, equal in all else, over seeds."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import StageConfig
from pair_fld.data.pack import TEST, TRAIN, VALID, Pack
from pair_fld.errors import PairError
from pair_fld.evaluate.compare import Row, compare
from pair_fld.evaluate.nme import nme
from pair_fld.models.checkpoint import load_model
from pair_fld.runs import RECORD, claim_folder, provenance, read_json, write_json
from pair_fld.train.curves import METRICS, read_rows
from pair_fld.train.loop import LAST, fit
from pair_fld.train.predict import predict_pack
from pair_fld.train.stages import teacher_answers, teacher_id
from pair_fld.train.start import known_terms, wants_live
from pair_fld.train.team import pick_device

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

    @property
    def taught(self) -> bool:
        return self.heatmap or self.coordinate or self.other


# The first two have no teacher: one is the plain baseline, the other tells what down-weighting machine-made labels does
# by itself. All but the last see the same faces in the same order and look.
ARMS: dict[str, Arm] = {
    "no teacher": Arm(less_machine=False),
    "no teacher, machine labels weigh less": Arm(),
    "heatmap KD": Arm(heatmap=True),
    "coordinate KD": Arm(coordinate=True),
    "all KD": Arm(heatmap=True, coordinate=True, other=True),
    "all KD, unlabelled faces too": Arm(heatmap=True, coordinate=True, other=True, unlabelled=True),
}


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
        PairError: the stage has no `kd_` term of a family to leave out; as `fit` and `claim_folder`.
    """
    _check(stage, pack, seeds)
    plan = {"config": stage.model_dump(mode="json"), "teacher": teacher_id(teachers), "seeds": seeds,
            "data_hash": pack.data_hash}  # fmt: skip
    _claim(out, plan, resume=resume, overwrite=overwrite)
    told = (lambda done, total: progress(done, total, "faces answered by the teacher")) if progress else None
    teacher_answers(teachers, pack, cache or out, views=stage.distill.views, device=device, progress=told)
    on_cpu = pick_device(device).type == "cpu"
    jobs = jobs or ((os.cpu_count() or 1) if on_cpu else 1)
    runs = {_folder(out, arm, seed): _stage(stage, arm, seed, threads=1 if on_cpu and jobs > 1 else 0, pack=pack)
            for seed in range(seeds) for arm in ARMS}  # fmt: skip
    left = [folder for folder in runs if not (folder / RESULT).is_file()]
    calls = {folder: (runs[folder], pack.folder, list(teachers), folder, cache or out, device) for folder in left}
    _run_side_by_side(calls, jobs, lambda: _tell(progress, runs))
    every = {arm: [_folder(out, arm, seed) / RESULT for seed in range(seeds)] for arm in ARMS}
    return compare({arm: [read_json(path, "an ablation's result") for path in paths] for arm, paths in every.items()})


def _check(stage: StageConfig, pack: Pack, seeds: int) -> None:
    names = known_terms(stage)
    for family, members in (("heatmap", HEATMAP_KD), ("coordinate", COORDINATE_KD)):
        if not set(members) & set(names):
            expected = f"a term of {family} distillation ({', '.join(members)})"
            raise PairError("train.losses", expected, ", ".join(names), "Add one; ablate trains with and without it.")
    if not {name for name in names if not name.startswith("kd_")}:
        raise PairError("train.losses", "a term of labels for the student without a teacher", "none", "Add one.")
    if seeds < 2:
        raise PairError("--seeds", "2 or more, to tell a gain from chance", str(seeds), "Give 3 or more.")
    if not len(pack.rows(TRAIN, labelled=True)):
        raise PairError(pack.folder, "labelled faces to train on", "none", "Prepare others.")


def _claim(out: Path, plan: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    if resume and (out / RECORD).is_file():
        old = read_json(out / RECORD, "an ablation's record")
        if any(old.get(key) != value for key, value in plan.items()):
            remedy = "Use another --out, or --overwrite to start anew."
            found = "one of another configuration, teacher, number of seeds or data"
            raise PairError(out, "the same ablation to resume", found, remedy)
        return
    claim_folder(out, STAGE, overwrite=overwrite)
    record = provenance(plan["config"], data_hash=plan["data_hash"])
    write_json(out / RECORD, record | plan | {"arms": {name: asdict(arm) for name, arm in ARMS.items()}})


def _folder(out: Path, arm: str, seed: int) -> Path:
    return out / f"{arm.replace(',', '').replace(' ', '-')}-{seed}"


def _stage(stage: StageConfig, arm: str, seed: int, threads: int, pack: Pack) -> StageConfig:
    """The stage with what an arm leaves out left out."""
    part = ARMS[arm]

    def stays(name: str) -> bool:
        if not name.startswith("kd_"):
            return True
        return part.heatmap if name in HEATMAP_KD else part.coordinate if name in COORDINATE_KD else part.other

    losses = {name: weight for name, weight in stage.train.losses.items() if stays(name)}
    labelled = int(pack.weights(stage.train.weights)[pack.rows(TRAIN, labelled=True)].sum())
    steps = stage.train.epoch_steps or max(1, labelled // (stage.train.batch_size * stage.train.accumulate))
    train = {"losses": losses, "seed": seed, "epoch_steps": steps, "threads": threads or stage.train.threads}
    distill: dict[str, Any] = {"unlabelled": part.unlabelled, "live": stage.distill.live and part.heatmap}
    if not part.less_machine:
        distill["machine_labels"] = 1.0
    if not part.taught:
        distill["fill"] = 0.0
    return stage.model_copy(
        update={"train": stage.train.model_copy(update=train), "distill": stage.distill.model_copy(update=distill)}
    )


def _run(stage: StageConfig, data: Path, teachers: list[Path], folder: Path, cache: Path, device: str) -> None:
    """Train one arm with one seed and measure its last weights on every source that is not trained on."""
    pack = Pack(data)
    answers = teacher_answers(teachers, pack, cache, views=stage.distill.views, device=device)
    live = load_model(teachers[0])[0] if wants_live(stage) else None
    fit(stage, pack, folder, kind="student", teacher=answers, live=live, resume=True, device=device,
        extra={"teacher": teacher_id(teachers)})  # fmt: skip
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


def _run_side_by_side(calls: dict[Path, tuple], jobs: int, tell: Callable[[], None]) -> None:
    # spawned, not forked: torch's thread pools do not survive a fork
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_run, *call) for call in calls.values()}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=2, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                tell()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list((pool._processes or {}).values()):
                process.terminate()  # SIGTERM: a run writes its checkpoint and ends
            raise


def _tell(progress: Callable[[int, int, str], None] | None, runs: dict[Path, StageConfig]) -> None:
    if progress is None:
        return
    total = sum(stage.train.epochs * stage.train.epoch_steps for stage in runs.values())
    done = 0
    for folder in runs:
        rows = read_rows(folder / METRICS)
        done += int(rows[-1]["step"]) if rows else 0
    finished = sum((folder / RESULT).is_file() for folder in runs)
    progress(done, total, f"{finished} of {len(runs)} runs finished")
