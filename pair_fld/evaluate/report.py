"""A typed evaluation result, and its forms: JSON, CSV, Rich table, Markdown, CED plot.

Metric keys name normaliser and unit, e.g. `nme_outer_corners_percent`, `failure_at_0.08_box_percent`,
`auc_at_0.10_eye_centres_fraction`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table
from rich.text import Text

from pair_fld.data.zero_points import Shift
from pair_fld.evaluate.metrics import (
    NORMALISERS,
    THRESHOLDS,
    auc,
    ced,
    failure_rate,
    masked_mean,
    nme,
    plain_number,
    point_nme,
    region_nme,
    shift_removed_nme,
)
from pair_fld.evaluate.visibility import VisibilityScores, score_visibility
from pair_fld.io import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHIFT_REMOVED = "nme_outer_corners_shift_removed_percent"
POINTS = "points_nme_outer_corners_percent"


@dataclass(frozen=True)
class Scores:
    """One group of faces under one normaliser.

    Attributes:
        faces: number of scored faces.
        not_scored: number of faces without the normaliser's points, or without any labelled point.
        nme_percent: mean of the faces' NME.
        failure_percent: share of faces above each of THRESHOLDS.
        auc_fraction: area under the cumulative error distribution up to each of THRESHOLDS, 0 ... 1.
    """

    faces: int
    not_scored: int
    nme_percent: float
    failure_percent: Mapping[float, float]
    auc_fraction: Mapping[float, float]

    def keys(self, normaliser: str) -> dict[str, float | int | None]:
        """Flat metrics under keys that name the normaliser."""
        flat: dict[str, float | int | None] = {f"nme_{normaliser}_percent": plain_number(self.nme_percent)}
        for t in THRESHOLDS:
            flat[f"failure_at_{t:.2f}_{normaliser}_percent"] = plain_number(self.failure_percent[t])
            flat[f"auc_at_{t:.2f}_{normaliser}_fraction"] = plain_number(self.auc_fraction[t])
        flat[f"not_scored_{normaliser}_faces"] = self.not_scored
        return flat


@dataclass(frozen=True)
class GroupScores:
    """One group of faces.

    Attributes:
        faces: how many.
        scores: by normaliser.
        shift_removed_percent: NME under outer_corners with each source's shift taken out.
        regions: NME in percent by region and normaliser. None where not measured, as points.
        points: (51,) NME in percent of each point under outer_corners.
    """

    faces: int
    scores: Mapping[str, Scores]
    shift_removed_percent: float = float("nan")
    regions: Mapping[str, Mapping[str, float]] | None = None
    points: np.ndarray | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; a figure that is not finite is null, as in `Result.to_json`."""
        tree: dict[str, Any] = {"faces": self.faces, **_flat(self.scores)}
        tree[SHIFT_REMOVED] = plain_number(self.shift_removed_percent)
        if self.regions is not None:
            tree["regions"] = _flat_regions(self.regions)
        if self.points is not None:
            tree[POINTS] = [plain_number(value) for value in self.points]
        return tree


@dataclass(frozen=True)
class Result:
    """Everything that `evaluate` measured.

    Attributes:
        faces: number of faces.
        overall: scores of all faces by normaliser.
        sources: the same for the faces of each source.
        regions: NME in percent by region and normaliser.
        points: (51,) NME in percent of each point under outer_corners, nan for a point that is labelled nowhere.
        names: of the N faces.
        source_names: of the N faces.
        nme: by normaliser, (N,) fractions, nan where not scored.
        shifts: by source, how far its labels lie from the predictions' zero point.
        shift_removed: (N,) fractions, NME under outer_corners with each source's shift taken out.
        visibility: of seen and of hidden points, and of faces at all head poses.
    """

    faces: int
    overall: Mapping[str, Scores]
    sources: Mapping[str, Mapping[str, Scores]]
    regions: Mapping[str, Mapping[str, float]]
    points: np.ndarray
    names: tuple[str, ...]
    source_names: tuple[str, ...]
    nme: Mapping[str, np.ndarray]
    shifts: Mapping[str, Shift]
    shift_removed: np.ndarray
    visibility: VisibilityScores

    def shift_removed_percent(self, source: str | None = None) -> float:
        """Mean NME, percent, with each source's shift taken out: of all faces, or of one source."""
        mine = np.array([source in (None, name) for name in self.source_names])
        return float(masked_mean(self.shift_removed[mine])) * 100

    def to_json(self) -> dict[str, Any]:
        """Metrics without the per-image values; a figure that is not finite (nothing scored, or a missed
        face under a mean) is null, because JSON has no other word."""
        return {
            "faces": self.faces,
            **_flat(self.overall),
            SHIFT_REMOVED: plain_number(self.shift_removed_percent()),
            "sources": {
                s: {
                    "faces": self.source_names.count(s),
                    **_flat(v),
                    SHIFT_REMOVED: plain_number(self.shift_removed_percent(s)),
                    "label_shift": self.shifts[s].to_json(),
                }
                for s, v in self.sources.items()
            },
            "regions": _flat_regions(self.regions),
            POINTS: [plain_number(value) for value in self.points],
            "visibility": self.visibility.to_json(),
        }

    def groups(self) -> dict[str, GroupScores]:
        """The scores of "all" faces, with regions, and of each source; of the source alone where there is but one."""
        names = list(self.sources)
        whole = names[0] if len(names) == 1 else "all"
        removed = self.shift_removed_percent()
        groups = {whole: GroupScores(self.faces, self.overall, removed, self.regions, self.points)}
        for name in names if len(names) > 1 else ():
            removed = self.shift_removed_percent(name)
            groups[name] = GroupScores(self.source_names.count(name), self.sources[name], removed)
        return groups


