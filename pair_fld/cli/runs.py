"""`pairfld runs`: the training runs below a folder; `pairfld runs show ID`: one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli.console import JsonOption, out, print_json, say
from pair_fld.errors import PairError

RootOption = Annotated[Path, typer.Option("--folder", help="Folder in which runs are searched.")]
_ROOT = Path("runs")


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    runs = typer.Typer(invoke_without_command=True, help="List training runs, or show one of them.")
    runs.callback()(list_)
    runs.command("show")(show)
    app.add_typer(runs, name="runs")


def list_(context: typer.Context, root: RootOption = _ROOT, as_json: JsonOption = False) -> None:
    """List training runs with their best NME, newest last.

    Example: `pairfld runs --folder runs`
    """
    from pair_fld.train.run_history import list_runs

    if context.invoked_subcommand:
        return
    damaged: list[PairError] = []
    runs = list_runs(root, damaged)
    for error in damaged:
        say(f"left out: {error}")
    if as_json:
        print_json([run.to_json() for run in runs])
        return
    if not runs:
        say(f"no training runs below {root}")
        return
    table = Table("run", "stage", "epochs", "best NME %", "state", "changed", box=None)
    for run in runs:
        best = "" if run.best_nme_outer_corners_percent is None else f"{run.best_nme_outer_corners_percent:.3f}"
        done = f"{run.epochs_done}/{run.epochs}"
        table.add_row(run.name, run.kind, done, best, run.state, f"{run.changed:%Y-%m-%d %H:%M}")
    out.print(table)


def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="Run as `pairfld runs` names it, or the end of its name.")],
    against: Annotated[
        str | None,
        typer.Option("--compare-to", help="Run to compare settings with.", show_default="the defaults"),
    ] = None,
    root: RootOption = _ROOT,
    as_json: JsonOption = False,
) -> None:
    """Show the settings of a run that differ from the defaults or from another run, and its curves.

    Example: `pairfld runs show student --compare-to teacher`
    """
    from pair_fld.train import run_history as history

    run = history.find_run(root, name)
    other = history.find_run(root, against) if against else None
    base = history.configuration(other) if other else history.defaults(run.kind)
    changed = history.changed_settings(base, history.configuration(run))
    lines, made = history.curves(run), history.changes(run)
    if as_json:
        print_json({
            "run": run.to_json(), "against": other.name if other else "defaults",
            "differences": {key: list(pair) for key, pair in changed.items()},
            "changes": made, "curves": lines,
        })  # fmt: skip
        return
    out.print(f"[bold]{run.name}[/] {run.kind}, {run.epochs_done} of {run.epochs} epochs, {run.state}")
    settings = Table("setting", other.name if other else "default", run.name, box=None)
    for key, pair in changed.items():
        settings.add_row(key, *(_plain(value) for value in pair))
    out.print(settings)
    for change in made:
        out.print(Text(f"from step {change['step']}: {change['key']} = {change['new']} instead of {change['old']}"))
    table = Table("curve", "", "first", "last", "lowest", box=None)
    for key, values in lines.items():
        if values:
            numbers = (f"{value:.4g}" for value in (values[0], values[-1], min(values)))
            table.add_row(key, history.sparkline(values), *numbers)
    out.print(table)


def _plain(value: Any) -> str:
    return "" if value is None else str(value).replace("[", r"\[")
