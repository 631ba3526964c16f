"""Size and time against NME: our models among those of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from pair_fld.evaluate.report import SHIFT_REMOVED
from pair_fld.report.style import COLOURS, MARKERS, Plate
from pair_fld.runtime.session import load_model, open_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDS, CALLS = 12, 12  # of a timing: the models take turns
STANDS = "nme_outer_corners_percent"
_WIDE = 4.0  # ratio of the largest to the smallest size or time from which their axis is logarithmic
_MOST_SETS = 2  # of which figures are drawn


@dataclass(frozen=True)
class Peer:
    """Another team's model. nme: by set, (shift removed, as the labels stand). aflw: shift removed. time: ratio to
    yuhs1's."""

    name: str
    mb: float
    time: float
    nme: Mapping[str, tuple[float, float]]
    aflw: float
    learnt: tuple[str, ...]


@dataclass(frozen=True)
class Peers:
    """peers.yaml. sets: by the peers' name, our source of the same data set. tiny_time: tiny's ratio to yuhs1."""

    peers: tuple[Peer, ...]
    sets: Mapping[str, str]
    tiny_time: float


@dataclass(frozen=True)
class Own:
    """One of our models: its scores by source (`GroupScores.to_json`), file size, and time as a ratio to tiny's.

    None: not measured.
    """

    name: str
    scores: Mapping[str, Mapping[str, Any]]
    mb: float | None = None
    time: float | None = None


@lru_cache(maxsize=1)
def load_peers() -> Peers:
    """Read the figures of other models."""
    tree = yaml.safe_load(Path(__file__).with_name("peers.yaml").read_text(encoding="utf-8"))
    peers = tuple(
        Peer(
            p["name"],
            p["mb"],
            p["time"],
            {k: (v[0], v[1]) for k, v in p["nme"].items()},
            p["aflw"],
            tuple(p["learnt"]),
        )
        for p in tree["peers"]
    )
    return Peers(peers, tree["sets"], tree["tiny_time"])


def pareto_figures(models: Sequence[Own], whole: str | None = None) -> list[Plate]:
    """Size and time against NME, on sets that both our models and the others were measured on.

    Args:
        models: ours.
        whole: the key of `Own.scores` for all faces, which is drawn without peers where no set is shared.
    """
    data = load_peers()
    shared = [s for s, source in data.sets.items() if any(source in model.scores for model in models)]
    plates = []
    for name in shared[:_MOST_SETS]:
        source = data.sets[name]
        removed = all(_number(m.scores[source], SHIFT_REMOVED) is not None for m in models if source in m.scores)
        key, column = (SHIFT_REMOVED, 0) if removed else (STANDS, 1)
        reading = "mean shift removed" if removed else "as the labels stand"
        ours = [(m, value) for m in models if (value := _number(m.scores.get(source, {}), key)) is not None]
        theirs = [(p, p.nme[name][column], name in p.learnt) for p in data.peers]
        plates += _two(name, f"{source}, {reading}", ours, theirs, data.tiny_time)
    if not plates and whole is not None and len(models) > 1:
        ours = [(m, value) for m in models if (value := _number(m.scores.get(whole, {}), STANDS)) is not None]
        plates += _two("all", "all faces of this report", ours, [], data.tiny_time)
    return plates


def _two(
    name: str, faces: str, ours: list[tuple[Own, float]], theirs: list[tuple[Peer, float, bool]], tiny: float
) -> list[Plate]:
    axes: list[tuple[str, str, Callable[[Own], float | None], Callable[[Peer], float]]] = [
        ("size", "file, MB", lambda m: m.mb, lambda p: p.mb),
        ("time", "time on one thread, ratio to yuhs1", lambda m: None if m.time is None else m.time * tiny,
         lambda p: p.time),
    ]  # fmt: skip
    plates = []
    for word, label, own, other in axes:
        title = "file size" if word == "size" else "time"
        points = [(m.name, x, y) for m, y in ours if (x := own(m)) is not None]
        if not points or (not theirs and len(points) < 2):
            continue
        others = [(p.name, other(p), y, learnt) for p, y, learnt in theirs]
        caption = "Down and left is better."
        if others:
            caption += " Grey: other models on other faces of the same data set; hollow: learnt from those very faces."
        draw = partial(_draw, ours=points, theirs=others, label=label)
        plates.append(Plate(f"pareto-{word}-{name}", f"NME over {title}, {faces}", caption, draw, (4.8, 3.4)))
    return plates


def _draw(
    figure: Figure, ours: list[tuple[str, float, float]], theirs: list[tuple[str, float, float, bool]], label: str
) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes = figure.subplots()
    for name, x, y, learnt in theirs:
        axes.scatter(x, y, s=26, facecolors="none" if learnt else "#8a8a8a", edgecolors="#8a8a8a")
        axes.annotate(name.partition(" (")[0], (x, y), (4, 4), textcoords="offset points", fontsize=7, color="#8a8a8a")
    for k, (name, x, y) in enumerate(ours):
        axes.scatter(x, y, s=44, color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)], zorder=3)
        axes.annotate(name, (x, y), (5, -10), textcoords="offset points", fontsize=9, fontweight="bold")
    values = [y for _, _, y in ours] + [y for _, _, y, _ in theirs]
    places = [x for _, x, _ in ours] + [x for _, x, _, _ in theirs]
    axes.set(xlabel=label, ylabel="NME %, outer corners", ylim=(0, 1.08 * max(values)))
    if max(places) > _WIDE * min(places):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(places) < 20 * min(places) else (1,)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.18)
    else:
        axes.set_xlim(0, 1.35 * max(places))
    axes.grid(alpha=0.3)


def time_ratios(models: Mapping[str, Path], reference: Path) -> dict[str, float]:
    """Each model's time for one crop on one thread over the reference's, both taken in turns within this run.

    The quickest round of each counts: what else the machine does only ever adds.
    """
    runs = {name: _timed(path) for name, path in {**models, "": reference}.items()}
    best = dict.fromkeys(runs, np.inf)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            best[name] = min(best[name], run())
    return {name: float(best[name] / best[""]) for name in models}


def _timed(path: Path) -> Callable[[], float]:
    model = load_model(path, threads=1)
    crop = np.random.default_rng(0).integers(0, 256, (1, model.input_size, model.input_size, 3)).astype(np.uint8)
    run = open_run(path, model.metadata, 1)

    def seconds() -> float:
        run(crop)
        start = perf_counter()
        for _ in range(CALLS):
            run(crop)
        return perf_counter() - start

    return seconds


def _number(tree: Mapping[str, Any], key: str) -> float | None:
    value = tree.get(key)
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None
