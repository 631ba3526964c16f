"""The figures of a report: errors over faces, over the face, over attributes; scores; curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from pair_fld.evaluate.confidence import calibration_error
from pair_fld.evaluate.report import Result, draw_ced
from pair_fld.report.attributes import ATTRIBUTES
from pair_fld.report.style import COLOURS, DASHES, MARKERS, Plate, slug
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.scheme import CURVES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NORMALISER = "outer_corners"
BINS = 8  # of an attribute, with equal numbers of faces
_CURVES = {  # columns of metrics.csv
    "nme_outer_corners_percent": "NME % (outer corners) on the validation split", "lr": "Learning rate",
    "loss": "The whole loss",
}  # fmt: skip
_LEAST_OF_A_BIN = 5
_REGION_LABELS = {
    "brow_left": (-0.31, -0.53), "brow_right": (0.31, -0.53), "nose_bridge": (0.16, -0.07), "nose_base": (0.27, 0.13),
    "eye_left": (-0.28, -0.15), "eye_right": (0.28, -0.15), "lip_outer": (0.0, 0.48), "lip_inner": (0.0, 0.20),
}  # fmt: skip


def ced_figure(results: Mapping[str, Result]) -> Plate:
    """Cumulative error distributions over one another."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        draw_ced(axes, results)
        for line, (dash, colour) in zip(axes.get_lines(), cycle(zip(DASHES, COLOURS, strict=False)), strict=False):
            line.set_linestyle(dash)
            line.set_color(colour)
        axes.legend(loc="lower right")

    caption = "Share of the faces whose NME (outer eye corners) is at most the value below. Higher is better."
    return Plate("ced", "Cumulative error distribution", caption, draw, (5.0, 3.4))


