"""`pairfld fit-scheme`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli.console import JsonOption, out, print_json, progress, say
from pair_fld.outputs import OutputGuard


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("fit-scheme")(fit_scheme)


def fit_scheme(
    labels: Annotated[
        str, typer.Option("--from", help="Labels of N points: a folder of pairfld annotate, or labelled images.")
    ],
    targets: Annotated[
        list[str],
        typer.Option(
            "--to", help="Labels of the 51 points: labelled images, or a data configuration's human-labelled sources."
        ),
    ],
    target: Annotated[Path, typer.Option("--out", "-o", help="The map, an .npz of numbers.")],
    zero: Annotated[
        str | None,
        typer.Option(
            "--zero",
            help="Source whose zero point the map gets; or mirror: where a face and its mirror image agree.",
            show_default="the first",
        ),
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Folder that the sources' paths are relative to.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the map of an earlier run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Learn the linear map from somebody's N points to the contest's 51.

    A ridge regression in the face frame, one for images and one for mirror images, its ridge chosen by
    cross-validation over people or images. Prints the cross-validated NME of each region and source, and how far each
    source's zero point lies from that of --zero. Use the map as `scheme` of a data source.

    Example: `pairfld fit-scheme --from labels --to faces --out labels/map.npz`
    """
    from pair_fld.annotators.fit_scheme import fit_scheme as fit
    from pair_fld.annotators.images import data_of
    from pair_fld.annotators.pairs import lookup_of, read_pairs
    from pair_fld.runtime.main import make_writable

    OutputGuard([labels, *targets], overwrite=overwrite).check(target)  # before the work
    make_writable(target.parent)
    find = lookup_of(labels, lambda name: data_of(name, root, say))
    with progress("read") as bar:
        pairs = read_pairs(find, [data_of(name, root, say) for name in targets], bar)
    with progress("fit") as bar:
        point_map, report = fit(pairs, zero=zero, progress=bar)
    point_map.save(target)
    if as_json:
        print_json(report.to_json())
        return
    title = f"{len(pairs)} faces, {point_map.count} points to 51, ridge {report.ridge:g}"
    table = Table(title=Text(title), caption=f"cross-validated NME % of the outer eye corners: {report.nme:.2f}")
    for heading in ("region", "NME %"):
        table.add_column(heading, justify="left" if heading == "region" else "right")
    for name, value in report.regions.items():
        table.add_row(name, f"{value:.2f}")
    out.print(table)
    sources = Table(
        caption=f"shift: labels against zero point {report.zero}, % of the eye distance, x to the right and y down; "
        "own convention: NME % with each point moved to where the source's annotators put it"
    )
    shifts = ("shift x", "shift y", "spread x", "spread y")
    for heading in ("source", "faces", "missed", "NME %", "own convention", *shifts):
        sources.add_column(heading, justify="left" if heading == "source" else "right")
    for name, shift in report.shifts.items():
        spread = [f"{v:.2f}" for v in shift.spread]
        errors = [f"{nme[name]:.2f}" for nme in (report.sources, report.own_convention)]
        counts = (str(report.faces[name]), str(report.missed[name]))
        sources.add_row(name, *counts, *errors, f"{shift.x:+.2f}", f"{shift.y:+.2f}", *spread)
    out.print(sources)
    say(f"written: {target}")
