"""`pairfld configs list`, `show` and `copy`: the configuration files that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli.console import JsonOption, out, print_json, print_text, say
from pair_fld.outputs import OutputGuard

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="SECTION/NAME as `pairfld configs list` prints it, or NAME alone.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    configs = typer.Typer(no_args_is_help=True, help="List, show and copy the configuration files of the package.")
    configs.command("list")(list_)
    configs.command("show")(show)
    configs.command("copy")(copy)
    app.add_typer(configs, name="configs")


def list_(
    section: Annotated[
        str | None, typer.Argument(metavar="[SECTION]", help="One section, e.g. student.", show_default="all")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the configuration files with their purpose.

    Example: `pairfld configs list student`
    """
    from pair_fld.config.shipped import list_configs

    files = list_configs(section)
    if as_json:
        print_json([{"name": f.key, "path": str(f.path), "purpose": f.purpose} for f in files])
        return
    table = Table("name", "purpose", box=None)
    for file in files:
        table.add_row(Text(file.key, no_wrap=True), Text(file.purpose))
    out.print(table)


def show(name: NameArgument) -> None:
    """Print a configuration file.

    Example: `pairfld configs show student/tiny`
    """
    from pair_fld.config.shipped import find_shipped

    print_text(find_shipped(name).path.read_text(encoding="utf-8"))


def copy(
    name: NameArgument,
    target: Annotated[
        Path | None, typer.Argument(help="File or folder to copy to.", show_default="NAME.yaml in this folder")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
) -> None:
    """Copy a configuration file, to be changed and then named by its path.

    Example: `pairfld configs copy data/shared-faces mine.yaml`
    """
    from pair_fld.config.shipped import find_shipped
    from pair_fld.io import atomic_path

    file = find_shipped(name)
    path = target or Path(f"{file.name}.yaml")
    path = path / f"{file.name}.yaml" if path.is_dir() else path
    OutputGuard([file.path], overwrite=overwrite).check(path)
    with atomic_path(path) as temporary:
        temporary.write_bytes(file.path.read_bytes())
    say(f"written: {path}")
