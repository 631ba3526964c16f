"""The processes that train one model together, as `torchrun` starts them; a team of one needs nothing of it.

N processes with batches of B do what one process does with batches of N x B: the same faces in the same order and
look, losses weighted over all of them, batch statistics shared. Rank 0 alone writes files and reports.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pair_fld.errors import PairError
from pair_fld.models import timm_compat as library

T = TypeVar("T")


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; PairError for a device that torch cannot use.

    Under torchrun `auto` and `cuda` are the GPU of this process's local rank.
    """
    try:
        where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        if where.type == "cuda" and where.index is None and _environment("WORLD_SIZE", 1) > 1:
            where = torch.device("cuda", _environment("LOCAL_RANK", 0))
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as fault:
        found = f"{name!r} ({str(fault).splitlines()[0]})"
        raise PairError("--device", "a device that this torch can use", found, "Use cpu or auto.") from None
    return where


def _environment(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise PairError(f"environment variable {name}", "a whole number, as torchrun sets it", repr(text), "Unset it.")
    return int(text)


def is_first() -> bool:
    """Whether this process is rank 0 or alone; asks the environment only, so it holds before `Team.join` too."""
    return _environment("WORLD_SIZE", 1) < 2 or _environment("RANK", 0) == 0


@dataclass(frozen=True)
class Team:
    """This process's place among `size` processes."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Team:
        """Meet the other processes that torchrun's environment variables name: gloo on the CPU, NCCL on CUDA."""
        size = _environment("WORLD_SIZE", 1)
        if size < 2:
            return ALONE
        if not dist.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(_leave)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's part of `count` things; parts are equal but for the last ones."""
        each = -(-count // self.size)
        return slice(min(self.rank * each, count), min((self.rank + 1) * each, count))

    def gather(self, part: np.ndarray, count: int, device: torch.device) -> np.ndarray:
        """The whole of `count` rows from everyone's `share`, to everyone."""
        if self.size == 1:
            return part
        mine = torch.zeros(-(-count // self.size), *part.shape[1:], dtype=torch.from_numpy(part).dtype, device=device)
        mine[: len(part)] = torch.from_numpy(part).to(device)
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(parts, mine)
        return torch.cat(parts)[:count].cpu().numpy()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def told(self, value: T) -> T:
        """Rank 0's value, to everyone."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def wait(self) -> None:
        """Until everyone is here."""
        if self.size > 1:
            dist.barrier()

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """What to call for training: `model` itself alone, else a wrapper that averages gradients over the team.

        Batch norms of `model` are replaced by ones with shared statistics; parameters and their names stay.
        """
        if self.size == 1:
            return model
        if device.type == "cuda":
            library.convert_sync_batchnorm(model)
        else:
            share_statistics(model)
        ids = [device.index] if device.type == "cuda" else None
        # statistics are equal everywhere already, so no buffers need to be sent
        return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True)


ALONE = Team()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


class _Sum(torch.autograd.Function):
    """Sum over the processes, of values forward and of gradients backward."""

    @staticmethod
    def forward(ctx, values: torch.Tensor, group) -> torch.Tensor:  # type: ignore[override]
        ctx.group = group
        total = values.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):  # type: ignore[override]
        total = gradient.contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, for the CPU, where torch.nn.SyncBatchNorm does not run.

    Exact rather than fast (mean and variance are two messages a layer and direction): it is what lets a team of CPU
    processes follow the loss curve of one, and so lets the team's logic be tested without GPUs. Ghost batch norm,
    statistics of each process's own part, would need no messages but train another function.
    """

    group: dist.ProcessGroup | None = None

    def __init__(self, num_features: int, eps: float, momentum: float | None) -> None:
        super().__init__(num_features, eps, momentum)
        self.after: nn.Module = nn.Identity()  # what the replaced layer did to its result: timm's hold activations

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return self.after(super().forward(input))
        x, processes = input.float(), dist.get_world_size()
        mean = _Sum.apply(x.mean(dim=(0, 2, 3)), self.group) / processes  # parts of equal size
        x = x - mean[:, None, None]
        variance = _Sum.apply(x.square().mean(dim=(0, 2, 3)), self.group) / processes
        with torch.no_grad():
            count = x.numel() / x.shape[1] * processes
            momentum = self.momentum if self.momentum is not None else 0.1
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return self.after((x * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype))


def share_statistics(model: nn.Module) -> None:
    """Replace every BatchNorm2d within `model` by a SharedBatchNorm that holds its parameters."""
    # a group of their own: these messages must not mix with those of the gradient buckets
    group = dist.new_group()
    assert isinstance(group, dist.ProcessGroup)  # everyone is a member
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                shared = SharedBatchNorm(child.num_features, child.eps, child.momentum)
                shared.weight, shared.bias = child.weight, child.bias
                for buffer in ("running_mean", "running_var", "num_batches_tracked"):
                    setattr(shared, buffer, getattr(child, buffer))
                shared.after = library.activation_within(child)
                shared.group = group
                setattr(parent, name, shared)
