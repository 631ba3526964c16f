"""`pairfld train-teacher` and `pairfld distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pair_fld.cli.console import (
    DEFAULT_RECIPE,
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
from pair_fld.config import StageConfig, load_section

DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder that `pairfld prepare` wrote. [default: WORK/data]")
]
InitOption = Annotated[
    Path | None,
    typer.Option("--init-from", help="Start from the weights of this checkpoint (not a resume: all else starts anew)."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    app.command("train-teacher")(train_teacher)
    app.command("distill")(distill)


def train_teacher(
    overrides: Overrides = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Run folder. [default: WORK/teacher]")] = None,
    init_from: InitOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the teacher on labelled faces; leaves last.pt, best.pt and metrics.csv in the run folder."""
    from pair_fld.data.pack import Pack
    from pair_fld.train import stages

    place = workspace(recipe, work, overrides)
    with progress("train-teacher") as bar:
        best = stages.train_teacher(
            place.recipe.teacher, Pack(data or place.data), out or place.teacher, init_from=init_from, resume=resume,
            overwrite=overwrite, device=device, report=_reporter(bar),
        )  # fmt: skip
    _result(best, as_json)


def distill(
    overrides: Overrides = None,
    teacher: Annotated[
        Path | None, typer.Option("--teacher", help="Teacher checkpoint. [default: WORK/teacher/best.pt]")
    ] = None,
    student: Annotated[
        str | None, typer.Option("--student", help="Another student: a name in configs/student or a path.")
    ] = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Run folder. [default: WORK/student]")] = None,
    init_from: InitOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the student on the labels and the teacher's answers."""
    from pair_fld.data.pack import Pack
    from pair_fld.train import stages

    place = workspace(recipe, work, overrides)
    stage = load_section(StageConfig, "student", student) if student else place.recipe.student
    with progress("distill") as bar:
        best = stages.distill(
            stage, Pack(data or place.data), teacher or place.teacher / "best.pt", out or place.student,
            init_from=init_from, resume=resume, overwrite=overwrite, device=device, report=_reporter(bar),
            progress=lambda done, total: bar(done, total, "faces answered by the teacher"),
        )  # fmt: skip
    _result(best, as_json)


def _reporter(bar):
    def report(p) -> None:
        terms = " ".join(f"{name} {value:.3f}" for name, value in p.losses.items())
        nme = "" if p.nme is None else f" NME {p.nme:.2f} %"
        bar(p.step, p.steps, f"epoch {p.epoch}/{p.epochs} {terms}{nme} {p.samples_per_second:.0f} faces/s")

    return report


def _result(best: Path, as_json: bool) -> None:
    from pair_fld.models.checkpoint import load_checkpoint

    state = load_checkpoint(best)
    result = {"checkpoint": str(best), "step": state["step"], "nme_outer_corners_percent": state["nme"]}
    if as_json:
        print_json(result)
        return
    nme = (
        "not measured (no validation faces)"
        if state["nme"] is None
        else f"{state['nme']:.2f} % on the validation faces"
    )
    say(f"{best}: NME (outer corners) {nme}")
