"""One optimizer step: forward, losses, backward, clipping, optimizer, EMA; only `read_stats` waits for the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pair_fld.models import LandmarkNet
from pair_fld.models.heads import Outputs
from pair_fld.train.distributed import SINGLE_PROCESS, Distributed
from pair_fld.train.schedule import adamw, cosine_schedule, weight_average

_MOMENTUM = 0.98  # of the running averages of the losses


class Objective(Protocol):
    """A total loss: the sum of named terms times their factors, each term a weighted mean over the batch."""

    @property
    def factors(self) -> Mapping[str, float]:
        """Factor of each term in the total, by its name."""
        ...

    def terms(self, outputs: Any, batch: Any) -> torch.Tensor:
        """(T,) the terms, before their factors."""
        ...

    def weights(self, batch: Any) -> torch.Tensor:
        """(T,) the total weight of each term's mean, of the batch alone."""
        ...


@dataclass(frozen=True)
class OptimizerSpec:
    """AdamW with a cosine schedule by steps, clipping and EMA.

    Attributes:
        lr: highest learning rate.
        weight_decay: of all weights except norms and biases.
        steps: length of the schedule.
        warmup: steps of linear increase from 0.
        grad_clip: largest gradient norm.
        ema_decay: None for no EMA.
        grad_accumulation: parts of a step that are computed one after the other.
        amp: bfloat16 autocast.
    """

    lr: float
    weight_decay: float
    steps: int
    warmup: int
    grad_clip: float = 5.0
    ema_decay: float | None = None
    grad_accumulation: int = 1
    amp: bool = False


@dataclass(frozen=True)
class StepStats:
    """What the steps so far left on the device.

    Attributes:
        losses: of the newest step, "loss" (the total) first.
        averages: running averages of the same.
        bad_step: first step whose losses or gradients were not finite, None if all were.
    """

    losses: dict[str, float]
    averages: dict[str, float]
    bad_step: int | None


class TrainModule(nn.Module):
    """A landmark network and, for distillation of features, a projector of its feature map to the teacher's channels.

    The projector serves training only; it is no part of the network.
    """

    def __init__(self, model: LandmarkNet, teacher_channels: int | None = None) -> None:
        super().__init__()
        self.model = model
        channels = model.feature_channels
        self.projector = None if teacher_channels is None else nn.Conv2d(channels, teacher_channels, 1)

    def forward(self, x: torch.Tensor) -> Outputs:
        """(B, 3, S, S) normalised BGR -> outputs, with the projected feature map."""
        outputs = self.model.outputs(x)
        return outputs if self.projector is None else replace(outputs, feature=self.projector(outputs.feature))


