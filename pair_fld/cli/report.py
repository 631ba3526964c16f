"""`pairfld report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pair_fld.cli.console import JsonOption, OverwriteOption, out, print_json, progress, say, say_passed_over
from pair_fld.errors import PairError
from pair_fld.runs import check_claim, fresh_folder

if TYPE_CHECKING:
    from pair_fld.evaluate.validate import Truth


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("report")(report)


def report(
    subjects: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|MODEL|ARCHIVE...",
            help="A folder of a training run, a .tflite, .onnx or .pt file, or a .zip of pairfld package; several are "
            "compared.",
        ),
    ],
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images", help="Labelled images: a folder or label file of any kind that a source has; repeatable."
        ),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option("--dataset", help="Folder that `pairfld prepare` wrote; its test sources are measured."),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the page and the figures.")] = Path("report"),
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write one page on one or more models: errors, faces, scores, cost, training, lineage.

    The page is a single HTML file that needs no network; each figure is also written as a PNG. Without labelled faces
    it shows what is stored with the models.

    Example: `pairfld report submissions/tiny/tiny.zip submissions/nano/nano.zip --images faces --out report`
    """
    from pair_fld.report.build import PAGE, measure, to_json, write_report
    from pair_fld.report.subject import check, opened
    from pair_fld.runs import provenance

    for path in subjects:
        check(path)
    if images and dataset is not None:
        raise PairError("--dataset", "--images or --dataset", "both", "Leave one of them out.")
    truth = _truth(images or [], dataset)
    if truth is not None:
        say_passed_over(truth.passed_over)
    inputs = [*subjects, *(images or []), *([dataset] if dataset is not None else [])]
    check_claim(folder, "report", overwrite, inputs, resumes=False)  # before the work
    with opened(subjects) as models:
        measured = measure(models, truth, progress)
        record = provenance({})
        about = {"pair_fld": record["pair_fld"], "code": record["commit"] or "an installed package"}
        about |= {"Python": record["python"], **record["packages"]}
        with fresh_folder(folder, "report", overwrite=overwrite, inputs=inputs) as draft:
            write_report(measured, draft, about)
    if as_json:
        print_json(to_json(measured, about))
    else:
        out.print(str(folder / PAGE), highlight=False, soft_wrap=True)
    for entry in measured.faces.left_out if measured.faces is not None else ():
        say(f"left out: {entry.sentence}")


def _truth(images: list[Path], dataset: Path | None) -> Truth | None:
    from pair_fld.data.dataset import FaceDataset
    from pair_fld.evaluate.validate import labelled_faces, labelled_folder

    if images:
        return labelled_folder(images)
    return None if dataset is None else labelled_faces(FaceDataset(dataset).config)
