"""What the packages offer: every name of `__all__` is there, and none hides a module of the same name."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import pair_fld

PACKAGES = ["pair_fld", *(m.name for m in pkgutil.walk_packages(pair_fld.__path__, "pair_fld.") if m.ispkg)]


@pytest.mark.parametrize("name", PACKAGES)
def test_offered_names_are_there(name: str) -> None:
    package = importlib.import_module(name)
    offered = getattr(package, "__all__", [])
    assert len(set(offered)) == len(offered)
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(offered), "a module's name: which of the two one gets would depend on earlier imports"
    for one in offered:
        assert getattr(package, one) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name
