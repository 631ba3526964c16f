"""What distillation is worth: one student trained without parts of its teaching, equal in all else, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pair_fld.config import StageConfig
from pair_fld.data.dataset import FaceDataset, LabelSource, Split
from pair_fld.errors import PairError
from pair_fld.evaluate.metrics import nme
from pair_fld.models import LandmarkNet
from pair_fld.progress import Progress, no_progress
from pair_fld.runs import provenance
from pair_fld.train.batches import steps_per_epoch
from pair_fld.train.builder import build_train_step, loss_names
from pair_fld.train.compared_runs import ComparedRun, claim_comparison, train_and_measure, workers_and_threads
from pair_fld.train.comparison import VariantResult, compare_variants
from pair_fld.train.distill import distill, per_step_teacher
from pair_fld.train.predict_dataset import predict_dataset
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.teacher_predictions import teacher_id, teacher_predictions

STAGE = "ablation"
HEATMAP_KD = ("kd_heatmap", "kd_l2", "kd_fused", "kd_simcc")
COORDINATE_KD = ("kd_wing", "kd_smooth_l1")
VALID_NAME = "validation split"


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        heatmap: keeps the `kd_` terms of heatmaps.
        coordinate: keeps the `kd_` terms of coordinates.
        other: keeps all other `kd_` terms.
        down_weighted: machine-made labels have the weight that they have beside a teacher, rather than full weight.
        unlabelled: trains on faces without labels too.
    """

    heatmap: bool = False
    coordinate: bool = False
    other: bool = False
    down_weighted: bool = True
    unlabelled: bool = False

    def keeps(self, term: str) -> bool:
        """Whether a loss term stays; those of labels always do."""
        if not term.startswith("kd_"):
            return True
        return self.heatmap if term in HEATMAP_KD else self.coordinate if term in COORDINATE_KD else self.other


# The first two have no teacher: the plain baseline, and a control for the down-weighting of machine-made labels, which
# all taught variants have. All but the last have the same faces in the same order with the same augmentation.
VARIANTS: dict[str, Variant] = {
    "no teacher": Variant(down_weighted=False),
    "no teacher, down-weighted machine labels": Variant(),
    "heatmap KD": Variant(heatmap=True),
    "coordinate KD": Variant(coordinate=True),
    "all KD": Variant(heatmap=True, coordinate=True, other=True),
    "all KD, unlabelled faces too": Variant(heatmap=True, coordinate=True, other=True, unlabelled=True),
}
BASELINES = tuple(VARIANTS)[:2]


@dataclass(frozen=True)
class AblationSpec:
    """How an ablation is run.

    Attributes:
        run: output folder, and whether an earlier ablation there is continued or replaced.
        seeds: runs per variant.
        jobs: runs to train in parallel; 0: one per core with one thread each on a CPU, one on an accelerator.
        cache: folder of the cached teacher predictions, the output folder by default.
    """

    run: RunSpec
    seeds: int = 3
    jobs: int = 0
    cache: Path | None = None

    @property
    def cache_folder(self) -> Path:
        return self.cache or self.run.out


@dataclass(frozen=True)
class _DistilledRun(ComparedRun):
    teachers: tuple[Path, ...]
    cache: Path


def variants_for(dataset: FaceDataset) -> dict[str, Variant]:
    """The variants that differ on this data: some need machine-made labels or faces without labels."""
    labels = set(dataset.faces.label[dataset.indices(Split.TRAIN)].tolist())
    same = set[str]() if LabelSource.MACHINE in labels else {BASELINES[1]}
    if LabelSource.NONE not in labels:
        same |= {name for name, variant in VARIANTS.items() if variant.unlabelled}
    return {name: variant for name, variant in VARIANTS.items() if name not in same}


def ablate(
    stage: StageConfig,
    dataset: FaceDataset,
    teachers: Sequence[Path],
    spec: AblationSpec,
    progress: Progress = no_progress,
) -> list[VariantResult]:
    """Train every variant with every seed, each in a folder of its own, and compare their last weights.

    The measured faces choose nothing: the last EMA weights count, not those of the best epoch.

    Args:
        stage: the student.
        dataset: the faces.
        teachers: checkpoints.
        spec: how it is run.
        progress: called with the number of steps done.

    Raises:
        PairError: the stage has no `kd_` term of a family to leave out, there are no faces to measure on, or as
            `distill` and `claim_folder`.
    """
    _check(stage, dataset, spec.seeds, per_step_teacher(stage, teachers))
    _claim(stage, dataset, teachers, spec.run)
    teacher_predictions(
        teachers, dataset, spec.cache_folder, views=stage.distill.teacher_views, device=spec.run.device,
        progress=progress,
    )  # fmt: skip
    variants = variants_for(dataset)
    workers, threads = workers_and_threads(spec.jobs, spec.run.device)
    runs = {
        (name, seed): _DistilledRun(
            variant_stage(stage, name, seed, dataset), dataset.folder,
            RunSpec(spec.run.out / _folder_name(name, seed), resume=True, device=spec.run.device), threads,
            tuple(teachers), spec.cache_folder,
        )
        for seed in range(spec.seeds)
        for name in variants
    }  # fmt: skip
    results = train_and_measure(_train_variant, runs, workers, progress)
    return compare_variants(results, [name for name in BASELINES if name in variants])


