"""A stage's configuration -> what trains: model, fitting losses, optimizer, schedule, EMA, the teacher looking on."""

from __future__ import annotations

import torch

from pair_fld.config import StageConfig
from pair_fld.errors import PairError
from pair_fld.models import LandmarkNet, build_model
from pair_fld.models import timm_compat as library
from pair_fld.train.distributed import Team
from pair_fld.train.loss_terms import LIVE, LIVE_MAPS, TERMS, misfits, needed
from pair_fld.train.teacher import LiveTeacher
from pair_fld.train.train_step import Step, Trainee


def wants_live(stage: StageConfig) -> bool:
    """Whether the stage's losses look at the teacher's answer to every batch."""
    names = known_terms(stage)
    return LIVE in needed(names) or (stage.distill.teacher_mode == "per_step" and "kd_l2" in names)


def known_terms(stage: StageConfig) -> list[str]:
    """The names of the stage's loss terms; PairError for those that there are none of."""
    unknown = sorted(set(stage.train.losses) - set(TERMS))
    if unknown:
        raise PairError("train.losses", f"terms among {', '.join(TERMS)}", ", ".join(unknown), "Correct the names.")
    return list(stage.train.losses)


def _map_size(model: LandmarkNet) -> tuple[int, ...]:
    """Height and width of a heatmap net's maps."""
    side, parameter, was_training = model.config.input_size, next(model.parameters()), model.training
    with torch.inference_mode():
        shape = model.eval()(torch.zeros(1, 3, side, side, device=parameter.device)).shape
    model.train(was_training)
    return tuple(shape[-2:])


def start(
    stage: StageConfig, steps: int, warmup: int, device: torch.device, team: Team, teacher: LandmarkNet | None = None
) -> Step:
    """A fresh model with its EMA, optimizer and schedule over `steps`; PairError for losses that do not fit it.

    teacher: looks at every batch, where the losses need that.
    """
    train, names = stage.train, known_terms(stage)
    torch.manual_seed(train.seed)
    model = build_model(stage.model)
    if bad := misfits(names, model):
        found = f"{', '.join(bad)} with {stage.model.arch}"
        remedy = "Remove the terms, or choose a net (or model.options.head) that has the outputs they compare."
        raise PairError("train.losses", f"terms that fit a net of {model.output_kind} outputs", found, remedy)
    live = None
    if wants_live(stage):
        if teacher is None:
            raise PairError("train.losses", "a teacher for every batch", "none", "Train with pairfld distill.")
        fused = LIVE_MAPS in needed(names)
        live = LiveTeacher(teacher, stage.model, device, train.amp, heatmaps="kd_l2" in names or fused, fused=fused)
        if fused and (ours := _map_size(model)) != (theirs := _map_size(live.model)):
            expected = f"a teacher with fused heatmaps of {ours[0]} x {ours[1]} cells, as the student's"
            remedy = "Choose input sizes and strides that give both the same."
            raise PairError("train.losses", expected, f"{theirs[0]} x {theirs[1]}", remedy)
    channels = teacher.feature_channels if teacher is not None and "kd_feature" in names else None
    trainee = Trainee(model, channels).to(device)
    trainee.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = library.ema(model, train.ema_decay)
    net = team.wrap(trainee, device)  # after the EMA's copy, which needs no shared statistics
    optimizer = library.optimizer(trainee, train.lr, train.weight_decay)
    schedule = library.cosine(optimizer, steps, warmup)
    return Step(trainee, net, ema, optimizer, schedule, train, device, team, live)
