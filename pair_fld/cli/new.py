"""`pairfld new`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli.console import JsonOption, out, print_json, say
from pair_fld.errors import PairError
from pair_fld.outputs import OutputGuard, is_plain_name

if TYPE_CHECKING:
    from pair_fld.data.survey import Survey

_SECTIONS = {"teacher": "unet128", "student": "heat96", "quant": "int8", "budget": "tiny"}
_NEXT = ("prepare", "train-teacher", "distill --teacher runs/{name}/teacher/best.pt", "quantize", "validate", "package")


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("new")(new)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the recipe, and of its folder below runs.")],
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDERS...", help="Folders of faces, or label files; of any kind.")
    ],
    test: Annotated[
        list[Path] | None,
        typer.Option("--test", help="Labelled faces to measure on only, as a folder or label file; repeatable."),
    ] = None,
    place: Annotated[Path, typer.Option("--out", help="Folder in which NAME.yaml is written.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write a recipe for your own faces, from a short look at their folders.

    It finds the format of each folder and counts its images and labels. The recipe holds the data; teacher, student,
    quantization and budget are names of the files that come with the package, to be changed as you like.

    Example: `pairfld new mine photos/labelled photos/more.csv --test photos/held-back`
    """
    from pair_fld.data.survey import survey
    from pair_fld.io import atomic_path

    if not is_plain_name(name):
        raise PairError(
            "NAME", "a plain name without slashes", repr(name), "Choose another name, and a folder by --out."
        )
    path = place / f"{name}.yaml"
    OutputGuard([*folders, *(test or [])]).check(path)
    found = survey(folders, test or [])
    with atomic_path(path) as draft:
        draft.write_text(recipe_text(name, path, found), encoding="utf-8")
    commands = [f"pairfld {stage.format(name=name)} --recipe {path}" for stage in _NEXT]
    if as_json:
        print_json({"recipe": str(path), "sources": [_json(one) for one in found], "next": commands})
        return
    table = Table("source", "kind", "images", "faces", "points", "left out", "to do", box=None)
    for one in found:
        cells = (one.source.name, one.source.kind, str(one.images), str(one.faces), str(one.points or ""))
        table.add_row(*map(Text, (*cells, str(one.left_out or ""), one.note)))
    out.print(table)
    if not test:
        say("no faces to measure on: validate and package need a source with split: test; name one with --test")
    say(f"written: {path}. Read it, then run:")
    for command in commands:
        out.print(command, highlight=False, soft_wrap=True, markup=False)


def recipe_text(name: str, path: Path, found: list[Survey]) -> str:
    """The recipe as YAML with comments."""
    import yaml

    lines = [
        f"# Faces of your own: {', '.join(one.source.name for one in found)}.",
        f"#   pairfld prepare --recipe {path}",
        *yaml.safe_dump({"name": name}, allow_unicode=True).splitlines(),
        "data:",
        "  sources:",
    ]
    for one in found:
        counts = f"{one.faces} faces in {one.images} images"
        lines.append(f"  # {counts}" + (f"; {one.left_out} left out" if one.left_out else ""))
        if one.note:
            lines.append(f"  # {one.note}")
        entry = one.source.model_dump(mode="json", include={"name", "kind", "path", "labels", "split"})
        if one.source.box is not None:
            entry["box"] = list(one.source.box)
        text = yaml.safe_dump([entry], allow_unicode=True, sort_keys=False, default_flow_style=None, width=100)
        lines += [f"  {line}" for line in text.splitlines()]
    lines += [
        "  # split: auto holds this share of the people back to choose by; test measures only",
        "  valid_fraction: 0.1",
        "# pairfld configs list names what else there is",
        *(f"{section}: {value}" for section, value in _SECTIONS.items()),
    ]
    return "\n".join(lines) + "\n"


def _json(one: Survey) -> dict[str, str | int | None]:
    entry: dict[str, str | int | None] = {
        "name": one.source.name,
        "kind": one.source.kind,
        "path": one.source.path,
        "images": one.images,
    }
    entry |= {"faces": one.faces, "left_out": one.left_out}
    return entry | ({"points": one.points} if one.points else {}) | ({"note": one.note} if one.note else {})