def _check(stage: StageConfig, dataset: FaceDataset, seeds: int, teacher: LandmarkNet | None) -> None:
    names = loss_names(stage)
    for family, members in (("heatmap", HEATMAP_KD), ("coordinate", COORDINATE_KD)):
        if not set(members) & set(names):
            expected = f"a term of {family} distillation ({', '.join(members)})"
            raise PairError("train.losses", expected, ", ".join(names), "Add one; ablate trains with and without it.")
    if not {name for name in names if not name.startswith("kd_")}:
        raise PairError("train.losses", "a term of labels for the student without a teacher", "none", "Add one.")
    if seeds < 2:
        raise PairError("--seeds", "2 or more, to tell a gain from chance", str(seeds), "Give 3 or more.")
    for splits, what in (((Split.TRAIN,), "to train on"), ((Split.VALID, Split.TEST), "to measure on")):
        if not any(len(dataset.indices(split, labelled=True)) for split in splits):
            raise PairError(dataset.folder, f"labelled faces {what}", "none", "Prepare others.")
    build_train_step(stage, torch.device("cpu"), steps=2, teacher=teacher)  # checks that all terms fit both networks


def _claim(stage: StageConfig, dataset: FaceDataset, teachers: Sequence[Path], run: RunSpec) -> None:
    plan: dict[str, Any] = {
        "config": stage.model_dump(mode="json"),
        "teacher": teacher_id(teachers, dataset),
        "data_hash": dataset.data_hash,
    }
    extra = provenance(plan["config"], data_hash=dataset.data_hash)
    extra |= {"variants": {name: asdict(v) for name, v in VARIANTS.items()}}
    claim_comparison(run, STAGE, "ablation", plan, extra, "configuration, teacher or data")


def _folder_name(variant: str, seed: int) -> str:
    return f"{variant.replace(',', '').replace(' ', '-')}-{seed}"


def variant_stage(stage: StageConfig, name: str, seed: int, dataset: FaceDataset) -> StageConfig:
    """The stage as a variant trains it. All variants have the number of steps of the labelled faces."""
    variant = VARIANTS[name]
    labelled = dataset.weights(stage.train.source_weights)[dataset.indices(Split.TRAIN, labelled=True)]
    step_size = stage.train.batch_size * stage.train.grad_accumulation
    train = {
        "losses": {term: factor for term, factor in stage.train.losses.items() if variant.keeps(term)},
        "seed": seed,
        "steps_per_epoch": stage.train.steps_per_epoch or steps_per_epoch(labelled, step_size),
    }
    teaching: dict[str, Any] = {"unlabelled": variant.unlabelled, "teacher_mode": stage.distill.teacher_mode}
    if not variant.down_weighted:
        teaching["machine_labels"] = 1.0
    if not (variant.heatmap and variant.coordinate):
        teaching["fill_max_sigma"] = 0.0  # a filled label is a coordinate of the teacher's
    return stage.model_copy(
        update={"train": stage.train.model_copy(update=train), "distill": stage.distill.model_copy(update=teaching)}
    )


def _train_variant(run: _DistilledRun) -> None:
    """Train one variant with one seed, and measure its last weights on every source that is not trained on."""
    dataset = run.open_dataset()
    distill(run.stage, dataset, run.teachers, run.run, cache=run.cache)
    model, faces = run.last_model(), dataset.faces
    sets = {VALID_NAME: dataset.indices(Split.VALID, labelled=True)}
    tested = dataset.indices(Split.TEST, labelled=True)
    sets |= {source.name: tested[faces.source[tested] == k] for k, source in enumerate(dataset.config.sources)}
    result: dict[str, float] = {}
    for name, indices in sets.items():
        if len(indices):
            points = predict_dataset(model, dataset, indices).points
            error = nme(points, faces.points[indices], faces.point_mask[indices])
            result[name] = float(np.nanmean(error) * 100)
    run.write_result(result)
