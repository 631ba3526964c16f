"""Which keys a data source of each kind may have."""

from __future__ import annotations

from collections.abc import Iterable

_LABEL_FILES = frozenset({"csv", "coco", "cvat", "labelme", "imglab", "wflw", "annotation"})
# Keys that some kinds alone have, and keys that some kinds do not have; all others are of every kind.
_ONLY = {
    "box": frozenset({"unlabelled"}),
    "count": frozenset({"synthetic"}),
    "seed": frozenset({"synthetic"}),
    "images": _LABEL_FILES,
}
_NOT = {
    "path": frozenset({"synthetic"}),
    "scheme": frozenset({"synthetic", "unlabelled"}),
    "missing": frozenset({"synthetic", "unlabelled"}),
    "exif": frozenset({"synthetic", "ytf"}),
    "identity": frozenset({"synthetic"}),
    "visibility": frozenset({"synthetic"}),
    "tags": frozenset({"synthetic"}),
}


def misplaced(kind: str, keys: Iterable[str]) -> list[str]:
    """Those of the keys that a source of this kind has no use for, in the given order.

    >>> misplaced("csv", ["path", "box", "images"])
    ['box']
    """
    return [key for key in keys if kind not in _ONLY.get(key, {kind}) or kind in _NOT.get(key, ())]
