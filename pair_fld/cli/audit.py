"""`pairfld audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli.console import JsonOption, OverwriteOption, out, print_json, progress, say
from pair_fld.errors import PairError

if TYPE_CHECKING:
    from pair_fld.annotators.audit import Audit

WORST = 20  # faces of the printed table


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("audit")(audit)


def audit(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder that pairfld prepare wrote.")],
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for audit.csv, worst.png and run.json.")],
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Reference: a folder of pairfld annotate.", show_default="the data's reference"),
    ] = None,
    scheme: Annotated[
        Path | None, typer.Option("--scheme", help="Its map to the 51 points, of pairfld fit-scheme.")
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rank the labelled faces by how probably their label is wrong, or the face too poor to learn from.

    Finds labels that are mirrored, have x and y swapped, are reversed or no face's shape; points far from the face;
    labels that a reference contradicts; faces that it does not find; near-duplicates with different labels; faces too
    small or too soft. Nothing is changed: `audit: drop` in a data configuration leaves certain errors out.

    Example: `pairfld audit runs/synthetic/data --out audit`
    """
    from pair_fld.annotators.audit import audit_dataset, table_rows, write_csv, write_sheet
    from pair_fld.config import ReferenceConfig
    from pair_fld.data.dataset import FaceDataset
    from pair_fld.io import write_json
    from pair_fld.runs import RECORD, check_claim, fresh_folder, provenance

    if (labels is None) != (scheme is None):
        raise PairError("audit", "--labels and --scheme together", "one of them", "Give both, or neither.")
    dataset = FaceDataset(data)
    reference = dataset.config.reference
    if labels is not None and scheme is not None:
        reference = ReferenceConfig(labels=str(labels), scheme=str(scheme))
    inputs = [data, *(path for path in (labels, scheme) if path is not None)]
    check_claim(folder, "audit", overwrite, inputs, resumes=False)  # before the work
    with progress("audit") as bar:
        found = audit_dataset(dataset, reference, bar)
    with fresh_folder(folder, "audit", overwrite=overwrite, inputs=inputs) as draft:
        write_csv(found, dataset, draft / "audit.csv")
        sheet = write_sheet(found, dataset, draft / "worst.png")
        used = None if reference is None else reference.model_dump(mode="json")
        record = provenance({"data": str(data), "reference": used}, data_hash=dataset.data_hash)
        write_json(draft / RECORD, record | {"report": found.to_json(dataset, 0)})
    if as_json:
        print_json(found.to_json(dataset))
        return
    table = Table(title=Text(f"{len(found.ranked)} of {found.faces} labelled faces are doubtful"))
    for heading in ("rank", "path", "source", "reason", "detail"):
        table.add_column(heading, justify="right" if heading == "rank" else "left")
    for row in table_rows(found, dataset, WORST):
        table.add_row(*map(Text, row))
    out.print(table)
    if found.shifts:
        out.print(_shift_table(found))
    for reason, count in found.reasons.items():
        out.print(f"{count} x {reason}")
    say(f"written: {folder}/audit.csv{', worst.png (the 64 worst, in reading order)' if sheet else ''}")


def _shift_table(found: Audit) -> Table:
    """How far each source's labels lie from the reference; those that are off are marked."""
    from pair_fld.data.audit import OFF_SOURCE

    table = Table(
        title="shift of the packed labels against the reference",
        caption=f"% of the eye distance, x to the right and y down; off: by more than {OFF_SOURCE:g} % "
        "(`offset: auto` takes it out); points: of each point besides, root mean square",
    )
    for heading in ("source", "faces", "shift x", "shift y", "spread x", "spread y", "points", ""):
        table.add_column(heading, justify="left" if heading in ("source", "") else "right")
    off = found.shifted_sources
    for name, shift in found.shifts.items():
        spread = [f"{v:.2f}" for v in shift.spread]
        by_point = found.conventions.get(name)
        spread.append("-" if by_point is None else f"{by_point.rms:.2f}")
        cells = (str(shift.faces), f"{shift.x:+.2f}", f"{shift.y:+.2f}", *spread)
        table.add_row(Text(name), *cells, Text("off", "yellow") if name in off else "")
    return table
