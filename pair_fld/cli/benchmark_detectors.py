"""`pairfld benchmark detectors`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pair_fld.cli.console import (
    DEFAULT_RECIPE,
    ArchiveOption,
    JsonOption,
    RecipeOption,
    WorkOption,
    out,
    print_json,
    say,
    workspace,
)

if TYPE_CHECKING:
    from pair_fld.benchmarks.detector_rolls import RollRow, RollThresholdRow
    from pair_fld.benchmarks.detectors import CostRow


def detectors(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGES]...", help="Unlabelled images to count faces in.")
    ] = None,
    archive: ArchiveOption = None,
    trained: Annotated[
        Path | None,
        typer.Option(
            "--trained", help=".tflite of pairfld train-detector.", show_default="WORK/detector/detector.tflite"
        ),
    ] = None,
    negatives: Annotated[int, typer.Option("--negatives", min=1, help="Drawn images without faces.")] = 200,
    per_set: Annotated[
        int | None, typer.Option("--max-images", min=1, help="Labelled images per test set, at most; evenly spread.")
    ] = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare BlazeFace with the face detector that this project trained, on the recipe's test images.

    The tables show recall, detections without a label, false alarms on images without faces, NME end to end and with
    labelled boxes, MB and GFLOPs; of the detectors alone, recall and errors by roll, recall and false alarms by
    threshold, and the time of a view. Each has its own calibration and scores, learnt on training images first.

    Example: `pairfld benchmark detectors`
    """
    from pair_fld.benchmarks.detectors import CaseSource, compare_detectors
    from pair_fld.data.dataset import FaceDataset
    from pair_fld.evaluate.validate import labelled_faces
    from pair_fld.face_detector.files import find_detector
    from pair_fld.inference.archive import shipped_archive, unpacked
    from pair_fld.inference.inputs import collect
    from pair_fld.runtime.session import load_model

    place = workspace(recipe, work)
    files = [find_detector("blazeface")[0]]
    mine = trained or place.folder / "detector" / "detector.tflite"
    if trained is not None or mine.is_file():
        files.append(find_detector("trained", mine)[0])
    else:
        say(f"{mine}: no such file, so BlazeFace only; pairfld train-detector makes it")
    dataset = FaceDataset(place.data)
    unlabelled = [p for p, _ in collect(images).images] if images else []
    with unpacked(archive or shipped_archive()) as folder, tempfile.TemporaryDirectory() as cache:
        landmarks = load_model(folder / "model.tflite")
        cases = CaseSource(labelled_faces(dataset.config), unlabelled, negatives, per_set)
        made = compare_detectors(files, landmarks, dataset, cases, Path(cache), say=say)
    if as_json:
        print_json(made.to_json())
        return
    headings = ("detector", "set", "images", "faces", "detected", "recall %", "without label", "NME % end to end",
                "NME % labelled boxes")  # fmt: skip
    table = Table(title="detection (NME: outer corners, of the detected faces)")
    for heading in headings:
        table.add_column(heading)
    for r in made.sets:
        recall = f"{100 * r.detected / r.faces:.1f}" if r.faces else "-"
        errors = (r.nme_end_to_end_outer_corners_percent, r.nme_labelled_boxes_outer_corners_percent)
        table.add_row(
            r.detector,
            r.set,
            str(r.images),
            str(r.faces),
            str(r.detected),
            recall,
            str(r.without_label),
            *map(_figure, errors),
        )
    out.print(table)
    out.print(_cost_table(made.costs, made.view_times))
    out.print(_roll_table(made.rolls))
    out.print(_threshold_table(made.thresholds))


def _roll_table(rolls: Sequence[RollRow]) -> Table:
    table = Table(title="detectors alone, faces turned, views not (medians of the faces found)")
    headings = ("detector", "roll", "faces", "found", "eyes and nose, % of the eyes' distance", "shift, % of the face",
                "roll error, degrees")  # fmt: skip
    for heading in headings:
        table.add_column(heading)
    for r in rolls:
        errors = map(_figure, (r.key_point_error_percent, r.shift_percent, r.turn_degrees))
        table.add_row(r.detector, str(r.roll), str(r.faces), str(r.found), *errors)
    return table


def _threshold_table(thresholds: Sequence[RollThresholdRow]) -> Table:
    table = Table(title="detectors alone, by threshold")
    for heading in ("detector", "threshold", "recall %, upright", "recall %, all rolls", "images without a face, %"):
        table.add_column(heading)
    for t in thresholds:
        shares = (t.upright_recall_percent, t.recall_percent, t.faceless_percent)
        table.add_row(t.detector, str(t.threshold), *(f"{share:.1f}" for share in shares))
    return table


def _cost_table(costs: Sequence[CostRow], times: Sequence[float]) -> Table:
    headings = ("detector", "MB", "GFLOPs per view", "views of a 1024 px image", "GFLOPs per image, one face",
                "MB with model", "GFLOPs with model", "runs per measured image",
                "time of a view, ratio")  # fmt: skip
    table = Table(title="cost")
    for heading in headings:
        table.add_column(heading)
    for c, ratio in zip(costs, times, strict=True):
        table.add_row(
            c.detector, f"{c.file_mb:.3f}", f"{c.gflops_per_view:.4f}", str(c.views), f"{c.gflops_per_image:.3f}",
            f"{c.with_model_mb:.3f}", f"{c.with_model_gflops:.3f}",
            f"{c.runs_per_image:.1f}", f"{ratio:.2f}",
        )  # fmt: skip
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
