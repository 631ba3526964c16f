"""Packages that offer their main names without importing the modules behind them before they are used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def attach(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A module's `__getattr__` (PEP 562) that imports a name from its submodule on first use.

    Args:
        package: `__name__` of the package.
        names: names that it offers, by submodule.
    """
    modules = {name: module for module, offered in names.items() for name in offered}

    def __getattr__(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return __getattr__
