"""Variants of training compared over seeds: means, spreads and differences, as a table in Markdown and as a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

PANELS_PER_ROW = 4  # of the figure


@dataclass(frozen=True)
class Difference:
    """The difference of two means.

    Attributes:
        change: NME in percentage points.
        deviations: the change in pooled standard deviations.
    """

    change: float
    deviations: float


@dataclass(frozen=True)
class VariantResult:
    """One variant on one set of faces.

    Attributes:
        variant: its name.
        faces: name of the set of faces.
        nme: NME (outer corners) in percent, per seed.
        mean: of `nme`.
        spread: sample standard deviation of `nme`.
        against: difference from each baseline; a baseline has none from itself.
    """

    variant: str
    faces: str
    nme: tuple[float, ...]
    mean: float
    spread: float
    against: Mapping[str, Difference]


def compare_variants(
    results: Mapping[str, Sequence[Mapping[str, float]]], baselines: Sequence[str]
) -> list[VariantResult]:
    """The comparison, by set of faces and then by variant.

    Args:
        results: variant -> per seed, NME in percent by set of faces.
        baselines: the variants that all others are compared with.
    """
    table = []
    for faces in next(iter(results.values()))[0]:
        values = {variant: [result[faces] for result in per_seed] for variant, per_seed in results.items()}
        for variant, own in values.items():
            against = {base: _difference(values[base], own) for base in baselines if base != variant}
            table.append(VariantResult(variant, faces, tuple(own), mean(own), stdev(own), against))
    return table


def _difference(base: list[float], own: list[float]) -> Difference:
    change, pooled = mean(own) - mean(base), math.sqrt((stdev(own) ** 2 + stdev(base) ** 2) / 2)
    return Difference(change, change / pooled if pooled else math.copysign(math.inf, change))


def difference_cells(row: VariantResult, baselines: Sequence[str]) -> list[str]:
    """One table cell per baseline: the change of the mean, and in standard deviations; empty against itself."""
    found = [row.against.get(base) for base in baselines]
    return ["" if d is None else f"{d.change:+.3f} ({d.deviations:+.1f} sd)" for d in found]


def baselines_of(table: list[VariantResult]) -> list[str]:
    """The baselines that the rows are compared with, in the rows' order."""
    named = {base for row in table for base in row.against}
    return list(dict.fromkeys(row.variant for row in table if row.variant in named))


def markdown(table: list[VariantResult], about: str) -> str:
    """The comparison as Markdown, one table per set of faces, below the sentence `about`."""
    baselines = baselines_of(table)
    head = ["trained with", "NME % (outer corners), mean", "spread", "by seed", *(f"from {base}" for base in baselines)]
    lines = [about, ""]
    for faces in dict.fromkeys(row.faces for row in table):
        lines += [f"**{faces}**", "", f"| {' | '.join(head)} |", "|---|--:|--:|---|" + "--:|" * len(baselines)]
        for row in (row for row in table if row.faces == faces):
            seeds = " ".join(f"{value:.2f}" for value in row.nme)
            cells = [row.variant, f"{row.mean:.3f}", f"{row.spread:.3f}", seeds, *difference_cells(row, baselines)]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def draw(table: list[VariantResult], path: Path) -> None:
    """Write a figure: one panel per set of faces, one line per variant, dots for its seeds and a bar for its mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(row.faces for row in table))
    columns = min(PANELS_PER_ROW, len(names))
    lines = math.ceil(len(names) / columns)
    size = (3.2 * columns + 2.6, 3.2 * lines)
    figure, panels = plt.subplots(lines, columns, figsize=size, sharey=True, squeeze=False)
    for panel in panels.flat[len(names) :]:
        panel.remove()
    for panel, faces in zip(panels.flat, names, strict=False):
        rows = [row for row in table if row.faces == faces]
        for height, row in enumerate(reversed(rows)):
            panel.plot(row.nme, [height] * len(row.nme), "o", color="0.35", markersize=5, alpha=0.8)
            panel.plot([row.mean] * 2, [height - 0.3, height + 0.3], color="tab:blue", linewidth=2.5)
        panel.axvline(rows[0].mean, color="0.8", linewidth=1, zorder=0)
        panel.set_title(faces, fontsize=10)
        panel.set_xlabel("NME %, outer corners")
        panel.set_yticks(range(len(rows)), [row.variant for row in reversed(rows)])
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
