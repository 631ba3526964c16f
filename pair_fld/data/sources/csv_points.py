"""Source kind csv: a table with one face a line, the image's path and its points, read by the names of its columns.

Without names, the first field that is no number is the path and x0, y0, x1, y1, ... follow it.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pair_fld.data.sample import BAD_LABELS, NO_IMAGE, WRONG_COUNT
from pair_fld.data.schemes import PAIR51, load_scheme, scheme_of
from pair_fld.data.sources.base import Listing, is_file, to_number
from pair_fld.data.sources.tables import EXPECTED, find_separator, split_rows
from pair_fld.data.sources.texts import named_kind, read_text
from pair_fld.errors import PairError

_PATH_NAMES = (
    "image",
    "path",
    "file",
    "filename",
    "imagepath",
    "filepath",
    "img",
    "imgpath",
    "picture",
    "name",
    "imagename",
)
_NAMING = "Name the columns x0, y0, x1, y1, ... (or x_0, ..., y_0, ...), in any order, and the path's column `image`."


@dataclass(frozen=True)
class Columns:
    """Where a table has the image's path and each point's coordinates. x, y: column numbers in the scheme's order."""

    path: int
    x: tuple[int, ...]
    y: tuple[int, ...]


def list_csv(listing: Listing) -> None:
    """One sample a line. Paths are relative to the table, or below the source's `images`.

    Raises:
        PairError: the file is no such table, or its column names contradict each other.
    """
    table = listing.path
    if not table.is_file():
        raise PairError(table, f"a .csv file for source {listing.source.name!r}", "a folder", "Give the file's path.")
    text = read_text(table, EXPECTED)
    if (kind := named_kind(text)) is not None:
        raise PairError(table, f"{EXPECTED}, one face per line", kind, "Correct the source's `kind`.")
    separator = find_separator(table, text)
    decimal_comma = separator != ","
    rows = [(number, row) for number, row in enumerate(split_rows(table, text, separator), 1) if any(row)]
    if not rows:
        raise PairError(table, f"{EXPECTED}, one face per line", "an empty file", "Check the path.")
    named = _is_header(rows[0][1], decimal_comma)
    columns = _named_columns(table, rows, decimal_comma) if named else None
    lookup = listing.image_lookup(table)
    for number, row in rows[1:] if named else rows:
        where, suffix = f"{table.name}, line {number}", f"#{number}"
        mine = columns or _positions(row, decimal_comma)
        if mine is None:
            listing.leave_out(table, BAD_LABELS, f"{where}: no path of an image", suffix)
            continue
        name = row[mine.path].strip() if mine.path < len(row) else ""
        path = lookup.path(name)
        try:
            points = _points(row, mine, decimal_comma)
            if not listing.any_count:
                scheme_of(len(points), listing.source.scheme)
        except _BadRow as bad:
            listing.leave_out(path, BAD_LABELS, f"{where}: {bad}", suffix)
        except ValueError as error:
            listing.leave_out(path, WRONG_COUNT, f"{where}: {error}", suffix)
        else:
            if is_file(path):
                listing.add(path, points=points, suffix=suffix)
            else:
                listing.leave_out(path, NO_IMAGE, f"{where}: no image {name[:80]!r}", suffix)


class _BadRow(Exception):
    """A line that cannot be read; the message says why."""


def _points(row: Sequence[str], columns: Columns, decimal_comma: bool) -> np.ndarray:
    """(N, 2) float64, nan where a field says that there is no value."""
    widest = max((*columns.x, *columns.y, columns.path))
    if widest >= len(row):
        raise _BadRow(f"{len(row)} fields, expected {widest + 1} or more")
    fields = [row[column] for pair in zip(columns.x, columns.y, strict=True) for column in pair]
    numbers = [to_number(field, decimal_comma) for field in fields]
    if None in numbers:
        raise _BadRow(f"{fields[numbers.index(None)][:40]!r} is no number")
    return np.array(numbers, float).reshape(-1, 2)


def _is_header(row: Sequence[str], decimal_comma: bool) -> bool:
    """Whether the first line names the columns: none of its fields is a number, or they count the columns."""
    numbers = [number for field in row if (number := to_number(field, decimal_comma)) is not None]
    finite = [number for number in numbers if np.isfinite(number)]
    counted = len(finite) > 3 and finite in ([*range(len(finite))], [*range(1, len(finite) + 1)])
    return counted or not finite


def _positions(row: Sequence[str], decimal_comma: bool) -> Columns | None:
    """The columns of a table without names: path, then x0, y0, x1, y1, ...; numbers before the path are an index."""
    path = next((k for k, field in enumerate(row) if to_number(field, decimal_comma) is None), None)
    if path is None:
        return None
    rest = range(path + 1, len(row))
    if len(rest) % 2:
        rest = rest[:-1] if to_number(row[-1]) is not None and not row[-1].strip() else rest  # a separator at the end
    if len(rest) % 2:
        return Columns(path, tuple(rest[::2]), (*rest[1::2], len(row)))  # one too few: the row is named as too short
    return Columns(path, tuple(rest[::2]), tuple(rest[1::2]))


