"""Trainings that are compared over seeds: the folder of the comparison, its workers, its progress, its results.

    OUT/run.json          what was planned, and where it comes from
    OUT/VARIANT-SEED/     a training each; result.json when it is measured

An interrupted comparison goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from pair_fld.config import StageConfig
from pair_fld.data.dataset import FaceDataset
from pair_fld.errors import PairError
from pair_fld.io import read_json, write_json
from pair_fld.models import LandmarkNet
from pair_fld.models.checkpoint import load_model
from pair_fld.processes import cores
from pair_fld.progress import Progress
from pair_fld.runs import RECORD, claim_folder
from pair_fld.train.distributed import pick_device
from pair_fld.train.metric_log import METRICS, read_rows
from pair_fld.train.resume import LAST
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.workers import run_in_workers

RESULT = "result.json"


@dataclass(frozen=True)
class ComparedRun:
    """One training of a comparison, as a worker process gets it.

    Attributes:
        stage: what is trained, with its steps per epoch.
        data: folder of the dataset.
        run: the training's own folder; an interrupted training is continued.
        threads: of torch; 0 leaves the number as it is.
    """

    stage: StageConfig
    data: Path
    run: RunSpec
    threads: int

    @property
    def steps(self) -> int:
        return self.stage.train.epochs * self.stage.train.steps_per_epoch

    @property
    def is_done(self) -> bool:
        return (self.run.out / RESULT).is_file()

    def open_dataset(self) -> FaceDataset:
        """The dataset, in the worker process, which gets its number of threads."""
        if self.threads:
            torch.set_num_threads(self.threads)
        return FaceDataset(self.data)

    def last_model(self) -> LandmarkNet:
        """The last EMA weights: those of the best epoch would be chosen by the faces that are measured."""
        model, _ = load_model(self.run.out / LAST)
        return model.to(pick_device(self.run.device))

    def write_result(self, nme_percent: Mapping[str, float]) -> None:
        """Keep what was measured, in percent by set of faces; from now on the run is done."""
        write_json(self.run.out / RESULT, dict(nme_percent))


Run = TypeVar("Run", bound=ComparedRun)


def workers_and_threads(jobs: int, device: str) -> tuple[int, int]:
    """How many trainings run in parallel, and torch's threads in each.

    Args:
        jobs: as the user asked; 0: one per core, or one on an accelerator.
        device: see `distributed.pick_device`.
    """
    on_cpu = pick_device(device).type == "cpu"
    workers = jobs or (cores() if on_cpu else 1)
    return workers, 1 if workers > 1 and on_cpu else 0


def claim_comparison(
    run: RunSpec, stage: str, noun: str, plan: Mapping[str, Any], extra: Mapping[str, Any], differs_in: str
) -> None:
    """Claim the folder of a comparison, or check that the one to resume was planned alike.

    Args:
        stage: of the folder's mark.
        noun: names the comparison in the sentence, e.g. "ablation".
        plan: what must be the same.
        extra: what is recorded beside it.
        differs_in: what another comparison differs in, for the sentence.

    Raises:
        PairError: the folder holds another comparison, or as `claim_folder`.
    """
    if run.resume and (run.out / RECORD).is_file():
        old = read_json(run.out / RECORD, f"a record of the {noun}")
        if any(old.get(key) != value for key, value in plan.items()):
            remedy = "Use another --out, or --overwrite to start anew."
            raise PairError(run.out, f"the same {noun} to resume", f"one of another {differs_in}", remedy)
        return
    claim_folder(run.out, stage, overwrite=run.overwrite, inputs=run.inputs)
    write_json(run.out / RECORD, {**extra, **plan})


def train_and_measure(
    work: Callable[[Run], None], runs: Mapping[tuple[str, int], Run], workers: int, progress: Progress
) -> dict[str, list[dict[str, float]]]:
    """Do what is not done yet, and read all results.

    Args:
        work: trains and measures one run; a function of a module.
        runs: by variant and seed.
        workers: processes.
        progress: called with the number of steps done.

    Returns:
        NME in percent by set of faces; of every variant, one per seed.
    """

    def tell() -> None:
        done = 0
        for one in runs.values():
            rows = read_rows(one.run.out / METRICS)
            done += int(rows[-1]["step"]) if rows else 0
        note = f"{sum(one.is_done for one in runs.values())} of {len(runs)} trainings finished"
        progress(done, sum(one.steps for one in runs.values()), note)

    tell()
    run_in_workers(work, [one for one in runs.values() if not one.is_done], workers, tell)
    results: dict[str, list[dict[str, float]]] = {}
    for (variant, _), one in runs.items():  # seeds in their order
        results.setdefault(variant, []).append(read_json(one.run.out / RESULT, "a result of a training"))
    return results