class TrainState:
    """What a run trains and a checkpoint holds: model, projector, EMA, optimizer and its schedule.

    Args:
        model: what the checkpoint holds.
        module: what is called and optimized; `model` itself, or a module that contains it.
        spec: how it is optimized.
        device: where it is trained.
        distributed: the processes that train it together.

    Attributes:
        net: `module`, wrapped where several processes train it.
    """

    def __init__(
        self,
        model: nn.Module,
        module: nn.Module,
        spec: OptimizerSpec,
        device: torch.device,
        distributed: Distributed = SINGLE_PROCESS,
    ) -> None:
        self.model, self.spec = model, spec
        self.module = module.to(device)
        self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = None if spec.ema_decay is None else weight_average(model, spec.ema_decay)
        self.net = distributed.wrap(self.module, device)  # after the EMA's copy, which needs no shared statistics
        self.optimizer = adamw(self.module, spec.lr, spec.weight_decay)
        self.schedule = cosine_schedule(self.optimizer, spec.steps, spec.warmup)

    @property
    def projector(self) -> nn.Module | None:
        return self.module.projector if isinstance(self.module, TrainModule) else None

    @property
    def lr(self) -> float:
        """Learning rate of the newest step."""
        return self.optimizer.param_groups[0]["lr"]

    def averaged_model(self) -> nn.Module:
        """The model with its EMA weights, or the model itself where there are none."""
        return self.model if self.ema is None else self.ema.module

    def restart_ema(self) -> None:
        """Let the EMA start from the model's weights as they are now."""
        if self.ema is not None:
            self.ema.module.load_state_dict(self.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.ema is not None:
            state["ema"] = self.ema.module.state_dict()
        if self.projector is not None:
            state["projector"] = self.projector.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`; raises KeyError, TypeError, ValueError or RuntimeError where it does not fit."""
        self.model.load_state_dict(state["model"])
        if self.ema is not None:
            self.ema.module.load_state_dict(state["ema"])
        if self.projector is not None:
            # "project" in checkpoints of earlier versions
            self.projector.load_state_dict(state["projector"] if "projector" in state else state["project"])
        self.optimizer.load_state_dict(state["optimizer"])


class TrainStep:
    """Does optimizer steps and keeps their losses on the device until `read_stats`.

    A step's loss is the weighted mean over all samples of the step, in whatever parts and processes they are computed.

    Args:
        state: what is trained.
        objective: what is minimised.
        device: where the batches are.
        distributed: the processes that do each step together.
        teacher: adds a teacher's outputs to a batch.
    """

    def __init__(
        self,
        state: TrainState,
        objective: Objective,
        device: torch.device,
        distributed: Distributed = SINGLE_PROCESS,
        teacher: Callable[[torch.Tensor, Any], Any] | None = None,
    ) -> None:
        self.state, self.objective, self.teacher = state, objective, teacher
        self.device, self.distributed, self.spec = device, distributed, state.spec
        self._names = ("loss", *objective.factors)
        self._factors = torch.tensor(list(objective.factors.values()), device=device)
        self._values = torch.zeros(len(self._names), device=device)
        self._averages: torch.Tensor | None = None
        self._never = torch.iinfo(torch.int64).max
        self._bad_step = torch.tensor(self._never, device=device)

    def __call__(self, step: int, images: torch.Tensor, batch: Any) -> None:
        """Do step number `step` on this process's part of its samples."""
        state = self.state
        state.schedule.step_update(step)
        state.optimizer.zero_grad(set_to_none=True)
        if self.teacher is not None:
            batch = self.teacher(images, batch)
        self._values = self.distributed.all_reduce(self._backward(images, batch))
        norm = nn.utils.clip_grad_norm_(state.module.parameters(), self.spec.grad_clip)
        finite = torch.isfinite(self._values[0]) & torch.isfinite(norm)
        self._bad_step = torch.where(finite, self._bad_step, self._bad_step.clamp(max=step))
        state.optimizer.step()
        if state.ema is not None:
            state.ema.update(state.model, step=step)
        values = self._values
        self._averages = values if self._averages is None else torch.lerp(values, self._averages, _MOMENTUM)

    def read_stats(self) -> StepStats:
        """Synchronise with the device and read what the newest step left."""
        bad_step = int(self._bad_step)
        losses = self._named(self._values)
        return StepStats(losses, self.averages(), None if bad_step == self._never else bad_step)

    def averages(self) -> dict[str, float]:
        """Running averages of the loss and its terms; empty before the first step."""
        return {} if self._averages is None else self._named(self._averages)

    def restore_averages(self, averages: Mapping[str, float]) -> None:
        """Continue from `averages` of a checkpoint."""
        if averages:
            self._averages = torch.tensor([averages[name] for name in self._names], device=self.device)

    def _named(self, values: torch.Tensor) -> dict[str, float]:
        return dict(zip(self._names, values.tolist(), strict=True))

    def _backward(self, images: torch.Tensor, batch: Any) -> torch.Tensor:
        """Add up the gradients of all parts; (1 + T,) this process's share of the loss and its terms."""
        count = self.spec.grad_accumulation
        parts = [(images, batch)]
        if count > 1:
            parts = list(zip(images.split(len(images) // count), batch.split(count), strict=True))
        shares = self._shares([part for _, part in parts])
        values = torch.zeros_like(self._values)
        for k, (pixels, part) in enumerate(parts):
            # gradients are exchanged once, with the last part
            exchange = k + 1 == len(parts) or not isinstance(self.state.net, DistributedDataParallel)
            with nullcontext() if exchange else self.state.net.no_sync():  # type: ignore[operator]
                terms = self._terms(pixels, part)
                if shares is not None:
                    terms = terms * shares[k]
                total = (terms * self._factors).sum()
                (total * self.distributed.size).backward()  # DistributedDataParallel averages, but we need the sum
            values[0] += total.detach()
            values[1:] += terms.detach()
        return values

    def _terms(self, images: torch.Tensor, batch: Any) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.spec.amp):
            outputs = self.state.net(images.contiguous(memory_format=torch.channels_last))
        return self.objective.terms(outputs, batch)

    def _shares(self, parts: list[Any]) -> torch.Tensor | None:
        """(parts, T): each part's share of the total weight that a term has in this step, None where that is 1."""
        if self.distributed.size == 1 and len(parts) == 1:
            return None
        own = torch.stack([self.objective.weights(part) for part in parts])
        return own / self.distributed.all_reduce(own.sum(dim=0)).clamp_min(1e-6)


def not_finite(losses: Mapping[str, float]) -> str:
    """The names of the losses that are not finite; "gradients" when all losses are."""
    return ", ".join(name for name, value in losses.items() if not math.isfinite(value)) or "gradients"
