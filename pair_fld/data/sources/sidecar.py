"""Tables beside the labels, one line per image: which points are hidden, and attributes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pair_fld.data.sources.base import Listing
from pair_fld.data.sources.files import IMAGE_SUFFIXES
from pair_fld.data.sources.tables import read_table
from pair_fld.errors import PairError


def add_sidecars(listing: Listing) -> None:
    """Add the source's `visibility` and `tags` to its samples, found by the images' names without suffix.

    Raises:
        PairError: a table cannot be read, says something else, or names none of the images.
    """
    source = listing.source
    if source.visibility is not None:
        rows = _rows(listing, source.visibility, "visibility")
        digits = {name: _digits(listing.root / source.visibility, name, row) for name, row in rows.items()}
        listing.samples = [
            replace(s, visibility=digits[s.path.stem]) if s.path.stem in digits else s for s in listing.samples
        ]
    if source.tags is not None:
        rows = _rows(listing, source.tags, "tags")
        listing.samples = [
            replace(s, tags=(*s.tags, *_tags(rows[s.path.stem]))) if s.path.stem in rows else s for s in listing.samples
        ]


def _rows(listing: Listing, name: str, setting: str) -> dict[str, dict[str, str]]:
    """Image name without suffix -> the other columns by their names."""
    path = listing.root / name
    if not path.is_file():
        subject = f"`{setting}` of source {listing.source.name!r}"
        raise PairError(subject, "a table", f"no file {path}", "Correct the path, relative to `root`.")
    header, *lines = [row for row in read_table(path, ",") if row] or [[]]
    rows = {_stem(row[0]): dict(zip(header[1:], row[1:], strict=False)) for row in lines}
    if not any(sample.path.stem in rows for sample in listing.samples):
        found = f"none of {listing.samples[0].path.stem} and the others"
        raise PairError(path, "the names of the images without suffix, first in each line", found, "Correct the table.")
    return rows


def _stem(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else name


def _digits(path: Path, name: str, row: dict[str, str]) -> np.ndarray:
    text = "".join(row.values()).strip()
    if not text or set(text) - set("012"):
        remedy = "Write 0 for seen, 1 for behind something, 2 for hidden by the head itself."
        raise PairError(f"{path}, {name}", "a digit 0, 1 or 2 for each point", repr(text[:60]), remedy)
    return np.array([int(digit) for digit in text], np.uint8)


def _tags(row: dict[str, str]) -> list[str]:
    """Column names whose value is 1; of columns that hold other values, name=value."""
    return [name if value == "1" else f"{name}={value}" for name, value in row.items() if value not in ("", "0")]
