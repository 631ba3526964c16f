"""`pairfld train-detector`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pair_fld.cli.console import (
    DEFAULT_RECIPE,
    DataOption,
    DeviceOption,
    JsonOption,
    OverwriteOption,
    RecipeOption,
    ResumeOption,
    WorkOption,
    out,
    print_json,
    progress,
    say,
    workspace,
)


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("train-detector")(train_detector)


def train_detector(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Settings of the detector configuration to change, e.g. steps=500."
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Option("--config", help="Detector configuration: a name of `pairfld configs list detector`, or a .yaml."),
    ] = "centre128",
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: DataOption = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run.", show_default="WORK/detector")
    ] = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train a face detector; `pairfld package --detector trained` puts it into the archive.

    It learns from BlazeFace's detections on the training images, from their labels, and from rendered scenes with and
    without faces; what it takes for a face while it learns, it is shown again. Leaves detector.tflite and detector.onnx
    (int8) in the run folder.

    Example: `pairfld train-detector --recipe mine.yaml`
    """
    from rich.table import Table
    from rich.text import Text

    from pair_fld.config import DetectorConfig, load_section
    from pair_fld.data.dataset import FaceDataset
    from pair_fld.face_detector import export as detector
    from pair_fld.face_detector.files import find_detector
    from pair_fld.train.run_folder import RunSpec

    config = load_section(DetectorConfig, "detector", name, overrides or [])
    place = workspace(recipe, work)
    dataset, target = FaceDataset(data or place.data), folder or place.folder / "detector"
    if resume and detector.finished_detector(target, config, dataset):
        say(f"{target}: already trained")
        return
    teacher, _ = find_detector("blazeface")
    run = RunSpec(target, resume=resume, overwrite=overwrite, device=device, inputs=[dataset.folder])
    with progress("train-detector") as bar:
        metrics = detector.train_detector(config, dataset, teacher, run, bar, say)
    if as_json:
        print_json(metrics)
        return
    cost = metrics["cost"]["detector.tflite"]
    table = Table(
        title=Text(f"{target}/detector.tflite: {cost['size_mb']:.3f} MB, {cost['gflops']:.4f} GFLOPs per view")
    )
    headings = (
        "threshold",
        "recall %",
        "unconfirmed finds per 100 photographs",
        "negative images with a false positive %",
        "",
    )
    for heading in headings:
        table.add_column(heading)
    for row in metrics["thresholds"]:
        table.add_row(*map(str, row.values()), "chosen" if row == metrics["chosen"] else "")
    out.print(table)
