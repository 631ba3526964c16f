"""Ways to train compared over seeds: means, spreads, and differences in standard deviations; as Markdown and figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev


@dataclass(frozen=True)
class Difference:
    """Of two means. change: the difference. deviations: that in pooled standard deviations."""

    change: float
    deviations: float


@dataclass(frozen=True)
class Row:
    """One arm on one set of faces.

    nme: NME (outer corners) in percent by seed; mean, spread (the standard deviation): of these.
    against: by baseline, the difference from it; a baseline has none from itself.
    """

    arm: str
    faces: str
    nme: tuple[float, ...]
    mean: float
    spread: float
    against: Mapping[str, Difference]


def compare(results: Mapping[str, Sequence[Mapping[str, float]]], baselines: Sequence[str]) -> list[Row]:
    """The comparison of arms: NME in percent by set of faces, of each arm's seeds; differences from each baseline."""
    table = []
    for faces in next(iter(results.values()))[0]:
        values = {arm: [result[faces] for result in of_seeds] for arm, of_seeds in results.items()}
        for arm, mine in values.items():
            against = {base: _difference(values[base], mine) for base in baselines if base != arm}
            table.append(Row(arm, faces, tuple(mine), mean(mine), stdev(mine), against))
    return table


def _difference(base: list[float], mine: list[float]) -> Difference:
    change, pooled = mean(mine) - mean(base), math.sqrt((stdev(mine) ** 2 + stdev(base) ** 2) / 2)
    return Difference(change, change / pooled if pooled else math.copysign(math.inf, change))


def differences(row: Row, baselines: Sequence[str]) -> list[str]:
    """A cell of text a baseline: the change of the mean, and in standard deviations; empty against itself."""
    found = [row.against.get(base) for base in baselines]
    return ["" if d is None else f"{d.change:+.3f} ({d.deviations:+.1f} sd)" for d in found]


def baselines_of(table: list[Row]) -> list[str]:
    """The baselines that the rows are compared with, in the rows' order."""
    named = {base for row in table for base in row.against}
    return list(dict.fromkeys(row.arm for row in table if row.arm in named))


def markdown(table: list[Row], about: str) -> str:
    """The comparison as Markdown tables, one a set of faces, under the sentence `about`."""
    baselines = baselines_of(table)
    head = ["trained with", "NME % (outer corners), mean", "spread", "by seed", *(f"from {base}" for base in baselines)]
    lines = [about, ""]
    for faces in dict.fromkeys(row.faces for row in table):
        lines += [f"**{faces}**", "", f"| {' | '.join(head)} |", "|---|--:|--:|---|" + "--:|" * len(baselines)]
        for row in (row for row in table if row.faces == faces):
            seeds = " ".join(f"{value:.2f}" for value in row.nme)
            cells = [row.arm, f"{row.mean:.3f}", f"{row.spread:.3f}", seeds, *differences(row, baselines)]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def draw(table: list[Row], path: Path) -> None:
    """A figure: a panel a set of faces, a line an arm, its seeds as dots and its mean as a bar."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(row.faces for row in table))
    figure, panels = plt.subplots(1, len(names), figsize=(3.2 * len(names) + 2.6, 3.2), sharey=True, squeeze=False)
    for panel, faces in zip(panels[0], names, strict=True):
        mine = [row for row in table if row.faces == faces]
        for height, row in enumerate(reversed(mine)):
            panel.plot(row.nme, [height] * len(row.nme), "o", color="0.35", markersize=5, alpha=0.8)
            panel.plot([row.mean] * 2, [height - 0.3, height + 0.3], color="tab:blue", linewidth=2.5)
        panel.axvline(mine[0].mean, color="0.8", linewidth=1, zorder=0)
        panel.set_title(faces, fontsize=10)
        panel.set_xlabel("NME %, outer corners")
        panel.set_yticks(range(len(mine)), [row.arm for row in reversed(mine)])
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
