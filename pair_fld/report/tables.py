"""The tables of a report, as cells that a page sorts and a script reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pair_fld.evaluate.report import SHIFT_REMOVED, Result
from pair_fld.report.subject import Subject

Cell = str | float | int | None  # None: not measured, an empty cell


@dataclass(frozen=True)
class Column:
    """label: of the heading. digits: after the point of its numbers."""

    label: str
    digits: int = 2


@dataclass(frozen=True)
class Table:
    """A titled table; columns in which nothing was measured are left out by `compact`."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def compact(self) -> Table:
        """Without the columns whose cells are all empty."""
        kept = [k for k in range(len(self.columns)) if any(row[k] is not None for row in self.rows)]
        columns = tuple(self.columns[k] for k in kept)
        return Table(self.title, columns, tuple(tuple(row[k] for k in kept) for row in self.rows), self.note)

    def text(self, value: Cell, column: int) -> str:
        """A cell as it is shown."""
        if value is None:
            return ""
        return f"{value:.{self.columns[column].digits}f}" if isinstance(value, float) else str(value)

    def to_json(self) -> list[dict[str, Cell]]:
        """A mapping per row, without empty cells."""
        labels = [column.label for column in self.columns]
        return [{k: v for k, v in zip(labels, row, strict=True) if v is not None} for row in self.rows]


_SCORES = (
    (Column("NME %, outer corners"), "nme_outer_corners_percent"),
    (Column("mean shift removed"), SHIFT_REMOVED),
    (Column("NME %, eye centres"), "nme_eye_centres_percent"),
    (Column("NME %, box"), "nme_box_percent"),
    (Column("FR 0.08 %"), "failure_at_0.08_outer_corners_percent"),
    (Column("AUC 0.08", 3), "auc_at_0.08_outer_corners_fraction"),
)
SCORE_NOTE = (
    "NME: mean distance of the 51 points from the labels, over the distance of the outer eye corners unless another "
    "normaliser is named. Mean shift removed: after the labels of each source were moved to the predictions' zero "
    "point. FR: share of faces with an NME above 0.08; AUC: area under the error distribution up to 0.08, 1 is best."
)


def model_table(
    subjects: Sequence[Subject], scores: Mapping[str, Mapping[str, Any]], times: Mapping[str, float]
) -> Table:
    """One row per model: its cost, and its scores on all faces of the report (`Result.to_json` by name)."""
    cost_columns = (Column("file, MB", 3), Column("GFLOPs", 4), Column("time, ratio to tiny"))
    columns = (Column("model"), *cost_columns, Column("faces"))
    rows: list[tuple[Cell, ...]] = []
    for subject in subjects:
        own = scores.get(subject.name, {})
        cost = (subject.name, subject.size_mb, subject.gflops, times.get(subject.name), own.get("faces"))
        rows.append((*cost, *(_number(own, key) for _, key in _SCORES)))
    labels = (*columns, *(column for column, _ in _SCORES))
    return Table("Models", labels, tuple(rows), SCORE_NOTE if scores else "").compact()


def group_table(title: str, groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """One row per group of faces and model; groups: by model, by group."""
    names = list(dict.fromkeys(group for own in groups.values() for group in own))
    rows: list[tuple[Cell, ...]] = []
    for group in names:
        for model, own in groups.items():
            if group in own:
                tree = own[group]
                rows.append((group, model, tree.get("faces"), *(_number(tree, key) for _, key in _SCORES)))
    columns = (Column("faces of"), Column("model"), Column("faces"), *(column for column, _ in _SCORES))
    return Table(title, columns, tuple(rows)).compact()


def region_table(regions: Mapping[str, Mapping[str, float]]) -> Table:
    """NME in percent by region, one column per model."""
    names = list(dict.fromkeys(name for own in regions.values() for name in own))
    rows = tuple((name, *(_finite(own.get(name)) for own in regions.values())) for name in names)
    columns = (Column("region"), *(Column(f"{model}, NME %") for model in regions))
    return Table("NME by region, outer corners", columns, rows)


def result_regions(result: Result) -> dict[str, float]:
    """NME in percent under outer_corners, by region."""
    return {name: float(values["outer_corners"]) for name, values in result.regions.items()}


def stored_regions(stored: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The same from an archive's figures; empty where they hold none."""
    tree = next((group["regions"] for group in stored.values() if isinstance(group.get("regions"), dict)), {})
    usable = {name: values for name, values in tree.items() if isinstance(values, dict)}
    found = {name: _number(values, "nme_outer_corners_percent") for name, values in usable.items()}
    return {name: value for name, value in found.items() if value is not None}


def _number(tree: Mapping[str, Any], key: str) -> float | None:
    value = tree.get(key)
    return _finite(float(value)) if isinstance(value, int | float) else None


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else value
