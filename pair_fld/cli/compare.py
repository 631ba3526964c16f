"""`pairfld compare`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli.console import JsonOption, out, print_json, progress, say, say_passed_over

if TYPE_CHECKING:
    from pair_fld.submit.compare import Compared


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("compare")(compare)


def compare(
    archives: Annotated[list[Path], typer.Argument(metavar="ARCHIVES...", help="Submission archives, two or more.")],
    images: Annotated[
        list[Path],
        typer.Option(
            "--images", help="Labelled images: a folder or label file of any kind that a source has; repeatable."
        ),
    ],
    limit: Annotated[int, typer.Option("--max-images", min=1, help="Images to run on, at most; evenly spread.")] = 200,
    as_json: JsonOption = False,
) -> None:
    """Measure whole submissions side by side, ours or a rival's, as a grader would run them.

    Each archive runs in a virtual environment of its own, which is kept. Detected faces, NME as the labels stand and
    with the set's mean shift removed, failures end to end (a face that is not found has failed), size, and time as a
    ratio within this run.

    Example: `pairfld compare ours.zip theirs.zip --images faces`
    """
    from pair_fld.evaluate.validate import labelled_folder
    from pair_fld.submit.compare import compare as run
    from pair_fld.submit.verify import verification_images

    truth = labelled_folder(images)
    say_passed_over(truth.passed_over)
    with tempfile.TemporaryDirectory(prefix="pairfld-compare-") as scratch:
        paths, faces = verification_images(truth, Path(scratch), limit)
        say(f"comparing {len(archives)} archives on {len(paths)} images")
        with progress("compare") as bar:
            compared = run(archives, paths, faces, progress=bar)
    if as_json:
        print_json([entry.to_json() for entry in compared])
        return
    out.print(_table(compared, len(paths)))


def _table(compared: list[Compared], images: int) -> Table:
    caption = "NME %: outer eye corners, of the found faces; FR: NME above 8 % or not found; time: ratio to the first"
    table = Table(title=Text(f"end to end on {images} images"), caption=caption)
    for heading in ("archive", "MB", "found", "unlabelled", "NME %", "shift removed", "FR %", "s", "time"):
        table.add_column(heading, justify="left" if heading == "archive" else "right")
    for entry in compared:
        tree, report = entry.to_json(), entry.report
        nme, removed = tree["nme_outer_corners_percent"], tree["nme_outer_corners_shift_removed_percent"]
        table.add_row(
            entry.name,
            f"{entry.archive_mb:.2f}",
            f"{report.labelled - report.missed} of {report.labelled}",
            str(report.unmatched),
            *("-" if v is None else f"{v:.2f}" for v in (nme, removed, entry.failure_percent)),
            f"{entry.seconds:.1f}",
            f"{entry.ratio:.2f}",
        )
    return table
