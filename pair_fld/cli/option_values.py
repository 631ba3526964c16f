"""Options whose value begins with a dash: it is another option, and the value was forgotten.

Typer takes `--json --draw` for the file `--draw`, and the verb would write it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from pair_fld.errors import PairError

STANDARD_STREAM = "-"


def check_option_values(app: typer.Typer) -> None:
    """Have all verbs of an application refuse such values, and those of its groups, before they start."""
    for verb in app.registered_commands:
        verb.cls = _Verb
    for group in app.registered_groups:
        group.cls = _Group
        if group.typer_instance is not None:
            check_option_values(group.typer_instance)


class _Verb(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        _check(self.params, ctx)
        return rest


class _Group(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        _check(self.params, ctx)
        return rest


def _check(parameters: list[Any], ctx: Any) -> None:
    """Raise PairError for the first text or path that begins with a dash; negative numbers are numbers by now."""
    for option in parameters:
        if not isinstance(option, TyperOption):
            continue
        given = ctx.params.get(option.name)
        for value in given if isinstance(given, (list, tuple)) else [given]:
            if isinstance(value, (str, Path)) and str(value).startswith("-") and str(value) != STANDARD_STREAM:
                name = max(option.opts, key=len)
                message = f"{name} needs a value, and {value} looks like another option."
                remedy = f"Give the value after {name}; a file of that name is ./{value}."
                raise PairError(name, message=message, remedy=remedy)
