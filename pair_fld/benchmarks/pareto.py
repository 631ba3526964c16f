"""A study of accuracy against measured latency: many small nets, each trained briefly and shipped as int8.

Each point of the grid lies in a folder of its own: a short training on labels, its int8 .tflite, NME on the validation
split, and latency as a ratio to a reference file that took turns with it. What is done stays done: a study that was
killed goes on where it stopped. Short runs rank; they do not say how good a net becomes.
"""

from __future__ import annotations

import csv
import itertools
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.benchmarks.model_files import ModelRow, measure_models
from pair_fld.config import ModelConfig, ParetoConfig, StageConfig
from pair_fld.data.dataset import FaceDataset, Split
from pair_fld.errors import PairError
from pair_fld.evaluate.report import markdown_table
from pair_fld.evaluate.validate import TorchModel, cut, open_model, validate_dataset
from pair_fld.export.onnx import export_onnx
from pair_fld.export.quantization.formats import quantize
from pair_fld.io import atomic_path, file_hash, read_json, write_json
from pair_fld.models import build_model
from pair_fld.progress import Progress, no_progress
from pair_fld.runs import provenance
from pair_fld.runtime.metadata import model_metadata
from pair_fld.runtime.session import has_metadata
from pair_fld.train.compared_runs import claim_comparison
from pair_fld.train.distill import train_teacher
from pair_fld.train.run_folder import RunSpec

STAGE, RESULT = "pareto", "point.json"
OUTPUTS = ("pareto.json", "pareto.csv", "pareto.md", "pareto.png")
RUNS = 200  # timed calls of each of the two files
_ARCHITECTURES = {"heatmap": "heatmap_net", "simcc": "simcc_net", "coordinate": "coord_net"}
_OWN_LOSSES = {"heatmap": {"heatmap": 0.5}, "simcc": {"simcc": 0.5}, "coordinate": {}}


@dataclass(frozen=True)
class Choice:
    """One net of the grid, see `ParetoConfig`."""

    input_size: int
    width: float
    depth: float
    head: str
    block: str
    placement: str = "given"

    @property
    def name(self) -> str:
        """Of its folder."""
        name = f"{self.input_size}px-{self.head}-{self.block}-width{self.width:g}-depth{self.depth:g}"
        return name if self.placement == "given" else f"{name}-{self.placement}"

    def model(self, config: ParetoConfig) -> ModelConfig:
        """Channels are multiples of 8, as vector units like them; a stage keeps a block at least.

        Raises:
            PairError: as `placed`.
        """
        counts = placed([max(1, round(blocks * self.depth)) for _, _, blocks, _ in config.stages], self.placement)
        stages = [
            [expand, max(8, 8 * round(outputs * self.width / 8)), blocks, stride]
            for (expand, outputs, _, stride), blocks in zip(config.stages, counts, strict=True)
        ]
        neck = max(8, 8 * round(config.neck * self.width / 8))
        options: dict[str, Any] = {"stages": stages, "block": self.block}
        options |= {"width": neck, "expand": 2} if self.head == "heatmap" else {"neck": neck}
        return ModelConfig(arch=_ARCHITECTURES[self.head], input_size=self.input_size, options=options)

    def stage(self, config: ParetoConfig) -> StageConfig:
        """How it is trained."""
        losses = {**config.train.losses, **_OWN_LOSSES[self.head]}
        train = config.train.model_copy(update={"epochs": 1, "steps_per_epoch": config.steps, "losses": losses})
        return StageConfig(model=self.model(config), train=train)


def placed(blocks: Sequence[int], placement: str) -> list[int]:
    """Blocks of each stage after one has been moved to the first stage (early), to the last (late), or none (given).

    The stage at the other end gives it; if that has one block only, the stage next to it does, and so on.

    Raises:
        PairError: no stage but the one that gets the block has two.
    """
    if placement == "given":
        return list(blocks)
    ordered = list(blocks) if placement == "early" else list(blocks)[::-1]
    givers = [number for number in range(1, len(ordered)) if ordered[number] > 1]
    if not givers:
        end = "first" if placement == "early" else "last"
        expected = f"a stage of two blocks or more beside the {end} one"
        raise PairError(f"placements: {placement}", expected, f"blocks {list(blocks)}", "Leave it out, or add blocks.")
    ordered[0] += 1
    ordered[givers[-1]] -= 1
    return ordered if placement == "early" else ordered[::-1]


