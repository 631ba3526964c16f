"""Ways to train compared over seeds: means, spreads, and differences in standard deviations; as Markdown and figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev


@dataclass(frozen=True)
class Row:
    """One arm on one set of faces.

    nme: NME (outer corners) in percent by seed; mean, spread (the standard deviation): of these.
    change: of the mean from the baseline's. deviations: that in pooled standard deviations, None for the baseline.
    """

    arm: str
    faces: str
    nme: tuple[float, ...]
    mean: float
    spread: float
    change: float
    deviations: float | None


def compare(results: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Row]:
    """The comparison of arms, the first being the baseline: NME in percent by set of faces, of each arm's seeds."""
    table, baseline = [], next(iter(results))
    for faces in results[baseline][0]:
        base = [result[faces] for result in results[baseline]]
        for arm, of_seeds in results.items():
            values = [result[faces] for result in of_seeds]
            change = mean(values) - mean(base)
            pooled = math.sqrt((stdev(values) ** 2 + stdev(base) ** 2) / 2)
            deviations = None if arm == baseline else change / pooled if pooled else math.copysign(math.inf, change)
            table.append(Row(arm, faces, tuple(values), mean(values), stdev(values), change, deviations))
    return table


def markdown(table: list[Row], about: str) -> str:
    """The comparison as Markdown tables, one a set of faces, under the sentence `about`."""
    lines = [about, ""]
    for faces in dict.fromkeys(row.faces for row in table):
        lines += [f"**{faces}**", "", "| trained with | NME % (outer corners), mean | spread | by seed | change | in "
                  "standard deviations |", "|---|--:|--:|---|--:|--:|"]  # fmt: skip
        for row in (row for row in table if row.faces == faces):
            seeds = " ".join(f"{value:.2f}" for value in row.nme)
            last = "" if row.deviations is None else f"{row.deviations:+.1f}"
            change = "" if row.deviations is None else f"{row.change:+.3f}"
            lines.append(f"| {row.arm} | {row.mean:.3f} | {row.spread:.3f} | {seeds} | {change} | {last} |")
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
