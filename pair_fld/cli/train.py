"""`pairfld train-teacher` and `pairfld distill`, alone or under torchrun."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
from pair_fld.outputs import refuse_inputs_inside
from pair_fld.progress import Progress as ProgressBar
from pair_fld.progress import no_progress

if TYPE_CHECKING:
    from pair_fld.train.trainer import Progress

InitOption = Annotated[
    Path | None,
    typer.Option("--init-from", help="Checkpoint whose weights training starts from; everything else starts anew."),
]

TeachersOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--teacher", help="Checkpoint of a teacher; repeat it to average several.", show_default="WORK/teacher/best.pt"
    ),
]
StudentOption = Annotated[
    str | None,
    typer.Option(
        "--student", help="Student: a name of `pairfld configs list student`, or a .yaml.", show_default="the recipe's"
    ),
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
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run.", show_default="WORK/teacher")] = None,
    init_from: InitOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the teacher on labelled faces; leaves last.pt, best.pt and metrics.csv in the run folder."""
    from pair_fld.data.dataset import Pack
    from pair_fld.train import distill as stages

    place = workspace(recipe, work, overrides)
    pack, target = Pack(data or place.data), out or place.teacher
    if overwrite:
        refuse_inputs_inside(target, [pack.folder, *([init_from] if init_from else [])])
    with _progress("train-teacher") as bar:
        best = stages.train_teacher(
            place.recipe.teacher, pack, target, init_from=init_from, resume=resume, overwrite=overwrite, device=device,
            report=_reporter(bar),
        )  # fmt: skip
    _result(best, as_json)


def distill(
    overrides: Overrides = None,
    teacher: TeachersOption = None,
    student: StudentOption = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run.", show_default="WORK/student")] = None,
    init_from: InitOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the student on the labels and on the teacher's predictions."""
    from pair_fld.data.dataset import Pack
    from pair_fld.train import distill as stages

    place = workspace(recipe, work, overrides, student=student)
    pack, target, teachers = Pack(data or place.data), out or place.student, teacher or [place.teacher / "best.pt"]
    if overwrite:
        refuse_inputs_inside(target, [pack.folder, *teachers, *([init_from] if init_from else [])])
    with _progress("distill") as bar:
        best = stages.distill(
            place.recipe.student, pack, teachers, target, cache=place.folder, init_from=init_from, resume=resume,
            overwrite=overwrite, device=device, report=_reporter(bar),
            progress=lambda done, total: bar(done, total, "faces answered by the teacher"),
        )  # fmt: skip
    _result(best, as_json)


def _progress(what: str) -> AbstractContextManager[ProgressBar]:
    """The progress line, in the main process only."""
    from pair_fld.train.distributed import is_first

    return progress(what) if is_first() else nullcontext(no_progress)


def _reporter(bar: ProgressBar) -> Callable[[Progress], None]:
    def report(p: Progress) -> None:
        terms = " ".join(f"{name} {value:.3f}" for name, value in p.losses.items())
        nme = "" if p.nme is None else f" NME {p.nme:.2f} %"
        bar(p.step, p.steps, f"epoch {p.epoch}/{p.epochs} {terms}{nme} {p.samples_per_second:.0f} faces/s")

    return report


def _result(best: Path, as_json: bool) -> None:
    from pair_fld.models.checkpoint import load_checkpoint
    from pair_fld.train.distributed import is_first

    if not is_first():
        return
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
