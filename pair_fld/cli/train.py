"""`pairfld train-teacher` and `pairfld distill`, alone or under torchrun; `pairfld bench-train`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

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
from pair_fld.outputs import refuse_inputs_inside

InitOption = Annotated[
    Path | None,
    typer.Option("--init-from", help="Start from the weights of this checkpoint (not a resume: all else starts anew)."),
]

TeachersOption = Annotated[
    list[Path] | None,
    typer.Option("--teacher", help="Teacher checkpoint; several are averaged.", show_default="WORK/teacher/best.pt"),
]
StudentOption = Annotated[
    str | None, typer.Option("--student", help="Another student: a name in configs/student or a path.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    app.command("train-teacher")(train_teacher)
    app.command("distill")(distill)
    app.command("bench-train")(bench_train)


def train_teacher(
    overrides: Overrides = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Run folder.", show_default="WORK/teacher")] = None,
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
    out: Annotated[Path | None, typer.Option("--out", help="Run folder.", show_default="WORK/student")] = None,
    init_from: InitOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the student on the labels and the teacher's answers."""
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


def bench_train(
    overrides: Overrides = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: DataOption = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds; each measures everything once.")] = 5,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Of every measurement in a round.")] = 4.0,
    profile: Annotated[bool, typer.Option("--profile", help="Add the operators that take a step's time.")] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure the training speed of teacher and student: data path, step, both, and a straightforward loader.

    Rounds of all measurements take turns, so that the ratios hold on a machine that is busy with other things too.
    """
    from pair_fld.benchmarks import training as bench
    from pair_fld.data.dataset import Pack

    place = workspace(recipe, work, overrides)
    pack, results, profiles = Pack(data or place.data), {}, {}
    with _progress("bench-train") as bar:
        for name, stage in (("teacher", place.recipe.teacher), ("student", place.recipe.student)):
            results[name] = bench.measure(
                stage, pack, teacher=place.recipe.teacher.model, device=device, repeats=repeats, seconds=seconds,
                progress=lambda done, total, name=name: bar(done, total, f"rounds of the {name}"),
            )  # fmt: skip
            if profile:
                profiles[name] = bench.profile(stage, pack, teacher=place.recipe.teacher.model, device=device)
    if as_json:
        print_json({name: result.to_json() | {"profile": profiles.get(name)} for name, result in results.items()})
        return
    table = Table("faces/s", *results, box=None)
    for key in bench.ROWS:
        table.add_row(bench.ROWS[key], *(f"{result.to_json()[key]:.4g}" for result in results.values()))
    console.out.print(table)
    for name, text in profiles.items():
        console.out.print(f"\n[bold]{name}[/]")
        console.out.print(text, markup=False, highlight=False, soft_wrap=True)


def _progress(what: str) -> AbstractContextManager[Callable[..., None]]:
    """The progress line, in the first process of a team only."""
    from pair_fld.train.distributed import is_first

    return progress(what) if is_first() else nullcontext(lambda *_: None)


def _reporter(bar):
    def report(p) -> None:
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
