"""`pairfld ablate`: the student with and without parts of its teaching, over seeds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pair_fld.cli import console
from pair_fld.cli.console import (
    DEFAULT_RECIPE,
    DataOption,
    DeviceOption,
    JsonOption,
    Overrides,
    OverwriteOption,
    RecipeOption,
    ResumeOption,
    WorkOption,
    print_json,
    progress,
    say,
    workspace,
)
from pair_fld.cli.train import StudentOption, TeachersOption

if TYPE_CHECKING:
    from pair_fld.config import StageConfig
    from pair_fld.train.comparison import VariantResult


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("ablate")(ablate)


def ablate(
    overrides: Overrides = None,
    teacher: TeachersOption = None,
    student: StudentOption = None,
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Runs per variant, each with another seed.")] = 3,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Runs in parallel; 0: one per core, or one on a GPU.")] = 0,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: DataOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the runs and their comparison.", show_default="WORK/ablation"),
    ] = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare the student without distillation, with heatmap, coordinate and full distillation, over several seeds.

    All variants train equally long. The output folder holds ablation.md, ablation.json and ablation.png beside one
    folder per run. For a smaller budget set student.train.epochs=4 student.train.steps_per_epoch=100.

    Example: `pairfld ablate --seeds 3 student.train.epochs=6`
    """
    from pair_fld.data.dataset import FaceDataset
    from pair_fld.train import ablation
    from pair_fld.train.run_folder import RunSpec

    place = workspace(recipe, work, overrides, student=student)
    dataset, stage = FaceDataset(data or place.data), place.recipe.student
    target, teachers = out or place.folder / "ablation", teacher or [place.teacher / "best.pt"]
    inputs = [dataset.folder, *teachers]
    run = RunSpec(target, resume=resume, overwrite=overwrite, device=device, inputs=inputs)
    with progress("ablate") as bar:
        table = ablation.ablate(
            stage, dataset, teachers, ablation.AblationSpec(run, seeds=seeds, jobs=jobs, cache=place.folder), bar
        )
    show_comparison(table, target, stage, seeds, as_json)


def show_comparison(table: list[VariantResult], target: Path, stage: StageConfig, seeds: int, as_json: bool) -> None:
    """Write ablation.md, ablation.json and ablation.png into a folder, and print the table."""
    from pair_fld.io import atomic_path, write_json
    from pair_fld.train.comparison import baselines_of, difference_cells, draw, markdown

    train = stage.train
    about = (
        f"{stage.model.arch} at {stage.model.input_size} px, {train.epochs} epochs, batches of {train.batch_size}, "
        f"{seeds} seeds; losses {', '.join(f'{name} x {weight:g}' for name, weight in train.losses.items())}."
    )
    with atomic_path(target / "ablation.md") as temporary:
        temporary.write_text(markdown(table, about), encoding="utf-8")
    write_json(target / "ablation.json", [asdict(row) for row in table])
    with atomic_path(target / "ablation.png") as temporary:
        draw(table, temporary)
    if as_json:
        print_json([asdict(row) for row in table])
        return
    baselines = baselines_of(table)
    shown = Table("faces", "trained with", "NME %, mean", "spread", *(f"from {base}" for base in baselines), box=None)
    for row in table:
        cells = difference_cells(row, baselines)
        shown.add_row(row.faces, row.variant, f"{row.mean:.3f}", f"{row.spread:.3f}", *cells)
    console.out.print(shown)
    say(f"written: {target}/ablation.md, ablation.json, ablation.png")
