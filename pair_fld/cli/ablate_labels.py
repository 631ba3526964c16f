"""`pairfld ablate-labels`: the student on the same images with other labels, over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pair_fld.cli.ablate import show_comparison
from pair_fld.cli.console import (
    DEFAULT_RECIPE,
    DeviceOption,
    JsonOption,
    Overrides,
    OverwriteOption,
    RecipeOption,
    ResumeOption,
    WorkOption,
    progress,
    workspace,
)
from pair_fld.cli.train import StudentOption


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("ablate-labels")(ablate_labels)


def ablate_labels(
    variants: Annotated[
        str,
        typer.Argument(
            metavar="VARIANTS", help="Label variants: a name of `pairfld configs list ablation`, or a .yaml."
        ),
    ],
    overrides: Overrides = None,
    student: StudentOption = None,
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Trainings per variant, each with another seed.")] = 3,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Trainings in parallel; 0: one per core or GPU.")] = 0,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    root: Annotated[Path | None, typer.Option("--root", help="Folder that the sources' paths are relative to.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the datasets, trainings and table.", show_default="WORK/ablation-labels"),
    ] = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure how the labels of the same images change the student's NME, over several seeds.

    Every variant is packed and trained for as many steps as the first one, and measured on the test sources, as their
    labels stand and with each set's mean shift removed. The output folder holds ablation.md, ablation.json and
    ablation.png. For a small budget set student.train.epochs=4.

    Example: `pairfld ablate-labels label-sources --recipe family --seeds 3 student.train.epochs=6`
    """
    from pair_fld.config import LabelAblationConfig, load_section
    from pair_fld.train.label_ablation import ablate_labels as compare
    from pair_fld.train.label_ablation import label_stage
    from pair_fld.train.run_folder import RunSpec

    place = workspace(recipe, work, overrides, student=student)
    config, stage, data = (
        load_section(LabelAblationConfig, "ablation", variants),
        place.recipe.student,
        place.data_config,
    )
    if root is not None:
        data = data.model_copy(update={"root": str(root)})
    target = out or place.folder / "ablation-labels"
    inputs = [Path(data.root) / source.path for source in data.sources if source.path is not None]
    run = RunSpec(target, resume=resume, overwrite=overwrite, device=device, inputs=inputs)
    with progress("ablate-labels") as bar:
        table = compare(config, data, stage, run, seeds=seeds, jobs=jobs, progress=bar)
    # as it was trained, so that the table names the terms of labels alone
    show_comparison(table, target, label_stage(stage, {}, 0, stage.train.steps_per_epoch), seeds, as_json)
