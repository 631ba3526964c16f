"""`pairfld quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pair_fld.cli.console import (
    DEFAULT_RECIPE,
    JsonOption,
    Overrides,
    OverwriteOption,
    RecipeOption,
    ResumeOption,
    WorkOption,
    out,
    print_json,
    say,
    workspace,
)


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("quantize")(quantize)


def quantize(
    overrides: Overrides = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Trained student. [default: WORK/student/best.pt]")
    ] = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder that `pairfld prepare` wrote. [default: WORK/data]")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Folder of the files. [default: WORK/quant]")] = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the student as ONNX and TFLite, float and int8, and hold every file to its bounds.

    Activation ranges come from training crops only; every file is measured on the validation split. Exit code 1 when
    a file drifts from the checkpoint or loses more NME than configs/quant allows.
    """
    from pair_fld.data.pack import Pack
    from pair_fld.export.stage import quantize_checkpoint
    from pair_fld.runs import RECORD, claim_folder, file_hash, finished, write_json

    place = workspace(recipe, work, overrides)
    source, target = checkpoint or place.student / "best.pt", folder or place.quant
    config = place.recipe.quant
    key = {"config": config.model_dump(mode="json"), "checkpoint": file_hash(source) if source.is_file() else None,
           "passed": True}  # fmt: skip
    if resume and finished(target, key):
        say(f"{target}: already done")
        return
    pack = Pack(data or place.data)
    claim_folder(target, overwrite=overwrite or resume)
    write_json(target / RECORD, {"unfinished": True})
    report = quantize_checkpoint(source, pack, config, target, say)
    if as_json:
        print_json(report.to_json())
        return
    table = Table(title=f"{target} (checkpoint: NME {report.checkpoint_nme:.3f} %; int8 ranges by {report.method})")
    for heading in ("file", "MB", "NME % (outer corners)", "lost", "mean drift px", "worst drift px"):
        table.add_column(heading, justify="left" if heading == "file" else "right")
    for f in report.files:
        lost = f.nme_outer_corners_percent - report.checkpoint_nme
        table.add_row(f.file, f"{f.size_mb:.3f}", f"{f.nme_outer_corners_percent:.3f}", f"{lost:+.3f}",
                      f"{f.mean_drift_px:.2g}", f"{f.max_drift_px:.2g}")  # fmt: skip
    out.print(table)
