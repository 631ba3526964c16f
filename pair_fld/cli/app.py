"""The Typer application and the exit codes: 0 good, 1 a gate failed, 2 misuse, 130 interrupted.

Code 1 is for failed gates alone, so what Typer would end with 1 (a closed pipe, an end of file) is caught before it.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import pair_fld
from pair_fld.cli import (
    ablate,
    ablate_labels,
    annotate,
    audit,
    benchmark,
    compare,
    configs,
    demo,
    doctor,
    fit_scheme,
    new,
    package,
    pareto,
    predict,
    prepare,
    quantize,
    report,
    runs,
    train,
    train_detector,
    validate,
    verify,
)
from pair_fld.cli.console import complain, say
from pair_fld.cli.option_values import check_option_values
from pair_fld.errors import GateError, PairError, missing_package

RENAMED_VERBS = {
    "bench": "benchmark models",
    "bench-train": "benchmark training",
    "bench-detector": "benchmark detectors",
    "bench-predict": "benchmark inference",
}
RENAMED_OPTIONS = {  # of these verbs; the options of the benchmark verbs come by the old names of the verbs
    "prepare": {"--data": "--data-config"},
    "train-teacher": {"--data": "--dataset"},
    "distill": {"--data": "--dataset"},
    "ablate": {"--data": "--dataset"},
    "quantize": {"--data": "--dataset"},
    "package": {"--data": "--dataset", "--pictures": "pairfld verify --max-images", "--min-recall": "pairfld verify"},
    "train-detector": {"--data": "--dataset"},
    "validate": {"--data": "--images", "--with": "--ensemble", "--set": "KEY=VALUE, without an option"},
    "predict": {"--model": "--archive", "-m": "-a", "--threads": "--jobs"},
    "compare": {"--limit": "--max-images"},
    "runs": {"--against": "--compare-to", "--root": "--folder"},
}


class _Verbs(TyperGroup):
    """The verbs, with their ends."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in RENAMED_VERBS:
            new = RENAMED_VERBS[args[0]]
            message = f"`pairfld {args[0]}` is now called `pairfld {new}`."
            raise PairError(args[0], message=message, remedy=f"See pairfld {new} --help for its options.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt:
            verb = self.get_command(ctx, ctx.invoked_subcommand or "")
            resumes = verb is not None and any(parameter.name == "resume" for parameter in verb.params)
            say("interrupted; --resume continues" if resumes else "interrupted")
            raise typer.Exit(130) from None
        except EOFError as error:
            raise PairError(
                "file", message=f"A file ends too early ({error}).", remedy="Copy or make it anew."
            ) from None
        except BrokenPipeError:
            with suppress(OSError, io.UnsupportedOperation):  # else the interpreter's last flush fails once more
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(2) from None  # silently, as for every program before a `head`
        except Exception as error:  # NoSuchOption of click, or of the copy of click that newer versions of Typer hold
            verb, old = ctx.invoked_subcommand or "", getattr(error, "option_name", "")
            if old not in RENAMED_OPTIONS.get(verb, {}):
                raise
            message = f"pairfld {verb} has no option {old} any more; it is now called {RENAMED_OPTIONS[verb][old]}."
            raise PairError(old, message=message, remedy=f"See pairfld {verb} --help.") from None


app = typer.Typer(
    name="pairfld",
    cls=_Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
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
    doctor,
    new,
    prepare,
    train,
    ablate,
    ablate_labels,
    pareto,
    annotate,
    fit_scheme,
    audit,
    quantize,
    validate,
    benchmark,
    package,
    verify,
    compare,
    report,
    predict,
    demo,
    train_detector,
    runs,
    configs,
):
    verb.register(app)
check_option_values(app)


def main() -> None:
    """Entry point: errors of the user become a sentence, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode gets escapes, not an exception
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="pairfld")  # also as python -m pair_fld
    except PairError as error:
        complain("error", error)
        sys.exit(2)
    except GateError as error:
        complain("failed", error)
        sys.exit(1)
    except SystemExit as end:
        sys.exit(2 if end.code == 1 else end.code)
    except MemoryError as error:
        complain("error", f"not enough memory ({error})" if str(error) else "not enough memory")
        sys.exit(2)
    except OSError as error:  # disk full, no permission: the user's machine, not our code
        complain("error", error)
        sys.exit(2)
    except ImportError as error:  # another package is missing, or a library of the system that it needs
        if os.environ.get("PAIRFLD_TRACEBACK") or (error.name or "").partition(".")[0] == "pair_fld":
            raise
        complain("error", missing_package(error))
        sys.exit(2)
    except ValueError as error:
        # the runtime package knows no PairError: its errors are ValueErrors that name a file
        if os.environ.get("PAIRFLD_TRACEBACK") or not _from_runtime(error):
            raise
        complain("error", error)
        sys.exit(2)


def _from_runtime(error: BaseException) -> bool:
    step, last = error.__traceback__, ""
    while step is not None:
        last, step = step.tb_frame.f_globals.get("__name__", ""), step.tb_next
    return last.startswith("pair_fld.runtime")
