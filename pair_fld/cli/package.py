"""`pairfld package`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pair_fld.cli.console import (
    DEFAULT_RECIPE,
    DataOption,
    JsonOption,
    Overrides,
    OverwriteOption,
    RecipeOption,
    ResumeOption,
    WorkOption,
    Workspace,
    out,
    print_json,
    say,
    workspace,
)
from pair_fld.errors import GateError, PairError
from pair_fld.io import file_hash, read_json, write_json
from pair_fld.runs import RECORD, finished, fresh_folder

if TYPE_CHECKING:
    from pair_fld.submit.archive import PackageReport


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("package")(package)


def package(
    overrides: Overrides = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="The .tflite to ship. [default: WORK/quant/model-RELEASE.tflite]")
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Put the .onnx beside the .tflite into the archive too.")
    ] = False,
    detector: Annotated[
        str,
        typer.Option("--detector", help="Face finder: blazeface, or own (WORK/detector of pairfld train-detector)."),
    ] = "blazeface",
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: DataOption = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Folder of the archive. [default: WORK/package]")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the archive. [default: the recipe's]")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Unpack the archive into a fresh virtual environment, run it, score it.")
    ] = False,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Photographs to verify on, at most.")] = 100,
    min_recall: Annotated[
        float, typer.Option("--min-recall", help="Gate of --verify: labelled faces that must be found, percent.")
    ] = 80.0,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build the submission zip and hold it to its budget; --verify proves that it runs.

    The archive holds the model, run_model.py with its runtime, the face finder, requirements.txt, a model card, a
    budget report and a technical report. Exit code 1 when a bound of configs/budget is broken or the proof fails.
    """
    from pair_fld.data.dataset import Pack
    from pair_fld.face_detector.files import find_detector
    from pair_fld.submit.archive import runtime_hash
    from pair_fld.submit.build import build

    place = workspace(recipe, work, overrides)
    tflite = model or place.shipped_tflite
    if not tflite.is_file():
        raise PairError(tflite, "a .tflite of pairfld quantize", "no such file", "Run pairfld quantize first.")
    finder = find_detector(detector, place.folder / "detector" / "detector.tflite")
    target, title = folder or place.package, name or place.recipe.name
    archive = target / f"{title}.zip"
    key: dict[str, Any] = {"config": place.recipe.model_dump(mode="json"), "model": file_hash(tflite), "onnx": onnx}
    key |= {"detector": file_hash(finder[0]), "runtime": runtime_hash()}
    beside = tflite.with_suffix(".onnx") if onnx else None
    if beside is not None and not beside.is_file():
        raise PairError(beside, "the .onnx beside the .tflite", "no such file", "Quantize with format onnx too.")
    _refuse_broken(tflite)
    if resume and archive.is_file() and finished(target, key):
        say(f"{archive}: already packed")
        tree = {"package": read_json(target / "metrics.json", "the archive's figures")["package"]}
    else:
        pack = Pack(data or place.data)
        with fresh_folder(target, "package", overwrite=overwrite) as draft:
            built = build(place.recipe, pack, tflite, beside, draft, title, say, finder, place.teacher / "best.pt")
            write_json(draft / RECORD, built.record | key)
        tree = {"package": built.report.to_json()}
        if not as_json:
            _show(archive, built.report)
    recall = 100.0
    if verify:
        tree["verify"], recall = _verify(place, archive, target, pictures, as_json)
    if as_json:
        print_json(tree)
    if recall < min_recall:
        raise GateError(f"{archive}: finds {recall:.1f} % of the labelled faces, bound {min_recall:g} %")


def _refuse_broken(tflite: Path) -> None:
    """GateError for a file whose own quantize run broke a gate."""
    record = tflite.parent / "run.json"
    if record.is_file() and read_json(record, "a quantize record").get("passed") is False:
        raise GateError(
            f"{tflite}: broke a parity gate of pairfld quantize, see {record}; quantize anew before packing"
        )


def _show(archive: Path, report: PackageReport) -> None:
    table = Table(title=Text(f"{archive}: {report.archive_mb:.2f} MB"))
    for heading in ("check", "value", "limit", "", "where the limit comes from"):
        table.add_column(heading)
    for check in report.checks:
        table.add_row(check.name, check.value, check.limit, "pass" if check.passed else "FAIL", check.source)
    out.print(table)


def _verify(place: Workspace, archive: Path, target: Path, limit: int, as_json: bool) -> tuple[dict[str, Any], float]:
    """Run the archive as a grader would; its report as JSON, and the recall of labelled faces in percent."""
    from pair_fld.evaluate.report import tables
    from pair_fld.evaluate.validate import labelled_faces
    from pair_fld.submit.build import verification_pictures
    from pair_fld.submit.verify import verify

    with tempfile.TemporaryDirectory(prefix="pairfld-pictures-") as scratch:
        paths, faces = verification_pictures(labelled_faces(place.data_config), Path(scratch), limit)
        say(f"verifying {archive} in a fresh virtual environment on {len(paths)} pictures")
        report = verify(archive, paths, faces)
    write_json(target / "verify.json", report.to_json())
    found = report.labelled - report.missed
    if not as_json:
        seen = f"{found} of {report.labelled} labelled faces found, {report.unmatched} faces without a label"
        out.print(f"verified: {report.pictures} pictures, {seen}, {report.run_s:.1f} s")
        if report.result is not None:
            for table in tables(report.result, "end to end: faces found by the archive itself"):
                out.print(table)
    return report.to_json(), 100 * found / report.labelled if report.labelled else 100.0
