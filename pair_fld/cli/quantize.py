"""`pairfld quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    out,
    print_json,
    progress,
    say,
    workspace,
)

_ADVICE = (
    "The layers that deviate most from the float graph. Noise also arrives from the layers before: act on the lowest "
    "order at which the ratio drops. Remedies: another quant.method, more quant.calibration_images, --qat, or a wider "
    "bound in configs/quant."
)

if TYPE_CHECKING:
    from pair_fld.export.quantization.gates import QuantizeReport


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("quantize")(quantize)


def quantize(
    overrides: Overrides = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="Checkpoint of the student.", show_default="WORK/student/best.pt"),
    ] = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: DataOption = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of the model files.", show_default="WORK/quant")
    ] = None,
    qat: Annotated[
        bool, typer.Option("--qat", help="Fine-tune the int8 files with their own rounding, for quant.qat.steps steps.")
    ] = False,
    decode: Annotated[
        Literal["runtime", "in-graph"] | None,
        typer.Option(
            "--decode",
            help="in-graph: write each file a second time, with plain coordinates.",
            show_default="the recipe's",
        ),
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option("--teacher", help="For --qat: the student's teachers.", show_default="WORK/teacher/best.pt"),
    ] = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the student as ONNX and TFLite, float and int8, and hold every file to its bounds.

    Activation ranges come from training crops only; every file is measured on the validation split. Exit code 1 when
    a file drifts from the checkpoint or loses more NME than configs/quant allows, or an int8-static file has a
    convolution that is not int8; a table then shows the layers that deviate most.

    --decode in-graph also writes NAME-in-graph.onnx and .tflite, whose output is (51, 3): x, y and deviation of each
    point in pixels of the crop, within a hundredth of a pixel of what the runtime decodes.

    --qat continues the student's training for a few hundred steps, with its own losses and teacher, while every weight
    and activation is rounded as in the int8 file. It is a run of its own, in the folder OUT-qat: `pairfld runs` lists
    it, and --resume continues it.

    Example: `pairfld quantize --recipe mine.yaml`
    """
    from pair_fld.data.dataset import FaceDataset
    from pair_fld.export.quantization.gates import QuantizeGateError
    from pair_fld.export.quantization.run import FineTuning, quantize_checkpoint, recorded
    from pair_fld.io import file_hash, read_json
    from pair_fld.runs import RECORD, finished, fresh_folder
    from pair_fld.train.run_folder import RunSpec

    changes = [*(overrides or []), *([] if decode is None else [f"quant.decode={decode}"])]
    place = workspace(recipe, work, changes)
    source, target = checkpoint or place.student / "best.pt", folder or place.quant
    config = place.recipe.quant
    key = {"config": recorded(config, qat), "checkpoint": file_hash(source) if source.is_file() else None,
           "qat": qat, "passed": True}  # fmt: skip
    if resume and finished(target, key):
        say(f"{target}: already done")
        if as_json:
            print_json(read_json(target / RECORD, "a quantize record")["report"])
        return
    dataset = FaceDataset(data or place.data)
    retry = resume and finished(target, key | {"passed": False})  # a gate broke: measure again
    teachers = teacher or [place.teacher / "best.pt"]
    inputs = [source, dataset.folder, *teachers]
    claimed = fresh_folder(target, "quantize", overwrite=overwrite or retry, inputs=inputs)
    with claimed as draft, progress("fine-tune") as bar:
        run = RunSpec(target.with_name(f"{target.name}-qat"), resume=resume, overwrite=overwrite, inputs=inputs)
        tuning = FineTuning(run, teachers, place.folder, bar) if qat else None
        try:
            report = quantize_checkpoint(source, dataset, config, draft, say, tuning)
        except QuantizeGateError as error:
            _show(error.report, target, as_json)
            raise
    _show(report, target, as_json)


def _show(report: QuantizeReport, target: Path, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
        return
    own = report.checkpoint_nme_outer_corners_percent
    table = Table(title=Text(f"{target} (checkpoint: NME {own:.3f} %; int8 ranges by {report.method})"))
    for heading in ("file", "MB", "NME % (outer corners)", "lost", "mean drift px", "worst drift px"):
        table.add_column(heading, justify="left" if heading == "file" else "right")
    before = report.qat.post_training if report.qat else ()
    for f in (*before, *report.files):
        lost = f.nme_outer_corners_percent - own
        name = f"{f.file} before fine-tuning" if f in before else f.file
        table.add_row(name, f"{f.size_mb:.3f}", f"{f.nme_outer_corners_percent:.3f}", f"{lost:+.3f}",
                      f"{f.mean_drift_px:.2g}", f"{f.max_drift_px:.2g}")  # fmt: skip
    out.print(table)
    if report.qat:
        q = report.qat
        after = {f.format: f.nme_outer_corners_percent for f in report.files if f.precision == "int8-static"}
        gains = ", ".join(f"{f.format} {f.nme_outer_corners_percent - after[f.format]:+.3f}" for f in before)
        loss = f"loss {q.loss_first:.2f} -> {q.loss_last:.2f}"
        say(f"fine-tuning: {q.steps} steps in {q.seconds:.0f} s, {loss}; gained in points of NME: {gains}")
    for name, layers in report.noisy_layers.items():
        noise = Table(title=Text(f"{name}: noisiest layers first"))
        for heading in ("order", "layer", "operator", "signal to noise dB", "worst error"):
            noise.add_column(heading, justify="left" if heading in ("layer", "operator") else "right")
        for row in layers:
            noise.add_row(str(row.position), row.layer, row.op, f"{row.snr_db:.1f}", f"{row.max_error:.3g}")
        out.print(noise)
    if report.noisy_layers:
        say(_ADVICE)
