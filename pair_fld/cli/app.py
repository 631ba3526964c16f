"""The Typer application and the exit codes: 0 good, 1 a gate failed, 2 misuse, 130 interrupted."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import pair_fld
from pair_fld.cli import (
    ablate,
    benchmark,
    benchmark_runner,
    package,
    predict,
    prepare,
    quantize,
    runs,
    train,
    train_detector,
    validate,
)
from pair_fld.cli.console import complain, say
from pair_fld.errors import GateError, PairError

app = typer.Typer(
    name="pairfld",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="From labelled faces to a tiny, measured, verified facial-landmark model and the archive to submit.\n\n"
    "The stages, in order: prepare, train-teacher, distill, quantize, validate, package. Each reads the results of "
    "the ones before from the workspace (runs/RECIPE) and takes KEY=VALUE changes to the recipe.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(pair_fld.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for verb in (
    prepare,
    train,
    ablate,
    quantize,
    validate,
    benchmark,
    package,
    predict,
    train_detector,
    benchmark_runner,
    runs,
):
    verb.register(app)


def main() -> None:
    """Entry point: faults of the user become a sentence, never a traceback."""
    try:
        app()
    except PairError as fault:
        complain("error", fault)
        sys.exit(2)
    except GateError as fault:
        complain("failed", fault)
        sys.exit(1)
    except SystemExit as leave:
        if leave.code == 130:  # Typer's answer to Ctrl-C
            say("interrupted; --resume continues")
        raise
    except OSError as fault:  # disk full, no permission: the user's machine, not our code
        complain("error", fault)
        sys.exit(2)
    except ValueError as fault:
        # the runtime package knows no PairError: its faults are ValueErrors that name a file
        if os.environ.get("PAIRFLD_TRACEBACK") or not _from_runtime(fault):
            raise
        complain("error", fault)
        sys.exit(2)


def _from_runtime(fault: BaseException) -> bool:
    step, last = fault.__traceback__, ""
    while step is not None:
        last, step = step.tb_frame.f_globals.get("__name__", ""), step.tb_next
    return last.startswith("pair_fld.runtime")
