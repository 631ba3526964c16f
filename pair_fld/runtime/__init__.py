"""Everything that runs a shipped model: numpy, OpenCV and one model runtime, nothing else.

This package is copied unchanged into every submission archive, so it imports nothing from the rest of
`pair_fld`, uses relative imports only, and reports errors as plain `ValueError` or `OSError`.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .landmarker import Landmarker
    from .tracker import TrackerConfig

__all__ = ["Landmarker", "TrackerConfig"]

# ONNX Runtime 1.32 writes a device identifier to the cache folder and sends usage to its maker unless told not to
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """PEP 562: OpenCV is imported only when one of these is used."""
    import importlib

    modules = {"Landmarker": ".landmarker", "TrackerConfig": ".tracker"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(modules[name], __name__), name)
