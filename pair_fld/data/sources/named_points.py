"""The order of points that a label file names one by one: by number, or by the names of a scheme."""

from __future__ import annotations

from collections.abc import Sequence

from pair_fld.data.schemes import PAIR51, Scheme, load_scheme, named_scheme, scheme_of, supported_counts

_NAMED = (PAIR51, "ibug68", "wflw98")


def point_indices(names: Sequence[str], scheme: str | None) -> tuple[int, list[int]]:
    """How many points the labels' scheme has, and the index of each of these points in it.

    Args:
        names: of one face's points, in the file's order: the scheme's own (eye_left_0), or numbers from 0 or 1.
            Points may be missing.
        scheme: of the source; without one, a scheme whose names fit, else the smallest usual one with such numbers.
            A point map (.npz) has no names: its points are numbered.

    Raises:
        ValueError: a name that is unknown or there twice, or a count that no scheme has.
    """
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise ValueError(f"the point {twice!r} twice")
    named = None if scheme is None else named_scheme(scheme)
    known = [load_scheme(name) for name in _NAMED] if named is None else [named]
    for candidate in known:
        if isinstance(candidate, Scheme) and set(names) <= set(candidate.names):
            return candidate.count, [candidate.names.index(name) for name in names]
    try:
        numbers = [int(name) for name in names]
    except ValueError:
        strange = next(name for name in names if not name.isdigit())
        raise ValueError(f"{strange!r} is neither a number nor a point's name") from None
    return _numbered(numbers, None if named is None else named.count)


def _numbered(numbers: Sequence[int], scheme_count: int | None) -> tuple[int, list[int]]:
    highest, lowest = max(numbers), min(numbers)
    count = _usual_count(highest, lowest, len(numbers)) if scheme_count is None else scheme_count
    # numbers from 1: the highest is the count, and there is no 0
    first = 1 if highest == count and lowest >= 1 else 0
    if lowest < first or highest - first >= count:
        raise ValueError(f"the point {highest} in a scheme of {count} points")
    return count, [number - first for number in numbers]


def _usual_count(highest: int, lowest: int, found: int) -> int:
    for count in (highest + 1, highest):
        try:
            if count == highest + 1 or lowest >= 1:
                return scheme_of(count).count
        except ValueError:
            continue
    raise ValueError(f"expected {supported_counts()} points, or a source with a `scheme`, found {found}")
