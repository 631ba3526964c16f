"""`pairfld doctor`."""

from __future__ import annotations

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli.console import JsonOption, out, print_json
from pair_fld.errors import GateError

_COLOURS = {"good": "green", "missing": "bold red", "optional": "yellow", "note": ""}


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("doctor")(doctor)


def doctor(as_json: JsonOption = False) -> None:
    """Show what this machine has and lacks, and the command that fixes it.

    Versions, devices, threads, model runtimes, optional parts, memory and disk. Exit code 1 when something that is
    needed is missing.

    Example: `pairfld doctor --json`
    """
    from dataclasses import asdict

    from pair_fld.doctor import examine

    findings = examine()
    missing = [finding.subject for finding in findings if finding.state == "missing"]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        table = Table("", "", "found", "what to do", box=None)
        needed = [finding for finding in findings if finding.package and finding.state == "good"]
        if needed:
            table.add_row(Text("good", style="green"), "needed packages", f"{len(needed)}, their versions in --json")
        for finding in findings:
            if finding in needed:
                continue
            state = Text(finding.state, style=_COLOURS[finding.state])
            table.add_row(state, Text(finding.subject), Text(finding.found), Text(finding.remedy))
        out.print(table)
    if missing:
        raise GateError(f"needed and missing: {', '.join(missing)}")