def evaluate(
    predicted_img: np.ndarray,
    truth_img: np.ndarray,
    valid: np.ndarray,
    sources: Sequence[str],
    names: Sequence[str],
    visibility: np.ndarray | None = None,
    spreads: np.ndarray | None = None,
) -> Result:
    """Score predictions (N, 51, 2) against truth (N, 51, 2), both _img; valid (N, 51) bool masks the truth.

    visibility and spreads are `score_visibility`'s.

    A prediction that is not finite counts as a failure with infinite error.

    Raises:
        ValueError: when the shapes do not fit together or there is no face.
    """
    predicted, truth = np.asarray(predicted_img, np.float64), np.asarray(truth_img, np.float64)
    mask = np.asarray(valid, bool)
    if predicted.shape != truth.shape or truth.shape[1:] != (51, 2) or mask.shape != truth.shape[:2] or not len(truth):
        raise ValueError(
            "expected predictions and truth (N, 51, 2) and a mask (N, 51) with N > 0, found "
            f"{predicted.shape}, {truth.shape}, {mask.shape}"
        )
    if len(sources) != len(truth) or len(names) != len(truth):
        raise ValueError(f"expected a source and a name for each of {len(truth)} faces")
    errors = {n: nme(predicted, truth, mask, n) for n in NORMALISERS}
    source_of = np.array(list(sources), dtype=str)
    regions = {n: region_nme(predicted, truth, mask, n) for n in NORMALISERS}
    shifts, removed = {}, np.full(len(truth), np.nan)
    for name in dict.fromkeys(source_of.tolist()):
        mine = source_of == name
        removed[mine], shifts[name] = shift_removed_nme(predicted[mine], truth[mine], mask[mine])
    return Result(
        faces=len(truth),
        overall={n: score(e) for n, e in errors.items()},
        sources={
            str(s): {n: score(e[source_of == s]) for n, e in errors.items()} for s in dict.fromkeys(source_of.tolist())
        },
        regions={r: {n: regions[n][r] * 100 for n in NORMALISERS} for r in regions["box"]},
        points=point_nme(predicted, truth, mask, "outer_corners") * 100,
        names=tuple(names),
        source_names=tuple(sources),
        nme=errors,
        shifts=shifts,
        shift_removed=removed,
        visibility=score_visibility(predicted, truth, mask, visibility, spreads),
    )


def score(errors: np.ndarray) -> Scores:
    """Scores of per-face NME fractions (N,), nan where not scored."""
    return Scores(
        faces=int((~np.isnan(errors)).sum()),
        not_scored=int(np.isnan(errors).sum()),
        nme_percent=float(masked_mean(errors)) * 100,
        failure_percent={t: failure_rate(errors, t) * 100 for t in THRESHOLDS},
        auc_fraction={t: auc(errors, t) for t in THRESHOLDS},
    )


