"""`pairfld pareto`: accuracy against measured latency over a grid of small nets."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli import console
from pair_fld.cli.console import (
    DeviceOption,
    JsonOption,
    OverwriteOption,
    ResumeOption,
    print_json,
    progress,
    say,
)


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("pareto")(pareto)


def pareto(
    dataset: Annotated[Path, typer.Option("--dataset", help="Folder that `pairfld prepare` wrote.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the study.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings of the study to change, e.g. steps=500."),
    ] = None,
    config: Annotated[
        str, typer.Option("--config", help="Grid: a name of `pairfld configs list pareto`, or a .yaml.")
    ] = "tiny",
    reference: Annotated[
        Path | None,
        typer.Option("--reference", help="Model file whose latency is 1.", show_default="the shipped archive's"),
    ] = None,
    peers: Annotated[
        list[Path] | None, typer.Option("--peer", help="Further model file to compare with; repeatable.")
    ] = None,
    runs: Annotated[int, typer.Option("--runs", min=10, help="Timed calls per file.")] = 200,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Study the accuracy and latency of small nets: each is trained briefly, quantized to int8, timed and measured.

    Latency is a ratio to the reference file, taken in turns with it on one thread; NME is that of the int8 file on the
    validation split. The folder gets pareto.md, pareto.csv, pareto.json and pareto.png beside one folder per net. A
    study that was stopped, even by kill -9, goes on with --resume.

    Example: `pairfld pareto --dataset runs/synthetic/data --out runs/pareto steps=500`
    """
    from pair_fld.benchmarks.pareto import HEADINGS, ParetoSpec, table_rows
    from pair_fld.benchmarks.pareto import pareto as study
    from pair_fld.config import ParetoConfig, load_section
    from pair_fld.data.dataset import FaceDataset
    from pair_fld.inference.archive import shipped_archive, unpacked
    from pair_fld.train.run_folder import RunSpec

    settings = load_section(ParetoConfig, "pareto", config, overrides or [])
    data = FaceDataset(dataset)
    run = RunSpec(out, resume=resume, overwrite=overwrite, device=device, inputs=[data.folder])
    opened = nullcontext(reference.parent) if reference else unpacked(shipped_archive())
    with opened as folder, progress("pareto") as bar:
        file = reference or folder / "model.tflite"
        points, measured = study(settings, data, ParetoSpec(run, file, tuple(peers or ()), runs), bar)
    if as_json:
        print_json({"points": [p.to_json() for p in points], "peers": [p.to_json() for p in measured]})
        return
    for title, rows in (("nets", points), ("reference and peers", measured)):
        table = Table(*HEADINGS, title=title, box=None)
        for row in table_rows(rows):
            table.add_row(*map(Text, row))
        console.out.print(table)
    say(f"written: {out}/pareto.md, pareto.csv, pareto.json, pareto.png")
