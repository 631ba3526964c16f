"""Data-parallel training under `torchrun`: one process per GPU, or several on a CPU.

N processes with batches of B train what one process with batches of N x B trains: the same faces in the same order and
with the same augmentation, losses averaged over all of them, shared batch statistics. Rank 0 alone writes and reports.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pair_fld.errors import PairError
from pair_fld.models import timm_compat
from pair_fld.train.cpu_sync_bn import convert_cpu_sync_batchnorm

T = TypeVar("T")


def pick_device(name: str) -> torch.device:
    """The torch device of a name; `auto` is CUDA where there is one, else the CPU.

    Under torchrun, `auto` and `cuda` mean the GPU of this process's local rank.

    Raises:
        PairError: torch cannot use the device.
    """
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        if device.type == "cuda" and device.index is None and _environment("WORLD_SIZE", 1) > 1:
            device = torch.device("cuda", _environment("LOCAL_RANK", 0))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        found = f"{name!r} ({str(error).splitlines()[0]})"
        raise PairError("--device", "a device that this torch can use", found, "Use cpu or auto.") from None
    return device


def _environment(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise PairError(f"environment variable {name}", "a whole number, as torchrun sets it", repr(text), "Unset it.")
    return int(text)


def is_main_process() -> bool:
    """Whether this process has rank 0 or is the only one; reads the environment, so it works before `init` too."""
    return _environment("WORLD_SIZE", 1) < 2 or _environment("RANK", 0) == 0


@dataclass(frozen=True)
class Distributed:
    """This process's rank among `size` processes, and the collective operations of training.

    With one process, every operation returns its input.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def init(cls, device: torch.device) -> Distributed:
        """Join the process group of torchrun's environment variables: gloo on the CPU, NCCL on CUDA."""
        size = _environment("WORLD_SIZE", 1)
        if size < 2:
            return SINGLE_PROCESS
        if not dist.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            atexit.register(_destroy)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def shard(self, count: int) -> slice:
        """This process's part of `count` rows; all parts have the same size except the last ones."""
        size = -(-count // self.size)
        return slice(min(self.rank * size, count), min((self.rank + 1) * size, count))

    def all_gather(self, part: np.ndarray, count: int, device: torch.device) -> np.ndarray:
        """All `count` rows, from the `shard` of every process."""
        if self.size == 1:
            return part
        own = torch.zeros(-(-count // self.size), *part.shape[1:], dtype=torch.from_numpy(part).dtype, device=device)
        own[: len(part)] = torch.from_numpy(part).to(device)
        parts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own)
        return torch.cat(parts)[:count].cpu().numpy()

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        return bool(self.all_reduce(torch.tensor(float(flag), device=device)) > 0)

    def broadcast(self, value: T) -> T:
        """Rank 0's value, in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def barrier(self) -> None:
        """Block until all processes arrive."""
        if self.size > 1:
            dist.barrier()

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module to call in training: `module` itself for one process, else a DistributedDataParallel of it.

        Batch norms within `module` are replaced by ones with shared statistics; parameters and their names stay.
        """
        if self.size == 1:
            return module
        if device.type == "cuda":
            timm_compat.convert_sync_batchnorm(module)
        else:
            convert_cpu_sync_batchnorm(module)
        ids = [device.index] if device.type == "cuda" else None
        # shared statistics are equal in all processes already, so buffers need no broadcast
        word = "forward_sync_buffers"  # its name since torch 2.13
        if word not in signature(DistributedDataParallel).parameters:
            word = "broadcast_buffers"
        no_broadcast: dict[str, Any] = {word: False}
        return DistributedDataParallel(module, device_ids=ids, gradient_as_bucket_view=True, **no_broadcast)


SINGLE_PROCESS = Distributed()


def _destroy() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
