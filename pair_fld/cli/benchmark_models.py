"""`pairfld benchmark models`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli.console import JsonOption, LabelledImagesOption, out, print_json, progress, say, say_passed_over
from pair_fld.errors import PairError
from pair_fld.outputs import OutputGuard

if TYPE_CHECKING:
    from pair_fld.benchmarks.model_files import ModelRow

_WANTED = (2, 11)  # the TFLite runtime that a contest's grader may have


def models(
    files: Annotated[list[Path], typer.Argument(help=".onnx or .tflite files, from any exporter.")],
    images: LabelledImagesOption = None,
    threads: Annotated[
        list[int] | None,
        typer.Option("--threads", min=1, help="Number of threads to measure with; repeatable.", show_default="1 and 2"),
    ] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Timed calls per file and number of threads.")] = 200,
    dynamic: Annotated[
        int,
        typer.Option("--dynamic-size", min=1, help="Size of dynamic axes; a dynamic first axis is a batch of 1."),
    ] = 128,
    plot: Annotated[Path | None, typer.Option("--plot", help="PNG file for a plot of latency, NME and size.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier --plot file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare model files: size, arithmetic, operators, latency, memory, accuracy, oldest runtime.

    Each file runs in its own process, warmed up and pinned to as many cores as it has threads; the files take turns.
    Compare the times of one call only. A file that cannot be measured keeps its row, with the reason. Exit code 2 when
    no file could be run.

    Example: `pairfld benchmark models tiny.tflite nano.tflite --images faces`
    """
    from pair_fld.benchmarks import model_files as measuring
    from pair_fld.evaluate.validate import labelled_folder
    from pair_fld.runtime.main import make_writable

    if plot is not None:  # before the work
        OutputGuard([*files, *(images or [])], overwrite=overwrite).check(plot)
        make_writable(plot.parent)
    truth = labelled_folder(images) if images else None
    if truth is not None:
        say_passed_over(truth.passed_over)
    counts = threads or [1, 2]
    with progress(f"benchmark {len(files)} file{'s' * (len(files) > 1)}") as bar:
        rows = measuring.measure_models(files, threads=counts, runs=runs, dynamic=dynamic, truth=truth, progress=bar)
    if as_json:
        print_json({"files": [row.to_json() for row in rows]})
    else:
        for table in _tables(rows, counts):
            out.print(table)
    for row in rows:
        for error in row.errors:
            say(f"{row.file}: {error}")
    if not any(row.latency for row in rows):
        raise PairError("benchmark models", "at least one file that can be run", "none", "See the reasons above.")
    if plot is not None:
        measuring.plot_models(rows, plot)
        say(f"written: {plot}")


def _tables(rows: list[ModelRow], counts: list[int]) -> list[Table]:
    names = _short([row.file for row in rows])
    table = Table(title="latency: median / 95th percentile of one call; memory: peak of the process / the model's part")
    table.add_column("file", overflow="fold")
    for heading in ("MB", "M params", "GFLOPs", *(f"ms, {n} thr." for n in counts), "memory MB", "NME %", "runs in"):
        table.add_column(heading, justify="right")
    for name, row in zip(names, rows, strict=True):
        latency = [f"{e.median_ms:.2f} / {e.p95_ms:.2f}" if (e := row.at(n)) else "-" for n in counts]
        memory = f"{row.peak_mb:.0f} / {row.model_mb or 0:.1f}" if row.peak_mb else "-"
        table.add_row(
            Text(name), _figure(row.size_mb, 3), _figure(row.params and row.params / 1e6, 3), _figure(row.gflops, 4),
            *latency, memory, _figure(row.nme_outer_corners_percent, 3), _runtime(row.runtime),
        )  # fmt: skip
    operators = Table(title="operators by type of data")
    operators.add_column("file", overflow="fold")
    operators.add_column("heavy, not int8", justify="right")
    operators.add_column("operators")
    for name, row in zip(names, rows, strict=True):
        heavy = "-" if row.heavy_not_int8 is None else str(row.heavy_not_int8)
        operators.add_row(Text(name), heavy, ", ".join(f"{n} {kind}" for kind, n in row.ops.items()) or "-")
    return [table, operators]


def _short(files: list[str]) -> list[str]:
    """File names alone where they tell the files apart."""
    names = [Path(file).name for file in files]
    return names if len(set(names)) == len(set(files)) else files


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _runtime(text: str | None) -> str:
    if text is None or not text.startswith("TFLite"):
        return text or "-"
    version = tuple(int(part) for part in text.removeprefix("TFLite ").split("."))
    return text if version <= _WANTED else f"[yellow]{text}[/]"
