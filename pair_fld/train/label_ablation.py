"""What labels are worth: one student trained on the same images with other labels, equal in all else, over seeds.

    OUT/datasets/HASH/    packed faces of the variants whose data are the same
    OUT/VARIANT-SEED/     a training each; result.json when it is measured

An interrupted ablation goes on where it stopped: datasets, trainings and measurements.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from pair_fld.config import DataConfig, LabelAblationConfig, LabelVariant, StageConfig
from pair_fld.data.dataset import FaceDataset, Split
from pair_fld.data.packing.prepare import prepare
from pair_fld.data.second_opinion import open_reference
from pair_fld.errors import PairError
from pair_fld.evaluate.metrics import nme, shift_removed_nme
from pair_fld.io import file_hash
from pair_fld.progress import Progress, no_progress
from pair_fld.runs import provenance
from pair_fld.train.batches import steps_per_epoch
from pair_fld.train.compared_runs import ComparedRun, claim_comparison, train_and_measure, workers_and_threads
from pair_fld.train.comparison import VariantResult, compare_variants
from pair_fld.train.distill import train_teacher
from pair_fld.train.predict_dataset import predict_dataset
from pair_fld.train.run_folder import RunSpec

STAGE, DATASETS = "ablation of labels", "datasets"
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
        seeds: runs per variant, 2 or more.
        jobs: trainings in parallel; 0: one per core, or one on an accelerator.

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
    workers, threads = workers_and_threads(jobs, run.device)
    runs = {
        (name, seed): ComparedRun(
            label_stage(stage, variant.weights, seed, steps),
            datasets[name],
            RunSpec(run.out / f"{_plain(name)}-{seed}", resume=True, device=run.device),
            threads,
        )
        for seed in range(seeds)
        for name, variant in config.variants.items()
    }
    return compare_variants(train_and_measure(_train, runs, workers, progress), [next(iter(config.variants))])


def _claim(config: LabelAblationConfig, data: DataConfig, stage: StageConfig, run: RunSpec) -> None:
    plan: dict[str, Any] = {
        "variants": config.model_dump(mode="json"),
        "data": data.model_dump(mode="json", exclude={"num_workers"}),
        "config": stage.model_dump(mode="json"),
        "map": None if data.reference is None else file_hash(Path(data.reference.scheme)),
    }
    claim_comparison(run, STAGE, "ablation", plan, provenance(plan["config"]), "set of variants or settings")


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


def _train(run: ComparedRun) -> None:
    """Train one variant with one seed, and measure its last weights on every source that is measured only."""
    dataset = run.open_dataset()
    train_teacher(run.stage, dataset, run.run)
    model, faces = run.last_model(), dataset.faces
    tested = dataset.indices(Split.TEST, labelled=True)
    result: dict[str, float] = {}
    for k, source in enumerate(dataset.config.sources):
        rows = tested[faces.source[tested] == k]
        if len(rows):
            points = predict_dataset(model, dataset, rows).points
            truth, mask = faces.points[rows], faces.point_mask[rows]
            result[source.name] = float(np.nanmean(nme(points, truth, mask)) * 100)
            result[source.name + SHIFT_REMOVED] = float(np.nanmean(shift_removed_nme(points, truth, mask)[0]) * 100)
    if not result:
        raise PairError(run.data, "labelled faces of sources with split: test", "none", "Add such a source.")
    run.write_result(result)
