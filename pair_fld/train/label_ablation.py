"""What labels are worth: one student trained on the same images with other labels, equal in all else, over seeds.

    OUT/datasets/HASH/    packed faces of the variants whose data are the same
    OUT/VARIANT-SEED/     a training each; result.json when it is measured

An interrupted ablation goes on where it stopped: datasets, trainings and measurements.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from pair_fld.config import DataConfig, LabelAblationConfig, LabelVariant, StageConfig
from pair_fld.data.dataset import FaceDataset, Split
from pair_fld.data.packing.prepare import prepare
from pair_fld.data.second_opinion import open_reference
from pair_fld.errors import PairError
from pair_fld.evaluate.metrics import nme, shift_removed_nme
from pair_fld.io import file_hash, read_json, write_json
from pair_fld.models.checkpoint import load_model
from pair_fld.processes import cores
from pair_fld.progress import Progress, no_progress
from pair_fld.runs import RECORD, claim_folder, provenance
from pair_fld.train.batches import steps_per_epoch
from pair_fld.train.comparison import VariantResult, compare_variants
from pair_fld.train.distill import train_teacher
from pair_fld.train.distributed import pick_device
from pair_fld.train.metric_log import METRICS, read_rows
from pair_fld.train.predict_dataset import predict_dataset
from pair_fld.train.resume import LAST
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.workers import run_in_workers

STAGE, RESULT, DATASETS = "ablation of labels", "result.json", "datasets"
SHIFT_REMOVED = ", shift removed"  # after the name of a set


def variant_data(data: DataConfig, variant: LabelVariant, name: str) -> DataConfig:
    """The data as a variant labels them; faces to measure on stay as they are.

    Raises:
        PairError: a source that the data lack, or a setting that is none.
    """
    tree = data.model_dump(mode="json")
    if tree["reference"] is not None:
        tree["reference"]["optional"] = False  # without it, the variants would be alike
    tree |= variant.data
    known = {source["name"] for source in tree["sources"] if source["split"] != "test"}
    unknown = sorted(({*variant.sources, *variant.weights} - {"*"}) - known)
    if unknown:
        expected = f"sources that are learnt from, among {', '.join(sorted(known))}"
        raise PairError(f"variant {name!r}", expected, ", ".join(unknown), "Correct the names.")
    for source in tree["sources"]:
        if source["name"] in known:
            source |= variant.sources.get("*", {}) | variant.sources.get(source["name"], {})
    try:
        return DataConfig.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise PairError(f"variant {name!r}", "valid settings of the data", found, "Correct the file.") from None


def label_stage(stage: StageConfig, weights: Mapping[str, float], seed: int, steps: int) -> StageConfig:
    """The stage as a variant trains it: the terms of labels alone, and as many steps as the others."""
    losses = {term: factor for term, factor in stage.train.losses.items() if not term.startswith("kd_")}
    if not losses:
        raise PairError("train.losses", "a term of labels", ", ".join(stage.train.losses), "Add one, e.g. wing.")
    train = {
        "losses": losses,
        "seed": seed,
        "steps_per_epoch": steps,
        "source_weights": {**stage.train.source_weights, **weights},
    }
    return stage.model_copy(update={"train": stage.train.model_copy(update=train)})


@dataclass(frozen=True)
class _Job:
    """One training, as a worker process gets it."""

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


def ablate_labels(
    config: LabelAblationConfig,
    data: DataConfig,
    stage: StageConfig,
    run: RunSpec,
    *,
    seeds: int = 3,
    jobs: int = 0,
    progress: Progress = no_progress,
) -> list[VariantResult]:
    """Pack every variant's faces, train the stage on each with every seed, and compare the last weights.

    The measured faces choose nothing. A set of faces appears twice: as its labels stand, and with its shift removed.

    Args:
        config: the variants; the first one is the baseline.
        seeds: runs per variant, 2 or more. jobs: trainings in parallel; 0: one per core, or one on an accelerator.

    Raises:
        PairError: as `variant_data`, `prepare` and `train_teacher`.
    """
    label_stage(stage, {}, 0, 1)
    datas = {name: variant_data(data, variant, name) for name, variant in config.variants.items()}
    if data.reference is not None:
        open_reference(data.reference)  # says in a sentence what is missing
    _claim(config, data, stage, run)
    datasets: dict[str, Path] = {}
    for name, own in datas.items():
        datasets[name] = run.out / DATASETS / _hash(own)
        # an earlier, interrupted call may have left it half done
        prepare(own, datasets[name], resume=True, progress=progress)
    steps = stage.train.steps_per_epoch or _steps(stage, next(iter(config.variants.values())), datasets)
    on_cpu = pick_device(run.device).type == "cpu"
    parallel = jobs or (cores() if on_cpu else 1)
    runs = {
        (name, seed): _Job(
            label_stage(stage, variant.weights, seed, steps),
            datasets[name],
            RunSpec(run.out / f"{_plain(name)}-{seed}", resume=True, device=run.device),
            1 if parallel > 1 and on_cpu else 0,
        )
        for seed in range(seeds)
        for name, variant in config.variants.items()
    }
    _tell(progress, list(runs.values()))
    unfinished = [job for job in runs.values() if not job.is_done]
    run_in_workers(_train, unfinished, parallel, lambda: _tell(progress, list(runs.values())))
    results = {
        name: [read_json(runs[name, seed].run.out / RESULT, "an ablation's result") for seed in range(seeds)]
        for name in config.variants
    }
    return compare_variants(results, [next(iter(config.variants))])


def _claim(config: LabelAblationConfig, data: DataConfig, stage: StageConfig, run: RunSpec) -> None:
    plan: dict[str, Any] = {
        "variants": config.model_dump(mode="json"),
        "data": data.model_dump(mode="json", exclude={"num_workers"}),
        "config": stage.model_dump(mode="json"),
        "map": None if data.reference is None else file_hash(Path(data.reference.scheme)),
    }
    if run.resume and (run.out / RECORD).is_file():
        old = read_json(run.out / RECORD, "an ablation's record")
        if any(old.get(key) != value for key, value in plan.items()):
            remedy = "Use another --out, or --overwrite to start anew."
            raise PairError(run.out, "the same ablation to resume", "one of other variants or settings", remedy)
        return
    claim_folder(run.out, STAGE, overwrite=run.overwrite, inputs=run.inputs)
    write_json(run.out / RECORD, provenance(plan["config"]) | plan)


def _hash(data: DataConfig) -> str:
    """Names the dataset of a configuration."""
    tree = data.model_dump(mode="json", exclude={"num_workers"})
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:10]


def _steps(stage: StageConfig, baseline: LabelVariant, datasets: Mapping[str, Path]) -> int:
    """Steps per epoch of the first variant: the budget of all."""
    dataset = FaceDataset(next(iter(datasets.values())))
    weights = dataset.weights({**stage.train.source_weights, **baseline.weights})
    step_size = stage.train.batch_size * stage.train.grad_accumulation
    return steps_per_epoch(weights[dataset.indices(Split.TRAIN, labelled=True)], step_size)


def _plain(name: str) -> str:
    """A variant's name as that of a folder."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + "-" + hashlib.sha256(name.encode()).hexdigest()[:4]


