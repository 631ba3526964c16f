"""The learning curves of a run: metrics.csv, one row per epoch, and TensorBoard events where that is installed."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pair_fld.errors import PairError
from pair_fld.io import atomic_path

METRICS, EVENTS = "metrics.csv", "tensorboard"
NME = "nme_outer_corners_percent"  # the column that chooses the best epoch of a landmark network


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a CSV file, whole or not at all. Rows of epochs that a resumed run repeats are dropped."""
    rows = [old for old in read_rows(path) if int(old["epoch"]) < row["epoch"]]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(row))
        writer.writeheader()
        writer.writerows([*rows, row])


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv; none when there is no file yet; PairError for a damaged one."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        for row in rows:
            int(row["epoch"])
            for value in row.values():
                float(value or 0)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:  # TypeError: cells without a heading
        remedy = "Move it away; the run itself is kept in its checkpoints."
        raise PairError(path, "the curves of a run", f"a damaged file ({error})", remedy) from None
    return rows


def curve(rows: list[dict[str, str]], name: str) -> list[float]:
    """A column of numbers, without its empty cells (epochs that have no value)."""
    return [float(row[name]) for row in rows if row.get(name)]


class Scalars:
    """Writes values for TensorBoard to RUN/tensorboard; does nothing without the `tensorboard` package.

    Args:
        folder: the run folder.
        step: steps done; events that an interrupted run wrote beyond them are hidden.
        enabled: False does nothing.
    """

    def __init__(self, folder: Path, step: int, enabled: bool = True) -> None:
        self._writer = None
        if not enabled:
            return
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            return
        self._writer = SummaryWriter(str(folder / EVENTS), purge_step=step + 1)

    def __enter__(self) -> Scalars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, step: int, values: Mapping[str, float | None]) -> None:
        """Write the values of a step; None is left out."""
        if self._writer is not None:
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(name, value, step)
            self._writer.flush()
