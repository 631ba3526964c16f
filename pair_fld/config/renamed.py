"""Configuration keys of earlier versions: errors name the new key, run records and checkpoints are read as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from pair_fld.config.base import RECORDED, Strict

T = TypeVar("T", bound=Strict)

RENAMED = {
    "workers": "num_workers",
    "epoch_steps": "steps_per_epoch",
    "accumulate": "grad_accumulation",
    "weights": "source_weights",
    "certainty": "half_weight_sigma",
    "fill": "fill_max_sigma",
    "views": "teacher_views",
    "live": "teacher_mode",
    "kinds": "precisions",
    "ship": "release",
    "pictures": "images_per_source",
    "valid_pictures": "valid_images_per_source",
    "scenes": "synthetic_images",
    "empty": "negative_images",
}
RENAMED_FILES = {"own128": "centre128"}
_VALUES: dict[str, dict[Any, str]] = {"live": {False: "cached", True: "per_step"}}  # keys whose values changed too
_FREE_KEYS = ("options", "losses", "source_weights")  # mappings whose keys are the user's, not settings


def unknown_key(place: Sequence[str | int]) -> str:
    """The sentence for a key that its section does not have; it names the new key where an old one was renamed."""
    key, old = ".".join(map(str, place)), str(place[-1])
    if old not in RENAMED:
        return f"unknown key {key!r}"
    values = f" ({' or '.join(_VALUES[old].values())})" if old in _VALUES else ""
    return f"{key!r}, which is now called {RENAMED[old]!r}{values}"


def current_keys(tree: Any) -> Any:
    """A recorded configuration (nested mappings and lists) with its keys renamed as in this version."""
    if isinstance(tree, list):
        return [current_keys(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    renamed: dict[Any, Any] = {}
    for old, value in tree.items():
        key = RENAMED.get(old, old)
        if old in _VALUES:
            value = _VALUES[old].get(value, value)
        renamed[key] = value if key in _FREE_KEYS else current_keys(value)
    return renamed


def read_recorded(kind: type[T], tree: Any) -> T:
    """A section from a run record or a checkpoint, whose keys may be those of an earlier version.

    Raises:
        pydantic.ValidationError: the settings are not valid in this version.
    """
    return kind.model_validate_json(json.dumps(current_keys(tree)), context={RECORDED: True})
