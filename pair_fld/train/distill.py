"""The two training stages: a teacher from labels, and a student from labels and a teacher's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pair_fld.config import StageConfig
from pair_fld.data.annotations import is_annotator
from pair_fld.data.dataset import FaceDataset
from pair_fld.errors import PairError
from pair_fld.models import LandmarkNet
from pair_fld.models.checkpoint import load_model
from pair_fld.progress import Progress, Say, no_progress, say_nothing
from pair_fld.runs import check_claim
from pair_fld.train.annotator_teacher import annotator_about
from pair_fld.train.builder import needs_teacher_per_step
from pair_fld.train.landmarks import Teaching, stage_name, train_landmarks
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.teacher_predictions import teacher_id, teacher_predictions
from pair_fld.train.trainer import Reporter


def train_teacher(
    stage: StageConfig,
    dataset: FaceDataset,
    run: RunSpec,
    *,
    init_from: Path | None = None,
    grow_from: Path | None = None,
    report: Reporter | None = None,
    say: Say = say_nothing,
) -> Path:
    """Train on labels, and return the path of the best checkpoint; see `train_landmarks`."""
    return train_landmarks(stage, dataset, run, init_from=init_from, grow_from=grow_from, report=report, say=say)


def distill(
    stage: StageConfig,
    dataset: FaceDataset,
    teachers: Sequence[Path],
    run: RunSpec,
    *,
    cache: Path | None = None,
    init_from: Path | None = None,
    grow_from: Path | None = None,
    report: Reporter | None = None,
    progress: Progress = no_progress,
    say: Say = say_nothing,
) -> Path:
    """Train a student on labels and a teacher's predictions, and return the path of the best checkpoint.

    Args:
        stage: as `train_landmarks`.
        dataset: as `train_landmarks`.
        teachers: their checkpoints, or folders of `pairfld annotate`; the predictions of several are averaged.
        run: as `train_landmarks`.
        cache: folder of the cached predictions; by default that of the run folder.
        init_from: as `train_landmarks`.
        grow_from: as `train_landmarks`.
        report: as `train_landmarks`.
        progress: called with the number of faces done while a teacher predicts.
        say: as `train_landmarks`.

    Raises:
        PairError: there is no such teacher; several teachers, and losses that need the outputs of one in every step;
            and as `train_landmarks`.
    """
    for path in teachers:
        if not path.is_file() and not is_annotator(path):
            remedy = "Run pairfld train-teacher first, or name another with --teacher."
            raise PairError(
                path,
                "a teacher's checkpoint or a folder of pairfld annotate",
                "another folder" if path.is_dir() else "no such file",
                remedy,
            )
    model = per_step_teacher(stage, teachers)
    if not run.resume:  # before the teacher predicts, which takes minutes
        check_claim(run.out, stage_name("student"), run.overwrite, run.inputs)
    predictions = teacher_predictions(
        teachers, dataset, cache or run.out.parent, views=stage.distill.teacher_views, device=run.device,
        progress=progress,
    )  # fmt: skip
    about = tuple(annotator_about(path, dataset) for path in teachers if is_annotator(path))
    teaching = Teaching(predictions, teacher_id(teachers, dataset), model, about)
    return train_landmarks(
        stage, dataset, run, teaching=teaching, init_from=init_from, grow_from=grow_from, report=report, say=say
    )


def per_step_teacher(stage: StageConfig, teachers: Sequence[Path]) -> LandmarkNet | None:
    """The teacher's network, if the stage's losses need its outputs in every step; PairError for several teachers."""
    if not needs_teacher_per_step(stage):
        return None
    if len(teachers) > 1:
        remedy = "Give one --teacher, or use terms that cached predictions serve."
        raise PairError("train.losses", "one teacher for losses that run it in every step", str(len(teachers)), remedy)
    if is_annotator(teachers[0]):
        remedy = "Give a checkpoint as --teacher, or use terms that cached predictions serve."
        raise PairError("train.losses", "a network for losses that run it in every step", "an annotator", remedy)
    return load_model(teachers[0])[0]
