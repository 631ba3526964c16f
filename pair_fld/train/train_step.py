"""One update of the weights: forward, losses, backward, clipping, optimizer, EMA. Nothing here waits for the device."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pair_fld.config import TrainConfig
from pair_fld.models import LandmarkNet
from pair_fld.models.heads import Outputs
from pair_fld.train.distributed import ALONE, Team
from pair_fld.train.loss_terms import TERMS, Batch, Prediction
from pair_fld.train.teacher import LiveTeacher

_MEMORY = 0.98  # of the running averages of the losses


@dataclass(frozen=True)
class Seen:
    """What a look at the device found. `losses`: of the newest step, "loss" first; `averages`: running.

    bad_step: the first step whose losses or gradients were not finite. stop: whether any process was asked to.
    """

    losses: dict[str, float]
    averages: dict[str, float]
    bad_step: int | None
    stop: bool


class Trainee(nn.Module):
    """What a step calls and optimizes: a net, and a projection of its feature map to the teacher's channels if wanted.

    The projection serves training only; it is no part of the net.
    """

    def __init__(self, model: LandmarkNet, feature_channels: int | None = None) -> None:
        super().__init__()
        self.model = model
        mine = model.feature_channels
        self.project = None if feature_channels is None else nn.Conv2d(mine, feature_channels, 1)

    def forward(self, x: torch.Tensor) -> Outputs:
        outputs = self.model.outputs(x)
        return outputs if self.project is None else replace(outputs, feature=self.project(outputs.feature))


class Step:
    """Updates `trainee` (through `net`, which may average gradients over a team) and its net's EMA.

    `live` looks at every batch first, where losses need it.

    A step's loss is the weighted mean over all faces of the step, in whatever parts and processes they are computed.
    """

    def __init__(
        self, trainee: Trainee, net: nn.Module, ema: Any, optimizer: torch.optim.Optimizer, scheduler: Any,
        train: TrainConfig, device: torch.device, team: Team = ALONE, live: LiveTeacher | None = None,
    ) -> None:  # fmt: skip
        self.trainee, self.net, self.ema, self.optimizer, self.scheduler = trainee, net, ema, optimizer, scheduler
        self.model, self.live, self.train, self.device, self.team = trainee.model, live, train, device, team
        self.names = list(train.losses)
        self._factors = torch.tensor(list(train.losses.values()), device=device)
        self._values = torch.zeros(len(self.names) + 2, device=device)  # loss, terms, whether to stop
        self._averages: torch.Tensor | None = None
        self._never = torch.iinfo(torch.int64).max
        self._bad = torch.tensor(self._never, device=device)

    def __call__(self, step: int, images: torch.Tensor, batch: Batch, asked: bool = False) -> None:
        """Do step number `step`. asked: this process was asked to stop; `look` will tell everyone."""
        self.scheduler.step_update(step)
        self.optimizer.zero_grad(set_to_none=True)
        if self.live is not None:
            batch = self.live(images, batch)
        parts = _split(images, batch, self.train.grad_accumulation)
        shares = self._shares([part for _, part in parts])
        values = torch.zeros_like(self._values)
        for k, (pixels, part) in enumerate(parts):
            # gradients are exchanged once, with the last part
            last = k + 1 == len(parts)
            with self.net.no_sync() if isinstance(self.net, DistributedDataParallel) and not last else nullcontext():
                terms = self._terms(pixels, part)
                if shares is not None:
                    terms = terms * shares[k]
                total = (terms * self._factors).sum()
                (total * self.team.size).backward()  # the wrapper takes the mean over processes, we want the sum
            values[0] += total.detach()
            values[1:-1] += terms.detach()
        values[-1] = float(asked)
        self._values = self.team.sum(values)
        norm = nn.utils.clip_grad_norm_(self.trainee.parameters(), self.train.grad_clip)
        fine = torch.isfinite(values[0]) & torch.isfinite(norm)
        self._bad = torch.where(fine, self._bad, self._bad.clamp(max=step))
        self.optimizer.step()
        self.ema.update(self.model, step=step)
        new = values[:-1]
        self._averages = new if self._averages is None else torch.lerp(new, self._averages, _MEMORY)

    def look(self) -> Seen:
        """Wait for the device and read what the newest step left."""
        *values, stop = self._values.tolist()
        bad = int(self._bad)
        return Seen(self._named(values), self.averages(), None if bad == self._never else bad, stop > 0)

    def averages(self) -> dict[str, float]:
        """Running averages of the loss and its terms; empty before the first step."""
        return {} if self._averages is None else self._named(self._averages.tolist())

    def restore_averages(self, averages: dict[str, float]) -> None:
        if averages:
            self._averages = torch.tensor([averages[name] for name in ("loss", *self.names)], device=self.device)

    def _named(self, values: list[float]) -> dict[str, float]:
        return dict(zip(("loss", *self.names), values, strict=True))

    def _terms(self, images: torch.Tensor, batch: Batch) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.train.amp):
            outputs = self.net(images.contiguous(memory_format=torch.channels_last))
        prediction = Prediction(outputs, self.model.points(outputs.raw))
        return torch.stack([TERMS[name](prediction, batch) for name in self.names])

    def _shares(self, parts: list[Batch]) -> torch.Tensor | None:
        """(parts, terms): of all the weight that a term counts in this step, how much each of our parts holds."""
        if self.team.size == 1 and len(parts) == 1:
            return None
        # what the mean of each term divides by
        mine = torch.stack([torch.stack([TERMS[name].weight(part).sum() for name in self.names]) for part in parts])
        return mine / self.team.sum(mine.sum(dim=0)).clamp_min(1e-6)


def describe(losses: dict[str, float]) -> str:
    """The names of the losses that are not finite; "gradients" when all are."""
    return ", ".join(name for name, value in losses.items() if not math.isfinite(value)) or "gradients"


def _split(images: torch.Tensor, batch: Batch, count: int) -> list[tuple[torch.Tensor, Batch]]:
    if count == 1:
        return [(images, batch)]
    size = len(images) // count
    columns = [[None] * count if v is None else v.split(size) for v in vars(batch).values()]
    return [(pixels, Batch(*part)) for pixels, *part in zip(images.split(size), *columns, strict=True)]