@dataclass(frozen=True)
class Point:
    """What was measured of a net, or of a peer.

    Attributes:
        latency_ratio: median latency on one thread over that of the reference in the same run.
        nme_percent: NME (outer corners) of the int8 file on the validation split; nan for a peer that is not our own.
        best: no other net is both faster and more accurate.
    """

    name: str
    size_mb: float
    gflops: float | None
    latency_ratio: float
    nme_percent: float
    best: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values; an NME that was not measured is null."""
        tree = asdict(self)
        return tree | {"nme_percent": None if math.isnan(self.nme_percent) else self.nme_percent}


@dataclass(frozen=True)
class ParetoSpec:
    """What a study needs beside its configuration.

    Attributes:
        run: output folder, and whether an earlier study there is continued or replaced.
        reference: model file whose latency is 1.
        peers: further model files, for comparison.
        runs: timed calls per file.
    """

    run: RunSpec
    reference: Path
    peers: tuple[Path, ...] = ()
    runs: int = RUNS


def choices(config: ParetoConfig) -> list[Choice]:
    """The grid in order, the base first."""
    axes: list[list[Any]] = [config.input_sizes, config.widths, config.depths, config.heads, config.blocks]
    combinations: list[tuple[Any, ...]] = list(itertools.product(*axes, config.placements))
    if config.vary == "each":
        base = combinations[0]
        combinations = [one for one in combinations if sum(a != b for a, b in zip(one, base, strict=True)) <= 1]
    return list(dict.fromkeys(Choice(*values) for values in combinations))


def pareto(
    config: ParetoConfig, dataset: FaceDataset, spec: ParetoSpec, progress: Progress = no_progress
) -> tuple[list[Point], list[Point]]:
    """Run the study: the nets, and the peers with the reference first. Writes `OUTPUTS` into the folder.

    Raises:
        PairError: a net of the grid cannot be built, no validation faces, a reference that cannot be run, or as
            `claim_folder`.
    """
    grid = choices(config)
    for choice in grid:
        build_model(choice.model(config))
    if not len(dataset.indices(Split.VALID, labelled=True)):
        raise PairError(dataset.folder, "labelled validation faces", "none", "Prepare with valid_fraction above 0.")
    for file in (spec.reference, *spec.peers):
        if not file.is_file():
            raise PairError(file, "a model file to compare with", "no such file", "Check the path.")
    _claim(config, dataset, spec)
    points = []
    for number, choice in enumerate(grid):
        progress(number * config.steps, len(grid) * config.steps, choice.name)
        points.append(_point(choice, config, dataset, spec, _counter(progress, number, len(grid), config.steps)))
    peers = _peers(dataset, spec)
    points = with_front(points)
    _write(points, peers, config, spec)
    return points, peers


def _counter(progress: Progress, number: int, total: int, steps: int) -> Callable[[int], None]:
    return lambda step: progress(number * steps + step, total * steps)


def with_front(points: Sequence[Point]) -> list[Point]:
    """The points with `best` set: those that no other one beats in one figure without losing in the other."""

    def beaten(one: Point) -> bool:
        return any(
            other.latency_ratio <= one.latency_ratio
            and other.nme_percent <= one.nme_percent
            and (other.latency_ratio, other.nme_percent) != (one.latency_ratio, one.nme_percent)
            for other in points
        )

    return [replace(point, best=not beaten(point)) for point in points]


def _claim(config: ParetoConfig, dataset: FaceDataset, spec: ParetoSpec) -> None:
    # studies begun before there were placements name none: those can be resumed
    unnamed = {"placements"} if config.placements == ["given"] else None
    plan: dict[str, Any] = {
        "config": config.model_dump(mode="json", exclude=unnamed),
        "data_hash": dataset.data_hash,
        "reference": file_hash(spec.reference),
    }
    run = replace(spec.run, inputs=[*spec.run.inputs, spec.reference, *spec.peers])
    extra = provenance(plan["config"], seed=config.train.seed)
    claim_comparison(run, STAGE, "study", plan, extra, "configuration, reference or data")


def _point(
    choice: Choice, config: ParetoConfig, dataset: FaceDataset, spec: ParetoSpec, count: Callable[[int], None]
) -> Point:
    """A finished point as it was measured; else its training is begun or continued."""
    folder = spec.run.out / choice.name
    if (folder / RESULT).is_file():
        return Point(**read_json(folder / RESULT, "a point of a study"))
    run = RunSpec(folder / "train", resume=True, device=spec.run.device)
    best = train_teacher(choice.stage(config), dataset, run, report=lambda state: count(state.step))
    file = _int8_file(best, dataset, config, folder)
    reference, row = measure_models([spec.reference, file], threads=(1,), runs=spec.runs)
    nme = validate_dataset(open_model(file), dataset, Split.VALID).overall["outer_corners"].nme_percent
    point = Point(choice.name, file.stat().st_size / 1e6, row.gflops, _ratio(row, reference), nme)
    write_json(folder / RESULT, asdict(point))
    return point


def _int8_file(checkpoint: Path, dataset: FaceDataset, config: ParetoConfig, folder: Path) -> Path:
    model = TorchModel(checkpoint)
    metadata = model_metadata(model.input_size, model.margin, model.net.output_kind)
    rows = dataset.indices(Split.TRAIN, labelled=True)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(config.calibration_images, len(rows))).astype(int))]
    crops, _, _ = cut(dataset, rows, model)
    draft = folder / "float"
    draft.mkdir(exist_ok=True)
    export_onnx(model.net, model.input_size, draft / "model.onnx", metadata)
    (file,) = quantize(draft / "model.onnx", folder, crops, ["int8-static"], formats=["tflite"])
    shutil.rmtree(draft)
    return file.path


def _peers(dataset: FaceDataset, spec: ParetoSpec) -> list[Point]:
    files = [spec.reference, *spec.peers]
    rows = measure_models(files, threads=(1,), runs=spec.runs)
    peers = []
    for file, row in zip(files, rows, strict=True):
        if not row.latency:
            raise PairError(file, "a model file that can be run", "; ".join(row.errors), "Leave it out.")
        nme = math.nan
        if has_metadata(file):
            nme = validate_dataset(open_model(file), dataset, Split.VALID).overall["outer_corners"].nme_percent
        peers.append(Point(file.name, file.stat().st_size / 1e6, row.gflops, _ratio(row, rows[0]), nme))
    return peers


def _ratio(row: ModelRow, reference: ModelRow) -> float:
    if not row.latency or not reference.latency:
        bad = row if not row.latency else reference
        raise PairError(bad.file, "a model file that can be run", "; ".join(bad.errors), "Give another reference.")
    return row.latency[0].median_ms / reference.latency[0].median_ms


def _write(points: Sequence[Point], peers: Sequence[Point], config: ParetoConfig, spec: ParetoSpec) -> None:
    out = spec.run.out
    write_json(out / "pareto.json", {"points": [p.to_json() for p in points], "peers": [p.to_json() for p in peers]})
    with atomic_path(out / "pareto.csv") as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["kind", *(field.name for field in fields(Point))])
        for kind, row in [*(("net", p) for p in points), *(("peer", p) for p in peers)]:
            writer.writerow([kind, *("" if value is None else value for value in row.to_json().values())])
    with atomic_path(out / "pareto.md") as draft:
        draft.write_text(markdown(points, peers, config), encoding="utf-8")
    with atomic_path(out / "pareto.png") as draft:
        draw(points, peers, draft)


def table_rows(points: Sequence[Point]) -> list[list[str]]:
    """Cells of a table, fastest first: name, MB, GFLOPs, latency ratio, NME, and whether it is on the front."""
    return [
        [p.name, f"{p.size_mb:.3f}", "" if p.gflops is None else f"{p.gflops:.4f}", f"{p.latency_ratio:.2f}",
         "" if math.isnan(p.nme_percent) else f"{p.nme_percent:.2f}", "front" if p.best else ""]
        for p in sorted(points, key=lambda p: p.latency_ratio)
    ]  # fmt: skip


HEADINGS = ("net", "MB", "GFLOPs", "latency ratio", "NME % (outer corners)", "")


def markdown(points: Sequence[Point], peers: Sequence[Point], config: ParetoConfig) -> str:
    """The study as Markdown."""
    about = (
        f"Each net: {config.steps} steps of {config.train.batch_size} faces, seed {config.train.seed}; int8. Latency "
        f"on one thread over that of {peers[0].name}, which took turns with it. NME on the validation split. Short "
        "runs rank nets; they do not say how good one becomes."
    )
    return (
        f"# Accuracy against latency\n\n{about}\n\n{markdown_table(HEADINGS, table_rows(points))}\n\n"
        f"## Reference and peers, as they are\n\n{markdown_table(HEADINGS, table_rows(peers))}\n"
    )


def draw(points: Sequence[Point], peers: Sequence[Point], path: Path) -> None:
    """NME over latency as PNG: nets, numbered as in the legend, fastest first, their front as a line; peers as crosses
    or, without an NME, as upright lines."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 5), layout="constrained")
    for number, point in enumerate(sorted(points, key=lambda p: p.latency_ratio), 1):
        axes.scatter(point.latency_ratio, point.nme_percent, s=20 + 60 * point.size_mb, color="tab:blue", alpha=0.7,
                     label=f"{number}  {point.name}")  # fmt: skip
        above = number % 2  # neighbours' numbers stand on either side: nets of about the same cost stay apart
        axes.annotate(str(number), (point.latency_ratio, point.nme_percent), fontsize=7, ha="center",
                      va="bottom" if above else "top", xytext=(0, 5 if above else -5),
                      textcoords="offset points")  # fmt: skip
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7, frameon=False, handlelength=0, markerscale=0)
    front = sorted((p for p in points if p.best), key=lambda p: p.latency_ratio)
    axes.plot([p.latency_ratio for p in front], [p.nme_percent for p in front], color="tab:blue", lw=1)
    for peer in peers:
        if math.isnan(peer.nme_percent):
            axes.axvline(peer.latency_ratio, color="tab:grey", ls=":", lw=1)
            axes.annotate(
                peer.name, (peer.latency_ratio, 0.02), xycoords=("data", "axes fraction"), fontsize=6, rotation=90
            )
        else:
            axes.scatter(peer.latency_ratio, peer.nme_percent, marker="x", color="tab:red")
            axes.annotate(peer.name, (peer.latency_ratio, peer.nme_percent), fontsize=6, xytext=(4, -9),
                          textcoords="offset points", color="tab:red")  # fmt: skip
    axes.set(xlabel=f"latency over that of {peers[0].name} (1 thread, same run)", ylabel="NME (outer corners) %")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, format="png")
    plt.close(figure)
