"""How weights move: optimizer, learning-rate schedule, average of the weights; all timm's."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pair_fld.models.timm_compat import timm


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW: no decay on norms and biases, fused where torch has it."""
    return timm().optim.create_optimizer_v2(model, opt="adamw", lr=lr, weight_decay=weight_decay, fused=True)


def cosine_schedule(optimizer: torch.optim.Optimizer, steps: int, warmup: int) -> Any:
    """timm's cosine schedule by steps, from 0 over `warmup` steps up to the optimizer's rate and down to 1 % of it."""
    top = optimizer.param_groups[0]["lr"]
    return timm().scheduler.CosineLRScheduler(
        optimizer, t_initial=steps, lr_min=top / 100, warmup_t=warmup, warmup_prefix=False, t_in_epochs=False
    )


def weight_average(model: nn.Module, decay: float) -> Any:
    """timm's ModelEmaV3 with its warm-up; `.module` holds the averaged weights, `.update(model, step)` moves them."""
    return timm().utils.ModelEmaV3(model, decay=decay, use_warmup=True)
