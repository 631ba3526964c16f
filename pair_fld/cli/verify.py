"""`pairfld verify`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pair_fld.cli.console import (
    DEFAULT_RECIPE,
    JsonOption,
    RecipeOption,
    WorkOption,
    Workspace,
    out,
    print_json,
    say,
    workspace,
)
from pair_fld.errors import GateError

if TYPE_CHECKING:
    from pair_fld.submit.verify import VerifyReport

VERIFY_IMAGES = 100
MIN_RECALL = 80.0  # percent


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("verify")(verify)


def verify(
    archive: Annotated[
        Path | None, typer.Argument(help="Zip of pairfld package.", show_default="WORK/package/RECIPE.zip")
    ] = None,
    images: Annotated[int, typer.Option("--max-images", min=1, help="Images to run on, at most.")] = (VERIFY_IMAGES),
    min_recall: Annotated[
        float, typer.Option("--min-recall", help="Gate: percentage of the labelled faces that must be detected.")
    ] = MIN_RECALL,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    as_json: JsonOption = False,
) -> None:
    """Unpack an archive into a fresh virtual environment, run it as a grader would, and score its results.

    It runs on photographs of the recipe's test sources, or on rendered scenes where the recipe has none. Exit code 1
    when the installation or the run fails, a result is not in the contest's format, or too few faces are detected.

    Example: `pairfld verify submission.zip --recipe mine.yaml`
    """
    place = workspace(recipe, work)
    path = archive or place.package / f"{place.recipe.name}.zip"
    report = verify_archive(path, place, images)
    if as_json:
        print_json(report.to_json())
    else:
        show_verified(report)
    require_recall(path, report, min_recall)


def verify_archive(archive: Path, place: Workspace, limit: int) -> VerifyReport:
    """Run the archive on the workspace's test faces; verify.json beside it holds the report."""
    from pair_fld.evaluate.validate import labelled_faces
    from pair_fld.io import write_json
    from pair_fld.runtime.main import make_writable
    from pair_fld.submit.verify import verification_images, verify

    if archive.parent.is_dir():
        make_writable(archive.parent)  # before the work
    with tempfile.TemporaryDirectory(prefix="pairfld-images-") as scratch:
        paths, faces = verification_images(labelled_faces(place.data_config), Path(scratch), limit)
        say(f"verifying {archive} in a fresh virtual environment on {len(paths)} images")
        report = verify(archive, paths, faces)
    write_json(archive.with_name("verify.json"), report.to_json())
    return report


def show_verified(report: VerifyReport) -> None:
    """The report on stdout."""
    from pair_fld.evaluate.report import tables

    found = report.labelled - report.missed
    seen = f"{found} of {report.labelled} labelled faces detected, {report.unmatched} detections without a label"
    out.print(f"verified: {report.images} images, {seen}, {report.run_s:.1f} s")
    if report.result is not None:
        for table in tables(report.result, "end to end: faces detected by the archive itself"):
            out.print(table)


def require_recall(archive: Path, report: VerifyReport, bound: float = MIN_RECALL) -> None:
    """GateError when the archive detects less than `bound` percent of the labelled faces."""
    recall = report.recall_percent
    if recall is not None and recall < bound:
        raise GateError(f"{archive}: detects {recall:.1f} % of the labelled faces, bound {bound:g} %")