def _named_columns(table: Path, rows: list[tuple[int, list[str]]], decimal_comma: bool) -> Columns:
    header = [name.strip() for name in rows[0][1]]
    path = _path_column(table, header, rows, decimal_comma)
    axes = _axes(header)
    if not axes["x"] and not axes["y"]:
        return _counted_columns(table, header, path)
    for axis, other in (("x", "y"), ("y", "x")):
        if lonely := sorted(set(axes[axis]) - set(axes[other]), key=str):
            found = f"{header[axes[axis][lonely[0]][0]]!r} without its {other}"
            raise PairError(table, "an x and a y column for each point", found, _NAMING)
        if twice := next((columns for columns in axes[axis].values() if len(columns) > 1), None):
            raise PairError(table, "one column for each coordinate", f"{header[twice[0]]!r} twice", _NAMING)
    order = _point_order(table, list(axes["x"]))
    return Columns(path, tuple(axes["x"][point][0] for point in order), tuple(axes["y"][point][0] for point in order))


def _path_column(table: Path, header: list[str], rows: list[tuple[int, list[str]]], decimal_comma: bool) -> int:
    plain = [re.sub(r"[^a-z]", "", name.lower()) for name in header]
    for name in _PATH_NAMES:
        if name in plain:
            return plain.index(name)
    data = rows[1][1] if len(rows) > 1 else []
    for column, field in enumerate(data):
        if to_number(field, decimal_comma) is None:
            return column
    raise PairError(table, "a column with the images' paths", ", ".join(header)[:80], _NAMING)


Point = int | str


def _axes(header: list[str]) -> dict[str, dict[Point, list[int]]]:
    """For x and y, the columns of each point: by its number, or by its name where it has none.

    Of names that differ besides the number (x0, box_x1) those that most columns have are taken.
    """
    found: dict[str, list[tuple[str, str, int | None, int]]] = defaultdict(list)
    for column, name in enumerate(header):
        tokens = re.findall(r"[a-z]+|\d+", name.lower())
        axis = [token for token in tokens if token in ("x", "y")]
        numbers = [int(token) for token in tokens if token.isdigit()]
        if len(axis) != 1 or len(numbers) > 1:
            continue
        words = "_".join(token for token in tokens if token not in ("x", "y") and not token.isdigit())
        whole = "_".join(token for token in tokens if token not in ("x", "y"))
        found[words].append((axis[0], whole, numbers[0] if numbers else None, column))
    numbered = {
        words: columns for words, columns in found.items() if all(number is not None for *_, number, _ in columns)
    }
    largest = max(numbered.values(), key=len, default=[])
    axes: dict[str, dict[Point, list[int]]] = {"x": defaultdict(list), "y": defaultdict(list)}
    names = load_scheme(PAIR51).names
    if sum(whole in names for columns in found.values() for _, whole, _, _ in columns) > len(largest):
        chosen = [(axis, whole, column) for columns in found.values() for axis, whole, _, column in columns]
        for axis, whole, column in chosen:
            if whole in names:
                axes[axis][whole].append(column)
        return axes
    for axis, _, number, column in largest:
        axes[axis][number if number is not None else -1].append(column)
    return axes


def _point_order(table: Path, points: list[Point]) -> list[Point]:
    numbers = sorted(point for point in points if isinstance(point, int))
    if len(numbers) == len(points):
        if gap := next((a + 1 for a, b in itertools.pairwise(numbers) if b != a + 1), None):
            raise PairError(table, f"the points {numbers[0]} to {numbers[-1]}", f"none of the number {gap}", _NAMING)
        return [*numbers]
    names = load_scheme(PAIR51).names
    if missing := [name for name in names if name not in points]:
        raise PairError(table, "a column pair for each of the 51 points' names", f"none for {missing[0]}", _NAMING)
    return [*names]


def _counted_columns(table: Path, header: list[str], path: int) -> Columns:
    """Columns without x and y in their names (v0, v1, ... or 0, 1, ...): pairs in the order of their numbers."""
    pattern = re.compile(r"\D*?(\d+)")
    numbered = [(int(match.group(1)), k) for k, name in enumerate(header) if (match := pattern.fullmatch(name))]
    words = {re.sub(r"\d+$", "", header[k]) for _, k in numbered}
    count = len(numbered)
    runs = ([*range(count)], [*range(1, count + 1)])
    if count < 4 or count % 2 or len(words) != 1 or [n for n, _ in sorted(numbered)] not in runs:
        raise PairError(table, "columns named by point and axis", ", ".join(header)[:80], _NAMING)
    order = [k for _, k in sorted(numbered)]
    if path in order:
        raise PairError(table, "a column with the images' paths", ", ".join(header)[:80], _NAMING)
    return Columns(path, tuple(order[::2]), tuple(order[1::2]))
