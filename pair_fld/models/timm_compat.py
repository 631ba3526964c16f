"""The one door to timm: EMA, optimizer, schedule; and a cure for mismatched torchvision wheels."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def _mend_torchvision() -> None:
    """Let torchvision import beside a torch build that it was not compiled for.

    timm imports torchvision unconditionally. A CUDA torchvision beside a CPU torch cannot register its compiled
    operators, and its import fails looking for their schemas; none of them is used here, so empty schemas will do.
    """
    global _schemas
    if _schemas is None and not hasattr(torch.ops.torchvision, "nms"):
        _schemas = torch.library.Library("torchvision", "DEF")
        _schemas.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _schemas.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_schemas: torch.library.Library | None = None
_mend_torchvision()

import timm  # noqa: E402
import timm.optim  # noqa: E402
import timm.scheduler  # noqa: E402
import timm.utils  # noqa: E402
from timm.layers import BatchNormAct2d, convert_sync_batchnorm  # noqa: E402
from timm.models.mobilevit import LinearSelfAttention  # noqa: E402

__all__ = ["BatchNormAct2d", "LinearSelfAttention", "convert_sync_batchnorm", "cosine", "ema", "features", "optimizer"]


def ema(model: nn.Module, decay: float) -> Any:
    """timm's ModelEmaV3 with its warm-up; `.module` holds the averaged weights, `.update(model, step)` moves them."""
    return timm.utils.ModelEmaV3(model, decay=decay, use_warmup=True)


def optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW through timm: no decay on norms and biases, fused where torch has it."""
    return timm.optim.create_optimizer_v2(model, opt="adamw", lr=lr, weight_decay=weight_decay, fused=True)


def cosine(optimizer: torch.optim.Optimizer, steps: int, warmup: int) -> Any:
    """timm's cosine schedule by steps, from 0 over `warmup` steps up to the optimizer's rate and down to 1 % of it."""
    top = optimizer.param_groups[0]["lr"]
    return timm.scheduler.CosineLRScheduler(
        optimizer, t_initial=steps, lr_min=top / 100, warmup_t=warmup, warmup_prefix=False, t_in_epochs=False
    )


def features(name: str, stride: int, options: dict[str, Any]) -> tuple[nn.Module, bool, list[int]]:
    """timm's network `name`, randomly initialised, giving its maps from `stride` on, the finest first.

    Returns:
        The network; whether its maps are (B, H, W, C) rather than (B, C, H, W); the maps' channels.

    Raises:
        TypeError: an unknown name, or a stride that the network has no map of.
    """
    if not timm.is_model(name):
        raise TypeError(f"timm knows no {name!r}")
    probe: Any = timm.create_model(name, features_only=True, **options)
    strides = probe.feature_info.reduction()
    if stride not in strides:
        raise TypeError(f"{name} has maps of strides {strides}, none of {stride}")
    indices = tuple(range(strides.index(stride), len(strides)))
    net: Any = timm.create_model(name, features_only=True, out_indices=indices, **options)
    return net, str(getattr(net, "output_fmt", "")).endswith("NHWC"), net.feature_info.channels()
