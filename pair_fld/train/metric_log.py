"""The curves of a run: metrics.csv, a row an epoch, and TensorBoard's events where that package is installed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pair_fld.errors import PairError
from pair_fld.io import atomic_path

METRICS, EVENTS = "metrics.csv", "tensorboard"


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a CSV whole or not at all, dropping rows of epochs that a resumed run repeats."""
    rows = [old for old in read_rows(path) if int(old["epoch"]) < row["epoch"]]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(row))
        writer.writeheader()
        writer.writerows([*rows, row])


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv, none when there is no file yet; PairError for a damaged one."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        for row in rows:
            int(row["epoch"])
            for value in row.values():
                float(value or 0)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as fault:  # TypeError: cells without a heading
        remedy = "Move it away; the run itself is kept in its checkpoints."
        raise PairError(path, "the curves of a run", f"a damaged file ({fault})", remedy) from None
    return rows


def curve(rows: list[dict[str, str]], name: str) -> list[float]:
    """A column of numbers; empty cells (an epoch without the value) are left out."""
    return [float(row[name]) for row in rows if row.get(name)]


class Scalars:
    """Writes numbers for TensorBoard into RUN/tensorboard; does nothing without the `tensorboard` package."""

    def __init__(self, folder: Path, step: int) -> None:
        """step: where the run stands; what an interrupted run had written beyond it is hidden."""
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            self._writer = None
        else:
            self._writer = SummaryWriter(str(folder / EVENTS), purge_step=step + 1)

    def add(self, step: int, values: dict[str, float | None]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(name, value, step)
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
