"""Training of a landmark network, teacher or student: data, losses and validation for the trainer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pair_fld.config import StageConfig
from pair_fld.data.dataset import FaceDataset, Split
from pair_fld.errors import PairError
from pair_fld.evaluate.metrics import nme
from pair_fld.models import LandmarkNet
from pair_fld.models.checkpoint import load_model, load_weights
from pair_fld.models.grow import grow
from pair_fld.progress import Say, say_nothing
from pair_fld.runs import provenance
from pair_fld.train.batches import BatchSource
from pair_fld.train.builder import build_train_step, loss_names
from pair_fld.train.distributed import Distributed, pick_device
from pair_fld.train.loss_terms import TEACHER, TERMS, needs_of
from pair_fld.train.metric_log import NME
from pair_fld.train.predict_dataset import LandmarkPredictions, predict_dataset
from pair_fld.train.resume import ResumeRules
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.trainer import Metrics, Reporter, Trainer, TrainJob

RULES = ResumeRules(
    config=StageConfig,
    learning=("train.lr", "train.epochs"),
    running=("train.threads", "train.checkpoint_minutes"),
    lr_key="train.lr",
)


@dataclass(frozen=True)
class Teaching:
    """What a student learns from, besides labels.

    Attributes:
        predictions: the teacher's, of the whole dataset.
        teacher_id: sha256 of the teacher's checkpoint, for the record.
        model: the teacher's network, where the losses need its outputs in every step.
        annotators: what the teachers that are annotators say of themselves, for the card.
    """

    predictions: LandmarkPredictions
    teacher_id: str
    model: LandmarkNet | None = None
    annotators: tuple[dict[str, Any], ...] = ()


def train_landmarks(
    stage: StageConfig,
    dataset: FaceDataset,
    run: RunSpec,
    *,
    teaching: Teaching | None = None,
    init_from: Path | None = None,
    grow_from: Path | None = None,
    report: Reporter | None = None,
    say: Say = say_nothing,
) -> Path:
    """Train a landmark network, and return the path of its best checkpoint.

    Under torchrun, every process calls this with the same arguments.

    Args:
        stage: network, optimisation and losses.
        dataset: faces of the training and the validation split.
        run: where the run is kept, and how it starts.
        teaching: makes the network a student; without it, it is a teacher.
        init_from: checkpoint whose weights the network starts with. Optimizer, schedule and EMA start anew.
        grow_from: checkpoint of a smaller net that the network starts as, see `models.grow`.
        report: called after every step, in the main process only.
        say: called with a sentence of what was taken over from `grow_from`.

    Raises:
        PairError: the configuration does not fit the data or the weights to start with, or as `Trainer.fit`.
        KeyboardInterrupt: as `Trainer.fit`.
    """
    device = pick_device(run.device)
    distributed = Distributed.init(device)
    job = _job(
        stage, dataset, teaching, device, distributed
    )  # before the run folder is touched: it checks all settings
    start = grow_from or init_from
    if start is not None:
        state = job.step.state
        assert isinstance(state.model, LandmarkNet)
        smaller, kept = load_model(start)
        if grow_from is None:
            load_weights(state.model, kept["ema"], start)
        else:
            say(f"{start}: {grow(state.model, kept['ema'], smaller.config)}")
        state.restart_ema()
    return Trainer(job, run, distributed, report).fit()


def stage_name(kind: str) -> str:
    """What a run folder's marker says; kind: "teacher" or "student"."""
    return f"training of a {kind}"


def _job(
    stage: StageConfig, dataset: FaceDataset, teaching: Teaching | None, device: torch.device, distributed: Distributed
) -> TrainJob:
    train, kind = stage.train, "teacher" if teaching is None else "student"
    if teaching is None and TEACHER in needs_of(loss_names(stage)):
        taught = ", ".join(name for name in train.losses if TEACHER in TERMS[name].needs)
        raise PairError("train.losses", "losses of labels alone", taught, "Train this stage with pairfld distill.")
    if train.threads:
        torch.set_num_threads(train.threads)
    source = BatchSource(dataset, stage, device, teaching.predictions if teaching else None, distributed)
    _check_faces(dataset, source, source.step_size * distributed.size)
    record = provenance(stage.model_dump(mode="json"), seed=train.seed, data_hash=dataset.data_hash)
    record |= {"kind": kind, "processes": distributed.size}
    if teaching is not None:
        record["teacher"] = teaching.teacher_id
        if teaching.annotators:
            record["annotators"] = list(teaching.annotators)
    steps = train.epochs * source.steps_per_epoch
    step = build_train_step(
        stage, device, steps=steps, warmup=round(train.warmup_epochs * source.steps_per_epoch),
        distributed=distributed, teacher=teaching.model if teaching else None,
    )  # fmt: skip
    validation = _Validation(dataset, dataset.indices(Split.VALID, labelled=True), train.amp, device, distributed)
    return TrainJob(record, stage_name(kind), source, step, steps, RULES, validation, train.checkpoint_minutes)


def _check_faces(dataset: FaceDataset, source: BatchSource, step_size: int) -> None:
    drawn = float(source.weights.sum())
    if drawn < step_size:
        found = f"{len(source.indices)} faces of summed weight {drawn:g} for a step of {step_size}"
        remedy = "Prepare faces of the training split (labelled ones, without a teacher), with weights above 0."
        if drawn >= 1:
            remedy = "Lower train.batch_size."
        raise PairError(dataset.folder, "at least one batch of faces to train on", found, remedy)


@dataclass(frozen=True)
class _Validation:
    """NME of a network on labelled validation faces, divided among the processes."""

    dataset: FaceDataset
    indices: np.ndarray
    amp: bool
    device: torch.device
    distributed: Distributed

    def __call__(self, model: nn.Module) -> Metrics:
        count = len(self.indices)
        if not count:
            return {NME: None}
        assert isinstance(model, LandmarkNet)
        own = self.indices[self.distributed.shard(count)]
        predictions = predict_dataset(model, self.dataset, own, amp=self.amp)
        points = self.distributed.all_gather(predictions.points, count, self.device)
        faces = self.dataset.faces
        error = nme(points, faces.points[self.indices], faces.point_mask[self.indices])
        return {NME: float(np.nanmean(error) * 100)}
