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
    negatives: Annotated[int, typer.Option("--negatives", min=1, help="Rendered images without faces.")] = 200,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare BlazeFace with the face detector that this project trained, on the recipe's test images.

    The tables show recall, detections without a label, false alarms on images without faces, NME end to end and with
    labelled boxes, MB and GFLOPs. Each detector is calibrated on training images first.

    Example: `pairfld benchmark detectors`
    """
    from pair_fld.benchmarks.detectors import CaseSource, compare_detectors, to_json
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
        cases = CaseSource(labelled_faces(dataset.config), unlabelled, negatives)
        rows, costs = compare_detectors(files, landmarks, dataset, cases, Path(cache), say)
    if as_json:
        print_json(to_json(rows, costs))
        return
    headings = ("detector", "set", "images", "faces", "detected", "recall %", "without label", "NME % end to end",
                "NME % labelled boxes")  # fmt: skip
    table = Table(title="detection (NME: outer corners, of the detected faces)")
    for heading in headings:
        table.add_column(heading)
    for r in rows:
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
    out.print(_cost_table(costs))


def _cost_table(costs: Sequence[CostRow]) -> Table:
    headings = ("detector", "MB", "GFLOPs per view", "views of a 1024 px image", "GFLOPs per image, one face",
                "MB with model", "GFLOPs with model", "runs per measured image")  # fmt: skip
    table = Table(title="cost")
    for heading in headings:
        table.add_column(heading)
    for c in costs:
        table.add_row(
            c.detector, f"{c.file_mb:.3f}", f"{c.gflops_per_view:.4f}", str(c.views), f"{c.gflops_per_image:.3f}",
            f"{c.with_model_mb:.3f}", f"{c.with_model_gflops:.3f}",
            f"{c.runs_per_image:.1f}",
        )  # fmt: skip
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
