"""From a stage's configuration to what trains it: model, fitting losses, optimizer, schedule, EMA and teacher."""

from __future__ import annotations

import torch

from pair_fld.config import StageConfig
from pair_fld.errors import PairError
from pair_fld.models import LandmarkNet, build_model
from pair_fld.train.distributed import SINGLE_PROCESS, Distributed
from pair_fld.train.loss_terms import (
    TEACHER_MAPS,
    TEACHER_PER_STEP,
    TERMS,
    LandmarkObjective,
    needs_of,
    unfit_terms,
)
from pair_fld.train.teacher import DistillationTeacher
from pair_fld.train.train_step import OptimizerSpec, TrainModule, TrainState, TrainStep


def needs_teacher_per_step(stage: StageConfig) -> bool:
    """Whether the stage's losses need the teacher's outputs for every batch."""
    names = loss_names(stage)
    return TEACHER_PER_STEP in needs_of(names) or (stage.distill.teacher_mode == "per_step" and "kd_l2" in names)


def loss_names(stage: StageConfig) -> list[str]:
    """The names of the stage's loss terms; PairError for unknown ones."""
    unknown = sorted(set(stage.train.losses) - set(TERMS))
    if unknown:
        raise PairError("train.losses", f"terms among {', '.join(TERMS)}", ", ".join(unknown), "Correct the names.")
    return list(stage.train.losses)


def build_train_step(
    stage: StageConfig,
    device: torch.device,
    *,
    steps: int,
    warmup: int = 0,
    distributed: Distributed = SINGLE_PROCESS,
    teacher: LandmarkNet | None = None,
) -> TrainStep:
    """A freshly initialised model with its optimizer, schedule, EMA and losses.

    Args:
        stage: what is trained.
        device: where it is trained.
        steps: length of the schedule.
        warmup: steps of the schedule's warm-up.
        distributed: the processes that train it together.
        teacher: the teacher's network, for losses that need its outputs in every step.

    Raises:
        PairError: losses that do not fit the model or its teacher.
    """
    train, names = stage.train, loss_names(stage)
    torch.manual_seed(train.seed)
    model = build_model(stage.model)
    if unfit := unfit_terms(names, model):
        found = f"{', '.join(unfit)} with {stage.model.arch}"
        remedy = "Remove the terms, or choose a network (or model.options.head) that has the outputs they compare."
        raise PairError("train.losses", f"terms that fit a net of {model.output_kind} outputs", found, remedy)
    per_step = _per_step_teacher(stage, model, teacher, device) if needs_teacher_per_step(stage) else None
    channels = teacher.feature_channels if teacher is not None and "kd_feature" in names else None
    spec = OptimizerSpec(
        lr=train.lr,
        weight_decay=train.weight_decay,
        steps=steps,
        warmup=warmup,
        grad_clip=train.grad_clip,
        ema_decay=train.ema_decay,
        grad_accumulation=train.grad_accumulation,
        amp=train.amp,
    )
    state = TrainState(model, TrainModule(model, channels), spec, device, distributed)
    return TrainStep(state, LandmarkObjective(train.losses, model.points), device, distributed, per_step)


def _per_step_teacher(
    stage: StageConfig, student: LandmarkNet, teacher: LandmarkNet | None, device: torch.device
) -> DistillationTeacher:
    if teacher is None:
        raise PairError("train.losses", "a teacher for every batch", "none", "Train with pairfld distill.")
    names = loss_names(stage)
    fused = TEACHER_MAPS in needs_of(names)
    heatmaps = "kd_l2" in names or fused
    per_step = DistillationTeacher(teacher, stage.model, device, stage.train.amp, heatmaps=heatmaps, fused=fused)
    if fused and (own := _map_size(student)) != (other := _map_size(teacher)):
        expected = f"a teacher with fused heatmaps of {own[0]} x {own[1]} cells, as the student's"
        remedy = "Choose input sizes and strides that give both the same."
        raise PairError("train.losses", expected, f"{other[0]} x {other[1]}", remedy)
    return per_step


def _map_size(model: LandmarkNet) -> tuple[int, ...]:
    """Height and width of a heatmap network's maps."""
    side, device, was_training = model.config.input_size, next(model.parameters()).device, model.training
    with torch.inference_mode():
        shape = model.eval()(torch.zeros(1, 3, side, side, device=device)).shape
    model.train(was_training)
    return tuple(shape[-2:])
