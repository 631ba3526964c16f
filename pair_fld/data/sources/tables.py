"""Tables of text: rows and their separator."""

from __future__ import annotations

import csv
from pathlib import Path

from pair_fld.data.sources.texts import read_text
from pair_fld.errors import PairError

EXPECTED = "a table of separated values"
SPACES = " "
_SEPARATORS = ("\t", ";", "|", ",")


def read_table(path: Path, separator: str) -> list[list[str]]:
    """The rows of a table, blank lines included as empty rows. Raises PairError as `texts.read_text`."""
    return split_rows(path, read_text(path, EXPECTED), separator)


def split_rows(path: Path, text: str, separator: str) -> list[list[str]]:
    """The rows of a table's text; quotes protect separators. SPACES: any run of spaces or tabs separates."""
    if separator == SPACES:
        return [line.split() for line in text.splitlines()]
    try:
        return list(csv.reader(text.splitlines(), delimiter=separator))
    except csv.Error as error:
        raise PairError(path, EXPECTED, str(error), "Correct the file.") from None


def find_separator(path: Path, text: str) -> str:
    """The separator that gives the first two lines the same number of fields, two at least; else SPACES.

    Of several the one named first in _SEPARATORS is taken: with a decimal comma, commas are regular too.
    """
    head = "\n".join([line for line in text.splitlines() if line.strip()][:2])
    for separator in _SEPARATORS:
        widths = {len(row) for row in split_rows(path, head, separator)}
        if len(widths) == 1 and widths.pop() > 1:
            return separator
    # rows of different length: the commonest separator, so that the shorter rows can be named
    counts = {separator: head.count(separator) for separator in _SEPARATORS}
    best = max(_SEPARATORS, key=lambda separator: counts[separator])
    return best if counts[best] > len(head.split()) / 2 else SPACES