def _train(job: _Job) -> None:
    """Train one variant with one seed, and measure its last weights on every source that is measured only."""
    if job.threads:
        torch.set_num_threads(job.threads)
    dataset = FaceDataset(job.data)
    train_teacher(job.stage, dataset, job.run)
    model, _ = load_model(job.run.out / LAST)
    model.to(pick_device(job.run.device))
    faces, tested = dataset.faces, dataset.indices(Split.TEST, labelled=True)
    result: dict[str, float] = {}
    for k, source in enumerate(dataset.config.sources):
        rows = tested[faces.source[tested] == k]
        if len(rows):
            points = predict_dataset(model, dataset, rows).points
            truth, mask = faces.points[rows], faces.point_mask[rows]
            result[source.name] = float(np.nanmean(nme(points, truth, mask)) * 100)
            result[source.name + SHIFT_REMOVED] = float(np.nanmean(shift_removed_nme(points, truth, mask)[0]) * 100)
    if not result:
        raise PairError(job.data, "labelled faces of sources with split: test", "none", "Add such a source.")
    write_json(job.run.out / RESULT, result)


def _tell(progress: Progress, jobs: Sequence[_Job]) -> None:
    done = 0
    for job in jobs:
        rows = read_rows(job.run.out / METRICS)
        done += int(rows[-1]["step"]) if rows else 0
    note = f"{sum(job.is_done for job in jobs)} of {len(jobs)} trainings finished"
    progress(done, sum(job.steps for job in jobs), note)
