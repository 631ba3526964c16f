"""The two training stages: a teacher from labels, a student from labels and the teacher's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from pair_fld.config import StageConfig
from pair_fld.data.dataset import NONE, Pack
from pair_fld.errors import PairError
from pair_fld.io import atomic_path, file_hash
from pair_fld.models import LandmarkNet
from pair_fld.models.checkpoint import load_model
from pair_fld.runs import check_claim
from pair_fld.train.batches import TeacherLabels
from pair_fld.train.builder import wants_live
from pair_fld.train.distributed import Team, pick_device
from pair_fld.train.predict_dataset import predict_pack
from pair_fld.train.trainer import Reporter, fit, stage_name


def train_teacher(stage: StageConfig, pack: Pack, out: Path, *, init_from: Path | None = None, resume: bool = False,
                  overwrite: bool = False, device: str = "auto", report: Reporter | None = None) -> Path:  # fmt: skip
    """Train on labels; the path of the best checkpoint. Arguments and errors as `loop.fit`."""
    return fit(stage, pack, out, kind="teacher", init_from=init_from, resume=resume, overwrite=overwrite,
               device=device, report=report)  # fmt: skip


def distill(stage: StageConfig, pack: Pack, teachers: Sequence[Path], out: Path, *, cache: Path | None = None,
            init_from: Path | None = None, resume: bool = False, overwrite: bool = False, device: str = "auto",
            report: Reporter | None = None,
            progress: Callable[[int, int], None] | None = None) -> Path:  # fmt: skip
    """Train a student on labels and a teacher's answers; the path of the best checkpoint.

    Args:
        teachers: their checkpoints; several answer together. cache: folder for the answers, that of `out` by default.
            progress: told (done, all) while a teacher answers.

    Raises:
        PairError: no such teacher; losses that look at the teacher in every batch, and several teachers; as `fit`.
    """
    for path in teachers:
        if not path.is_file():
            remedy = "Run pairfld train-teacher first, or name another with --teacher."
            raise PairError(path, "a teacher's checkpoint", "a folder" if path.is_dir() else "no such file", remedy)
    live = live_teacher(stage, teachers)
    if not resume:
        check_claim(out, stage_name("student"), overwrite)  # before the teacher is asked, which takes minutes
    answers = teacher_answers(
        teachers, pack, cache or out.parent, views=stage.distill.teacher_views, device=device, progress=progress
    )
    return fit(stage, pack, out, kind="student", teacher=answers, live=live,
               extra={"teacher": teacher_id(teachers)}, init_from=init_from, resume=resume, overwrite=overwrite,
               device=device, report=report)  # fmt: skip


def live_teacher(stage: StageConfig, teachers: Sequence[Path]) -> LandmarkNet | None:
    """The teacher that is to look at every batch, if the stage's losses want one; PairError if several would."""
    if not wants_live(stage):
        return None
    if len(teachers) > 1:
        remedy = "Give one --teacher, or take terms that cached answers serve."
        raise PairError(
            "train.losses", "one teacher for losses that look at it in every batch", str(len(teachers)), remedy
        )
    return load_model(teachers[0])[0]


def teacher_id(teachers: Sequence[Path]) -> str:
    """What a student's record says of its teachers: their sha256, joined by + when there are several."""
    return "+".join(sorted(file_hash(path) for path in teachers))


def teacher_answers(teachers: Sequence[Path], pack: Pack, cache: Path, *, views: int = 2, device: str = "auto",
                    progress: Callable[[int, int], None] | None = None) -> TeacherLabels:  # fmt: skip
    """The teachers' landmarks on the whole pack, each averaged over `views`; kept in `cache`, a file a teacher.

    A student's target is this answer warped with its view. Points and covariances warp exactly, so unlike cached
    heatmaps this loses nothing but what the teacher itself would answer differently on the disturbed view. Several
    teachers count as one whose answer is spread over theirs: where they disagree, it is uncertain.
    """
    where = pick_device(device)
    team = Team.join(where)
    every = []
    for teacher in teachers:
        path = _answers_path(file_hash(teacher), pack, cache, views)
        if not team.told(path.is_file()):
            _answer_all(teacher, pack, path, views, where, team, progress)
        every.append(_read_answers(path))
    return _together(every)


def _answer_all(
    teacher: Path, pack: Pack, path: Path, views: int, where: torch.device, team: Team,
    progress: Callable[[int, int], None] | None,
) -> None:  # fmt: skip
    model, _ = load_model(teacher)
    model.to(where)
    answers = _answers(model, pack, np.arange(len(pack)), None, views, team, progress)
    blank = np.flatnonzero(pack.faces.label == NONE)
    if len(blank):  # answered on a guessed box: answer again on the box of the first answer
        first = answers.points[blank]
        boxes = np.concatenate([first.min(axis=1), first.max(axis=1)], axis=1)
        second = _answers(model, pack, blank, boxes, views, team, None)
        for old, new in zip(vars(answers).values(), vars(second).values(), strict=True):
            old[blank] = new
    if team.first:
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **vars(answers))
    team.wait()


def _answers(
    model: LandmarkNet, pack: Pack, rows: np.ndarray, boxes: np.ndarray | None, views: int, team: Team,
    progress: Callable[[int, int], None] | None,
) -> TeacherLabels:  # fmt: skip
    """Each process answers its share of `rows`; everyone gets all the answers."""
    mine, device = team.share(len(rows)), next(model.parameters()).device
    own = None if boxes is None else boxes[mine]
    part = predict_pack(model, pack, rows[mine], views=views, amp=True, boxes=own, progress=progress)
    return TeacherLabels(*(team.gather(values, len(rows), device) for values in vars(part).values()))


def _together(every: list[TeacherLabels]) -> TeacherLabels:
    """One answer of several: the mean, with the spread of all of them."""
    if len(every) == 1:
        return every[0]
    points = np.mean([a.points for a in every], axis=0)
    covariance = np.mean([a.covariance for a in every], axis=0)
    for answer in every:
        off = answer.points - points
        covariance += off[..., :, None] * off[..., None, :] / len(every)
    return TeacherLabels(points, covariance, np.mean([a.side for a in every], axis=0))


def cached_answers(teacher_ids: str, pack: Pack, cache: Path, views: int) -> TeacherLabels | None:
    """The answers that `teacher_answers` kept for the teachers of a `teacher_id`, None when some are missing."""
    paths = [_answers_path(one, pack, cache, views) for one in teacher_ids.split("+")]
    return _together([_read_answers(path) for path in paths]) if all(path.is_file() for path in paths) else None


def _read_answers(path: Path) -> TeacherLabels:
    with np.load(path, allow_pickle=False) as kept:
        return TeacherLabels(**{f.name: kept[f.name] for f in fields(TeacherLabels)})


def _answers_path(teacher_hash: str, pack: Pack, cache: Path, views: int) -> Path:
    return cache / f"answers-{teacher_hash[:12]}-{pack.data_hash[:12]}-{views}.npz"
