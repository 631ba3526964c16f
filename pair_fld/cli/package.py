"""`pairfld package`."""

from __future__ import annotations

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
    Turned,
    WorkOption,
    out,
    print_json,
    say,
    smallest_option,
    workspace,
)
from pair_fld.cli.verify import VERIFY_IMAGES, require_recall, show_verified, verify_archive
from pair_fld.errors import PairError
from pair_fld.outputs import is_plain_name

if TYPE_CHECKING:
    from pair_fld.submit.archive import PackageReport


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("package")(package)


def package(
    overrides: Overrides = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="The .tflite to release.", show_default="WORK/quant/model-RELEASE.tflite"),
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Add the .onnx that lies beside the .tflite.")] = False,
    detector: Annotated[
        str,
        typer.Option(
            "--detector",
            help="Face detector: blazeface, trained (by pairfld train-detector), or a .tflite trained elsewhere.",
        ),
    ] = "blazeface",
    convention: Annotated[
        str,
        typer.Option(
            "--convention",
            help="Label convention of the points: neutral, a name of `pairfld configs list convention`, or a .yaml.",
        ),
    ] = "neutral",
    turned: Annotated[
        Turned | None,
        typer.Option("--turned", help="Rotated views that run_model.py detects in.", show_default="the detector's"),
    ] = None,
    smallest: Annotated[float | None, smallest_option("that run_model.py finds", "the detector's")] = None,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", min=0.0, max=1.0, help="run_model.py leaves faces below this score out."),
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option("--refine", min=0, max=100, help="Refinement passes of run_model.py."),
    ] = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: DataOption = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of the archive.", show_default="WORK/package")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the archive.", show_default="the recipe's name")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify the archive afterwards, as pairfld verify does.")
    ] = False,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build the submission zip and hold it to its budget.

    The archive holds the model, run_model.py with its runtime, the face detector, requirements.txt, a model card, a
    budget report and a technical report. Exit code 1 when a bound of configs/budget is broken or --verify fails.

    A contest scores its labels as they stand: --convention pair2024 adds their mean shift, learnt on the contest's
    training faces, to the model's points. It calls run_model.py without options: --turned, --smallest, --min-score and
    --refine are kept in the model's metadata and hold where the call says nothing else.

    Example: `pairfld package --recipe synthetic --verify`
    """
    from pair_fld.data.dataset import FaceDataset
    from pair_fld.face_detector.files import find_detector
    from pair_fld.io import read_json
    from pair_fld.runs import finished, fresh_folder
    from pair_fld.runtime.pipeline import PipelineOptions
    from pair_fld.submit.build import ArchiveSpec, build

    place = workspace(recipe, work, overrides)
    target, title = folder or place.package, place.recipe.name if name is None else name
    if not is_plain_name(title):
        raise PairError(
            "--name", message=f"--name: {title!r} is not a valid file name.", remedy="Name the folder with --out."
        )
    tflite = model or place.shipped_tflite
    spec = ArchiveSpec(
        place.recipe, title, tflite, tflite.with_suffix(".onnx") if onnx else None,
        find_detector(detector, place.folder / "detector" / "detector.tflite"), place.teacher / "best.pt",
        convention, PipelineOptions(refine, turned, smallest, min_score),
    )  # fmt: skip
    spec.check()
    archive = target / f"{title}.zip"
    if resume and archive.is_file() and finished(target, spec.key()):
        say(f"{archive}: already packed")
        tree: dict[str, Any] = {"package": read_json(target / "metrics.json", "the archive's figures")["package"]}
    else:
        dataset = FaceDataset(data or place.data)
        inputs = [*spec.inputs, dataset.folder]
        with fresh_folder(target, "package", overwrite=overwrite, inputs=inputs) as draft:
            kept = place.folder / "detector-calibration.json" if place.folder.is_dir() else None
            built = build(spec, dataset, draft, say, calibration_cache=kept)
        tree = {"package": built.report.to_json()}
        if not as_json:
            _show(archive, built.report)
    verified = verify_archive(archive, place, VERIFY_IMAGES) if verify else None
    if verified is not None:
        tree["verify"] = verified.to_json()
        if not as_json:
            show_verified(verified)
    if as_json:
        print_json(tree)
    if verified is not None:
        require_recall(archive, verified)


def _show(archive: Path, report: PackageReport) -> None:
    table = Table(title=Text(f"{archive}: {report.archive_mb:.2f} MB"))
    for heading in ("check", "value", "limit", "", "source of the limit"):
        table.add_column(heading)
    for check in report.checks:
        table.add_row(check.name, check.value, check.limit, "pass" if check.passed else "FAIL", check.source)
    out.print(table)