def write_csv(result: Result, path: Path) -> None:
    """One line per face: name, source, NME in percent under each normaliser (empty where not scored)."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["name", "source", *(f"nme_{n}_percent" for n in NORMALISERS)])
        for i, (name, source) in enumerate(zip(result.names, result.source_names, strict=True)):
            values = [result.nme[n][i] for n in NORMALISERS]
            writer.writerow([name, source, *("" if np.isnan(v) else f"{v * 100:.4f}" for v in values)])


HEADINGS = ("normaliser", "faces", "NME %", "FR 0.08 %", "FR 0.10 %", "AUC 0.08", "AUC 0.10")


def rows(result: Result) -> list[tuple[str, ...]]:
    """Table rows (group, *HEADINGS): the whole set, then each source when there are several."""
    groups: list[tuple[str, Mapping[str, Scores]]] = [("all", result.overall)]
    if len(result.sources) > 1:
        groups += list(result.sources.items())
    return [
        (
            *(group, normaliser, str(s.faces), f"{s.nme_percent:.2f}"),
            *(f"{s.failure_percent[t]:.2f}" for t in THRESHOLDS),
            *(f"{s.auc_fraction[t]:.4f}" for t in THRESHOLDS),
        )
        for group, scores in groups
        for normaliser, s in scores.items()
    ]


def region_rows(result: Result) -> list[tuple[str, ...]]:
    """Table rows (region, NME % under each normaliser)."""
    return [(r, *(f"{values[n]:.2f}" for n in NORMALISERS)) for r, values in result.regions.items()]


def tables(result: Result, title: str = "") -> list[Table]:
    """Rich tables: scores, then regions."""
    scores = Table(title=Text(title) if title else None)
    for heading in ("faces of", *HEADINGS):
        scores.add_column(heading, justify="left" if heading in ("faces of", "normaliser") else "right")
    for row in rows(result):
        scores.add_row(*row)
    regions = Table(title="NME % by region")
    regions.add_column("region")
    for normaliser in NORMALISERS:
        regions.add_column(normaliser, justify="right")
    for row in region_rows(result):
        regions.add_row(*row)
    return [scores, regions]


def shift_table(result: Result) -> Table:
    """Rich table: NME as the labels stand and with each source's shift taken out, and the shift."""
    table = Table(
        title="NME % (outer corners) as the labels stand, and with each set's mean shift removed",
        caption="shift: labels against predictions, % of the eye distance, x to the right and y down",
    )
    for heading in ("faces of", "as it stands", "shift removed", "shift x", "shift y"):
        table.add_column(heading, justify="left" if heading == "faces of" else "right")
    for name, shift in result.shifts.items():
        stands, removed = result.sources[name]["outer_corners"].nme_percent, result.shift_removed_percent(name)
        table.add_row(name, figure(stands, 2), figure(removed, 2), f"{shift.x:+.2f}", f"{shift.y:+.2f}")
    return table


def visibility_table(result: Result) -> Table | None:
    """Rich table: NME and heatmap spread of seen and of hidden points; None where no hidden point is labelled."""
    scores = result.visibility
    if not scores.hidden.points:
        return None
    table = Table(
        title="NME % by visibility, where the labels state it",
        caption="over the outer corners' distance, or 0.79 x the root of the box's area where one is not labelled",
    )
    for heading in ("points", "labelled", "NME %", "heatmap spread %"):
        table.add_column(heading, justify="left" if heading == "points" else "right")
    for name, own in (("seen", scores.seen), ("hidden", scores.hidden)):
        spread = "-" if own.spread_percent is None else figure(own.spread_percent, 2)
        table.add_row(name, str(own.points), figure(own.nme_percent, 2), spread)
    return table


def markdown(result: Result) -> str:
    """The same two tables as Markdown."""
    return (
        markdown_table(("faces of", *HEADINGS), rows(result))
        + "\n"
        + markdown_table(("region", *(f"NME % ({n})" for n in NORMALISERS)), region_rows(result))
    )


def markdown_table(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table; columns of figures (or "-" for none) stand right, all others left."""
    columns = [[str(row[i]) for row in body] for i in range(len(headings))]
    rules = ["--:" if cells and all(_FIGURE.fullmatch(c) for c in cells) else ":--" for cells in columns]
    lines = ["| " + " | ".join(headings) + " |", "| " + " | ".join(rules) + " |"]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in body]
    return "\n".join(lines) + "\n"


NOT_SCORED = "not scored"
_FIGURE = re.compile(rf"|-|[-+]?\d[\d.,]*|nan|inf|{NOT_SCORED}")


def figure(value: float, digits: int) -> str:
    """A figure for a table; "not scored" for nan, the mean over no face."""
    return NOT_SCORED if np.isnan(value) else f"{value:.{digits}f}"


def ced_plot(results: Mapping[str, Result], path: Path, normaliser: str = "outer_corners", limit: float = 0.10) -> None:
    """Cumulative error distributions as a PNG, one curve per result; the legend shows the names."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    draw_ced(figure.subplots(), results, normaliser, limit)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def draw_ced(axes: Axes, results: Mapping[str, Result], normaliser: str = "outer_corners", limit: float = 0.10) -> None:
    """Draw cumulative error distributions up to an NME of `limit`, one curve per result, on matplotlib's axes."""
    for name, result in results.items():
        errors, share = ced(result.nme[normaliser])
        s = result.overall[normaliser]
        x = np.concatenate([[0.0], errors[np.isfinite(errors)], [max(limit, 1.0)]])
        y = np.concatenate([[0.0], share[np.isfinite(errors)], share[np.isfinite(errors)][-1:]])
        label = f"{name}: NME {s.nme_percent:.2f} %, AUC {limit:.2f} {auc(result.nme[normaliser], limit):.3f}"
        axes.step(x[: len(y)], y, where="post", label=label)
    axes.set(xlim=(0, limit), ylim=(0, 1), xlabel=f"NME ({normaliser}), fraction", ylabel="share of faces")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize="small")


def _flat_regions(regions: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | int | None]]:
    return {r: {f"nme_{n}_percent": plain_number(v) for n, v in values.items()} for r, values in regions.items()}


def _flat(scores: Mapping[str, Scores]) -> dict[str, float | int | None]:
    return {key: value for n, s in scores.items() for key, value in s.keys(n).items()}
