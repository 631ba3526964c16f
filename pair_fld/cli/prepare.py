"""`pairfld prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

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
    progress,
    say,
    say_passed_over,
    workspace,
)
from pair_fld.errors import PairError
from pair_fld.runs import check_claim


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("prepare")(prepare)


def prepare(
    overrides: Overrides = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data-config",
            help="Data configuration: a name of `pairfld configs list data`, or a .yaml.",
            show_default="the recipe's",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            help="Folder that the paths of the sources are relative to.",
            show_default="root of the data configuration",
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of the packed dataset.", show_default="WORK/data")
    ] = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check the labelled faces, split them by person, drop duplicates, and pack crops for training.

    The sources are only read. Every face that is left out is counted by its reason and listed in run.json; sheet-*.png
    show the faces with their points.

    Example: `pairfld prepare --recipe mine.yaml`
    """
    from pair_fld.data.packing.prepare import prepare as pack_faces
    from pair_fld.data.sample import STORED_FRAME
    from pair_fld.data.second_opinion import with_what_is_there

    place = workspace(recipe, work, overrides, data=data)
    config = place.recipe.data
    if root is not None:
        config = config.model_copy(update={"root": str(root)})
    target = folder or place.data
    if not resume:  # before the sources are listed, which may take minutes
        sources = [Path(config.root) / source.path for source in config.sources if source.path is not None]
        check_claim(target, "prepare", overwrite, sources)
    if (sentence := with_what_is_there(config)[1]) is not None:
        say(sentence)
    with progress("prepare") as bar:
        report = pack_faces(config, target, resume=resume, overwrite=overwrite, progress=bar)
    _measure_detector(target)
    if as_json:
        print_json(report)
        return
    out.print(_table(report, target))
    for source in report["sources"]:
        if source["without_identity"]:
            say(f"{source['name']}: `identity` names nobody in {source['without_identity']} files, split face by face")
    if masked := sum(source["masked_points"] for source in report["sources"]):
        say(f"masked: {masked} points that are not labelled")
    for reason, count in report["left_out"].items():
        say(f"left out: {count} x {reason}")
    for reason, count in report.get("warnings", {}).items():
        remedy = "`exif: ignore` reads such labels right" if reason == STORED_FRAME else "`audit: drop` leaves them out"
        say(f"suspicious: {count} x {reason} ({remedy})")
    say_passed_over(report.get("passed_over", {}))
    say(f"written: {target} (run.json lists what was left out; look at sheet-train.png)")


def _measure_detector(folder: Path) -> None:
    """How far the detector's frames are off on the training images: training draws its views accordingly."""
    from pair_fld.data.dataset import DETECTOR_FILE, FaceDataset
    from pair_fld.evaluate.detector_calibration import measured_calibration
    from pair_fld.face_detector.files import find_detector

    try:
        detector = find_detector()[0]
        calibration = measured_calibration(FaceDataset(folder), detector, folder / DETECTOR_FILE, say)
    except PairError as error:
        say(f"training views are drawn without a detector's deviations: {error}")
        return
    shift_x, shift_y, growth, roll = calibration.covariance.diagonal() ** 0.5
    say(
        f"{calibration.detector}: frames deviate by {100 * shift_x:.1f} % of the face's size in x, "
        f"{100 * shift_y:.1f} % in y, {100 * growth:.1f} % in size and {roll:.1f} degrees; training views do so too"
    )


def _table(report: dict[str, Any], target: Path) -> Table:
    """The sources and, where there is a reference, how far their labels are shifted, and what it changed in them."""
    columns = ("name", "kind", "labels", "listed", "train", "valid", "test")
    shifted = any(source.get("shift") for source in report["sources"])
    caption = (
        "labels against the reference, % of the eye distance. shift: of all points, x to the right and y down; "
        "points: of each besides, root mean square; moved: brought to the convention"
        if shifted
        else None
    )
    consulted = any(source.get("second_opinion") for source in report["sources"])
    table = Table(title=Text(f"{report['faces']} faces in {target}"), caption=caption)
    for heading in ("source", *columns[1:], *(("shift x", "shift y", "spread", "points", "offset") if shifted else ())):
        table.add_column(heading, justify="left" if heading in ("source", "kind", "labels", "offset") else "right")
    if consulted:
        table.add_column("second opinion")
    for source in report["sources"]:
        row = [str(source[key]) for key in columns]
        if shifted:
            row += _shift_cells(source.get("shift"), source.get("convention"), source.get("offset"))
        if consulted:
            row.append(_opinion(source.get("second_opinion")))
        table.add_row(*row)
    return table


def _shift_cells(shift: dict[str, Any] | None, convention: dict[str, Any] | None, offset: Any) -> list[str]:
    cells = ["-", "-", "-"]
    if shift is not None:
        spread = " ".join(f"{v:.1f}" for v in shift["spread_percent"])
        cells = [f"{shift['x_percent']:+.2f}", f"{shift['y_percent']:+.2f}", spread]
    cells.append("-" if convention is None else f"{convention['rms_percent']:.2f}")
    if isinstance(offset, dict):
        cells[-1] += " moved" if offset.get("points") else ""
        return [*cells, "{:+.2f} {:+.2f} %".format(*offset["percent"])]
    return [*cells, offset if isinstance(offset, str) else "{:+g} {:+g} px".format(*offset)]


def _opinion(counts: dict[str, int] | None) -> str:
    """What a second opinion changed, in words."""
    if counts is None:
        return "-"
    if counts["relabelled_faces"]:
        return f"{counts['relabelled_faces']} relabelled"
    share = 100 * counts["averaged_points"] / max(counts["labelled_points"], 1)
    filled = counts["filled_points"]
    return f"{share:.0f} % averaged" + (f", {filled} filled" if filled else "")