def mean_face_figure(name: str, points: np.ndarray, regions: Mapping[str, float], limit: float) -> Plate:
    """NME of each point and region on the mean face.

    Args:
        name: of the model.
        points: (51,) NME in percent, nan where not measured.
        regions: NME in percent by region.
        limit: percent at the end of the colour scale, one for all models of a report.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for curve in CURVES.values():
            axes.plot(*MEAN_FACE[list(curve)].T, color="#8a8a8a", linewidth=0.8, zorder=1)
        known = np.isfinite(points)
        dots = axes.scatter(
            *MEAN_FACE[known].T, c=points[known], s=34, cmap="plasma", vmin=0, vmax=limit, zorder=2, linewidths=0
        )
        for region, value in regions.items():
            if np.isfinite(value):
                axes.text(*_REGION_LABELS[region], f"{value:.1f}", ha="center", va="center", fontsize=9)
        axes.set(xlim=(-0.58, 0.58), ylim=(0.56, -0.6), aspect="equal", title=name)
        axes.axis("off")
        bar = figure.colorbar(dots, ax=axes, shrink=0.75, label="NME %, outer corners")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]

    caption = "Each point's colour is its NME, each number the mean NME of a region, in percent."
    return Plate(f"mean-face-{slug(name)}", f"Error on the face, {name}", caption, draw, (4.6, 3.7))


def attribute_figures(attributes: np.ndarray, results: Mapping[str, Result]) -> list[Plate]:
    """NME against each attribute (N, 6), in bins of equally many faces; an attribute that all share is left out."""
    plates = []
    for k, attribute in enumerate(ATTRIBUTES):
        rows = {name: binned(attributes[:, k], result.nme[NORMALISER] * 100) for name, result in results.items()}
        if not any(len(x) > 1 for x, _, _ in rows.values()):
            continue
        caption = "Mean NME in bins of equally many faces; bars: standard error of the mean."
        plate = Plate(
            f"error-{attribute.name}", f"Error against {attribute.name}", caption,
            partial(_draw_attribute, rows=rows, label=attribute.label), (3.6, 2.6),
        )  # fmt: skip
        plates.append(plate)
    return plates


def attribute_sheet(name: str, attributes: np.ndarray, result: Result) -> Plate | None:
    """`attribute_figures` of one model as one figure, for documents; None where no attribute differs."""
    plates = attribute_figures(attributes, {name: result})
    if not plates:
        return None

    def draw(figure: Figure) -> None:
        parts = figure.subfigures(-(-len(plates) // 3), min(3, len(plates)), squeeze=False)
        for plate, part in zip(plates, parts.flat, strict=False):
            plate.draw(part)

    caption = "Mean NME in bins of equally many faces; bars: standard error of the mean."
    return Plate("error-attributes", "Error against pose, size, sharpness and light", caption, draw, (9, 4.6))


def _draw_attribute(figure: Figure, rows: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], label: str) -> None:
    axes = figure.subplots()
    for k, (name, (x, mean, error)) in enumerate(rows.items()):
        axes.errorbar(x, mean, error, label=name, capsize=2, markersize=4, **_look(k))
    axes.set(xlabel=label, ylabel="NME %, outer corners", ylim=(0, None))
    axes.grid(alpha=0.3)
    if len(rows) > 1:
        axes.legend()


def binned(values: np.ndarray, errors: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median value, mean error and its standard error in bins of equally many faces.

    Faces without a value, or without a finite error, are left out; fewer than five faces make no bin.

    Args:
        values: (N,).
        errors: (N,).

    >>> x, mean, error = binned(np.arange(10.0), np.repeat([1.0, 3.0], 5), bins=2)
    >>> x.tolist(), mean.tolist(), error.tolist()
    ([2.0, 7.0], [1.0, 3.0], [0.0, 0.0])
    """
    known = np.isfinite(values) & np.isfinite(errors)
    order = np.argsort(values[known], kind="stable")
    x, y = values[known][order], errors[known][order]
    count = min(bins, len(x) // _LEAST_OF_A_BIN)
    if count == 0 or x[0] == x[-1]:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    parts = [part for part in np.array_split(np.arange(len(x)), count) if len(part)]
    means = np.array([y[part].mean() for part in parts])
    spread = np.array([y[part].std(ddof=1) / np.sqrt(len(part)) for part in parts])
    return np.array([np.median(x[part]) for part in parts]), means, spread


@dataclass(frozen=True)
class Scored:
    """Faces that an archive found end to end.

    Attributes:
        scores: (n,) of the faces that have a label.
        good: (n,) bool, whether their NME is below 0.08.
        labelled, missed: labelled faces, and those of them that were not found.
        unmatched: found faces without a label.
    """

    scores: np.ndarray
    good: np.ndarray
    labelled: int
    missed: int
    unmatched: int

    @property
    def error(self) -> float:
        """Expected calibration error, a fraction."""
        return calibration_error(self.scores, self.good)


def reliability_figure(scored: Mapping[str, Scored], bins: int = 10) -> Plate:
    """How often a face with a certain score is right."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#8a8a8a", linewidth=0.8)
        for k, (name, one) in enumerate(scored.items()):
            place = np.minimum((one.scores * bins).astype(int), bins - 1)
            filled = [b for b in range(bins) if (place == b).sum() >= _LEAST_OF_A_BIN]
            x = [one.scores[place == b].mean() for b in filled]
            y = [one.good[place == b].mean() for b in filled]
            area = [12 + 120 * float((place == b).mean()) for b in filled]
            look = _look(k)
            axes.plot(x, y, label=f"{name}: ECE {one.error:.3f}", linewidth=1, markersize=5, **look)
            axes.scatter(x, y, s=area, color=look["color"], marker=look["marker"])
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="score", ylabel="share with NME below 0.08")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")

    caption = (
        "Faces by their score, and how many of them are right. On the diagonal a score of 0.8 means right in 80 of 100 "
        "cases. A marker's area is its share of the faces; fewer than five make none. ECE: expected calibration error."
    )
    return Plate("reliability", "Reliability of the score", caption, draw, (4.2, 3.6))


def curve_figures(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> list[Plate]:
    """Training curves by column of metrics.csv: the validation NME first, then losses and the learning rate."""
    columns = list(dict.fromkeys(column for run in curves.values() for column in run))
    columns.sort(key=lambda column: (not column.startswith("nme"), column == "lr"))
    plates = []
    for column in columns:
        runs = {name: run[column] for name, run in curves.items() if run.get(column)}
        if runs:
            title = _CURVES.get(column, f"{column}, a term of the loss")
            draw = partial(_draw_curve, runs=runs, column=column)
            plates.append(Plate(f"curve-{slug(column)}", title, "By epoch.", draw, (3.6, 2.6)))
    return plates


def _draw_curve(figure: Figure, runs: Mapping[str, Sequence[float]], column: str) -> None:
    axes = figure.subplots()
    for k, (name, values) in enumerate(runs.items()):
        look = _look(k)
        axes.plot(range(1, len(values) + 1), values, label=name, color=look["color"], linestyle=look["linestyle"])
    axes.set(xlabel="epoch", ylabel=column)
    if min(min(values) for values in runs.values()) > 0 and column != "lr":
        axes.set_ylim(0, None)
    axes.grid(alpha=0.3)
    _whole_numbers(axes)
    if len(runs) > 1:
        axes.legend()


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _look(k: int) -> dict[str, Any]:
    return {
        "color": COLOURS[k % len(COLOURS)],
        "linestyle": DASHES[k % len(DASHES)],
        "marker": MARKERS[k % len(MARKERS)],
    }
