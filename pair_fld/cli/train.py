"""`pairfld train-teacher` and `pairfld distill`, alone or under torchrun."""

from __future__ import annotations

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
from pair_fld.errors import PairError
from pair_fld.progress import Progress, no_progress

if TYPE_CHECKING:
    from pair_fld.train.trainer import Reporter, TrainProgress

InitOption = Annotated[
    Path | None,
    typer.Option("--init-from", help="Checkpoint whose weights training starts from; everything else starts anew."),
]
GrowOption = Annotated[
    Path | None,
    typer.Option(
        "--grow-from",
        help="Checkpoint of a smaller heatmap_net to start as: what fits is taken over, added blocks are identities.",
    ),
]

TeachersOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--teacher",
        help="Checkpoint of a teacher, or labels of pairfld annotate with a map.npz; repeat it to average several.",
        show_default="WORK/teacher/best.pt",
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
    grow_from: GrowOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the teacher on labelled faces; leaves last.pt, best.pt and metrics.csv in the run folder.

    Example: `pairfld train-teacher --recipe mine.yaml teacher.train.epochs=20`
    """
    from pair_fld.data.dataset import FaceDataset
    from pair_fld.train import distill as stages
    from pair_fld.train.run_folder import RunSpec

    place = workspace(recipe, work, overrides)
    dataset = FaceDataset(data or place.data)
    inputs = [dataset.folder, *_starts(init_from, grow_from)]
    run = RunSpec(out or place.teacher, resume=resume, overwrite=overwrite, device=device, inputs=inputs)
    with _progress("train-teacher") as bar:
        best = stages.train_teacher(
            place.recipe.teacher,
            dataset,
            run,
            init_from=init_from,
            grow_from=grow_from,
            report=_reporter(bar),
            say=_say,
        )
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
    grow_from: GrowOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the student on the labels and on the teacher's predictions.

    Example: `pairfld distill --teacher runs/mine/teacher/best.pt --recipe mine.yaml`
    """
    from pair_fld.data.dataset import FaceDataset
    from pair_fld.train import distill as stages
    from pair_fld.train.run_folder import RunSpec

    place = workspace(recipe, work, overrides, student=student)
    dataset, teachers = FaceDataset(data or place.data), teacher or [place.teacher / "best.pt"]
    inputs = [dataset.folder, *teachers, *_starts(init_from, grow_from)]
    run = RunSpec(out or place.student, resume=resume, overwrite=overwrite, device=device, inputs=inputs)
    with _progress("distill") as bar:
        best = stages.distill(
            place.recipe.student, dataset, teachers, run, cache=place.folder, init_from=init_from,
            grow_from=grow_from, report=_reporter(bar), progress=bar, say=_say,
        )  # fmt: skip
    _result(best, as_json)


def _starts(init_from: Path | None, grow_from: Path | None) -> list[Path]:
    """The checkpoint that training starts from; PairError for two."""
    starts = [path for path in (init_from, grow_from) if path is not None]
    if len(starts) > 1:
        remedy = "Use --grow-from for a larger net, --init-from for an equal one."
        raise PairError("--init-from, --grow-from", "one of them", "both", remedy)
    return starts


def _say(sentence: str) -> None:
    """A sentence, of the main process only."""
    from pair_fld.train.distributed import is_main_process

    if is_main_process():
        say(sentence)


def _progress(what: str) -> AbstractContextManager[Progress]:
    """The progress line, in the main process only."""
    from pair_fld.train.distributed import is_main_process

    return progress(what) if is_main_process() else nullcontext(no_progress)


def _reporter(bar: Progress) -> Reporter:
    from pair_fld.train.metric_log import NME

    def report(p: TrainProgress) -> None:
        terms = " ".join(f"{name} {value:.3f}" for name, value in p.losses.items())
        value = p.metrics.get(NME)
        nme = "" if value is None else f" NME {value:.2f} %"
        bar(p.step, p.steps, f"epoch {p.epoch}/{p.epochs} {terms}{nme} {p.samples_per_second:.0f} faces/s")

    return report


def _result(best: Path, as_json: bool) -> None:
    from pair_fld.models.checkpoint import load_checkpoint
    from pair_fld.train.distributed import is_main_process
    from pair_fld.train.metric_log import NME
    from pair_fld.train.trainer import checkpoint_metrics

    if not is_main_process():
        return
    state = load_checkpoint(best)
    try:
        value = checkpoint_metrics(state).get(NME)
        result = {"checkpoint": str(best), "step": int(state["step"]), NME: value}
    except (KeyError, TypeError, ValueError) as error:
        raise PairError(best, "a checkpoint of this run", f"another one ({error})", "Train again.") from None
    if as_json:
        print_json(result)
        return
    nme = "not measured (no validation faces)" if value is None else f"{value:.2f} % on the validation faces"
    say(f"{best}: NME (outer corners) {nme}")
