"""`pairfld annotate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli.console import (
    JsonOption,
    OverwriteOption,
    ResumeOption,
    out,
    print_json,
    progress,
    say,
    say_passed_over,
)


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("annotate")(annotate)


def annotate(
    annotator: Annotated[
        str,
        typer.Argument(
            metavar="ANNOTATOR", help="mediapipe, dlib, or a folder or zip with run_model.py and requirements.txt."
        ),
    ],
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES",
            help="A folder of images, labelled or not, a label file, or a data configuration (name or .yaml).",
        ),
    ],
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the labels.")],
    root: Annotated[Path | None, typer.Option("--root", help="Folder that the sources' paths are relative to.")] = None,
    one_flip: Annotated[
        bool, typer.Option("--one-flip", help="Run on each image only, not on its mirror image.")
    ] = False,
    python: Annotated[
        str,
        typer.Option(
            "--python", help="Interpreter to make the annotator's environment with.", show_default="the running one"
        ),
    ] = sys.executable,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label faces with a program of somebody else's, run in a virtual environment of its own.

    The program takes a list of images and writes contest text files, of any number of points. Where the data knows a
    face's box, it gets an upright crop centred on the face, and the detection nearest the centre is kept. Learn with
    pairfld fit-scheme how its points lead to the 51.

    Example: `pairfld annotate mediapipe photos --out labels`
    """
    from pair_fld.annotators.annotate import annotate as run
    from pair_fld.annotators.annotator import open_annotator
    from pair_fld.annotators.images import data_of

    config = data_of(images, root, say)
    with open_annotator(annotator) as opened, progress(f"annotate {opened.name}") as bar:
        if opened.about.warning:
            say(f"{opened.about.title}: {opened.about.warning}")
        report = run(
            opened, config, folder, flips=1 if one_flip else 2, python=python,
            resume=resume, overwrite=overwrite, progress=bar,
        )  # fmt: skip
    if as_json:
        print_json(report.to_json())
        say_passed_over(report.passed_over)
        return
    table = Table(title=Text(f"{report.annotator}: labels in {folder}"))
    for heading in ("source", "faces", "found", "on both flips"):
        table.add_column(heading, justify="left" if heading == "source" else "right")
    for name, counts in report.sources.items():
        table.add_row(name, *(str(counts[key]) for key in ("faces", "found", "both_flips")))
    out.print(table)
    for sentence in report.unreadable:
        say(f"left out: {sentence}")
    say_passed_over(report.passed_over)
