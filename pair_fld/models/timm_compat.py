"""The one door to timm; and a cure for mismatched torchvision wheels.

timm and torchvision are imported by the first call that needs them, never by `import pair_fld.models`: they take
seconds, and what they do not bear on (prediction, another architecture) must run where they do not import.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

import torch
from torch import nn

from pair_fld.errors import PairError

_NO_SCHEMA = "operator torchvision::nms does not exist"
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_schemas: torch.library.Library | None = None  # the operators live as long as this object


def import_torchvision() -> None:
    """Import torchvision, which timm cannot do without, also beside a torch build that it was not compiled for.

    A CUDA torchvision beside a CPU torch cannot load its compiled operators, and its import then fails looking for
    their schemas. None of them is used here, so empty schemas will do. They must not be defined before that failure
    is seen: a torchvision that does load its operators ends the whole process when it finds them defined.

    Raises:
        PairError: there is no torchvision, or it does not import for another reason.
    """
    global _schemas
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _NO_SCHEMA not in str(error) or _schemas is not None:
            raise _unusable("torchvision", error) from error
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        _schemas = torch.library.Library("torchvision", "DEF")
        _schemas.define(f"nms{_SCHEMA}")
        _schemas.define(f"qnms{_SCHEMA}")
        import_torchvision()
    except (ImportError, OSError) as error:
        raise _unusable("torchvision", error) from error


@functools.cache
def timm() -> ModuleType:
    """timm with the modules used here; PairError where it or torchvision does not import."""
    import_torchvision()
    try:
        for name in ("optim", "scheduler", "utils", "layers", "models.mobilevit"):
            importlib.import_module(f"timm.{name}")
        return importlib.import_module("timm")
    except (ImportError, OSError, RuntimeError) as error:
        raise _unusable("timm", error) from error


def _unusable(package: str, error: Exception) -> PairError:
    found = f"{type(error).__name__}: {' '.join(str(error).split())}"
    remedy = f"Run `make setup`, or install it beside torch {torch.__version__}: pip install torch {package}."
    return PairError(package, "a package that Python can import", found, remedy)


def convert_sync_batchnorm(model: nn.Module) -> nn.Module:
    """`model` with batch norms whose statistics are shared among GPUs; timm's keep the activations within them."""
    return timm().layers.convert_sync_batchnorm(model)


def activation_within(norm: nn.BatchNorm2d) -> nn.Module:
    """What a norm does to its result: dropout and activation for timm's BatchNormAct2d, nothing for any other."""
    # only a net of timm's holds one, and timm is imported by then
    if "timm" in sys.modules and isinstance(norm, timm().layers.BatchNormAct2d):
        return nn.Sequential(norm.drop, norm.act)  # type: ignore[arg-type]
    return nn.Identity()


def features(name: str, stride: int, options: dict[str, Any]) -> tuple[nn.Module, bool, list[int]]:
    """timm's network `name`, randomly initialised, giving its maps from `stride` on, the finest first.

    Returns:
        The network; whether its maps are (B, H, W, C) rather than (B, C, H, W); the maps' channels.

    Raises:
        TypeError: an unknown name, or a stride that the network has no map of.
    """
    if not timm().is_model(name):
        raise TypeError(f"timm knows no {name!r}")
    probe: Any = timm().create_model(name, features_only=True, **options)
    strides = probe.feature_info.reduction()
    if stride not in strides:
        raise TypeError(f"{name} has maps of strides {strides}, none of {stride}")
    indices = tuple(range(strides.index(stride), len(strides)))
    net: Any = timm().create_model(name, features_only=True, out_indices=indices, **options)
    return net, str(getattr(net, "output_fmt", "")).endswith("NHWC"), net.feature_info.channels()
