"""`pairfld benchmark devices`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli.console import JsonOption, out, print_json


def devices(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES...", help="Files (.json) that pages of pairfld demo offered.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Compare devices by what the pages of pairfld demo measured on them, a phone's for example.

    A face is one crop, the landmark model and its decoding; a view is one run of the face detector. All times are of a
    browser on one thread.

    Example: `pairfld benchmark devices phone.json tablet.json`
    """
    from pair_fld.demo.measurements import STAGES, read_measurements

    measured = [read_measurements(path) for path in files]
    if as_json:
        print_json({"devices": [entry.to_json() for entry in measured]})
        return
    table = Table(title="ms in the browser: median / 95th percentile")
    table.add_column("device", overflow="fold", ratio=1)
    table.add_column("archive")
    for heading in (*STAGES, "frames/s", "loaded in, s"):
        table.add_column(heading, justify="right")
    for entry in measured:
        times = [f"{entry.stages[name].median_ms:.2f} / {entry.stages[name].p95_ms:.2f}" for name in STAGES]
        rate = "-" if entry.frames_per_second is None else f"{entry.frames_per_second:.0f}"
        table.add_row(Text(entry.device), Text(entry.archive), *times, rate, f"{entry.load_ms / 1000:.1f}")
    out.print(table)
