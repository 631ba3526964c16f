"""Batch norm with statistics over all processes, for the CPU, where torch.nn.SyncBatchNorm does not run.

It is exact rather than fast: mean and variance are two messages per layer and direction. That exactness lets several
CPU processes follow the loss curve of one, so the distributed code is tested without GPUs. (Ghost batch norm, with the
statistics of each process's own part, needs no messages but trains another function.)
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pair_fld.models import timm_compat


class _AllReduce(torch.autograd.Function):
    """Sum over the processes: of values in the forward pass, of gradients in the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, group: dist.ProcessGroup | None) -> torch.Tensor:
        ctx.group = group
        total = values.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


class CpuSyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, which must have the same size.

    Attributes:
        group: process group of the messages.
        after: what the replaced layer did to its result; timm's norms hold their activation.
    """

    def __init__(self, num_features: int, eps: float, momentum: float | None) -> None:
        super().__init__(num_features, eps, momentum)
        self.group: dist.ProcessGroup | None = None
        self.after: nn.Module = nn.Identity()

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape."""
        if not self.training:
            return self.after(super().forward(input))
        x, processes = input.float(), dist.get_world_size()
        mean = _AllReduce.apply(x.mean(dim=(0, 2, 3)), self.group) / processes
        x = x - mean[:, None, None]
        variance = _AllReduce.apply(x.square().mean(dim=(0, 2, 3)), self.group) / processes
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


def convert_cpu_sync_batchnorm(module: nn.Module) -> None:
    """Replace every BatchNorm2d within `module` by a CpuSyncBatchNorm with the same parameters and buffers."""
    # a process group of its own: these messages must not mix with those of the gradient buckets
    group = dist.new_group()
    assert isinstance(group, dist.ProcessGroup)  # every process is a member
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                shared = CpuSyncBatchNorm(child.num_features, child.eps, child.momentum)
                shared.weight, shared.bias = child.weight, child.bias
                for buffer in ("running_mean", "running_var", "num_batches_tracked"):
                    setattr(shared, buffer, getattr(child, buffer))
                shared.after = timm_compat.activation_within(child)
                shared.group = group
                setattr(parent, name, shared)
