"""The two training stages: a teacher from labels, a student from labels and the teacher's answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pair_fld.config import StageConfig
from pair_fld.data.pack import NONE, Pack
from pair_fld.models import LandmarkNet
from pair_fld.models.checkpoint import load_model
from pair_fld.runs import atomic_path, check_claim, file_hash
from pair_fld.train.batches import TeacherLabels
from pair_fld.train.loop import Reporter, fit, stage_name
from pair_fld.train.predict import predict_pack
from pair_fld.train.team import Team, pick_device


def train_teacher(stage: StageConfig, pack: Pack, out: Path, *, init_from: Path | None = None, resume: bool = False,
                  overwrite: bool = False, device: str = "auto", report: Reporter | None = None) -> Path:  # fmt: skip
    """Train on labels; the path of the best checkpoint. Arguments and errors as `loop.fit`."""
    return fit(stage, pack, out, kind="teacher", init_from=init_from, resume=resume, overwrite=overwrite,
               device=device, report=report)  # fmt: skip


def distill(stage: StageConfig, pack: Pack, teacher: Path, out: Path, *, cache: Path | None = None,
            init_from: Path | None = None, resume: bool = False, overwrite: bool = False, device: str = "auto",
            report: Reporter | None = None,
            progress: Callable[[int, int], None] | None = None) -> Path:  # fmt: skip
    """Train a student on labels and a teacher's answers; the path of the best checkpoint.

    Args:
        teacher: its checkpoint. cache: folder for its answers, that of `out` by default. progress: told (done, all)
            while it answers.
    """
    if not resume:
        check_claim(out, stage_name("student"), overwrite)  # before the teacher is asked, which takes minutes
    answers = teacher_answers(teacher, pack, cache or out.parent, device=device, progress=progress)
    return fit(stage, pack, out, kind="student", teacher=answers, extra={"teacher": file_hash(teacher)},
               init_from=init_from, resume=resume, overwrite=overwrite, device=device, report=report)  # fmt: skip


def teacher_answers(teacher: Path, pack: Pack, cache: Path, *, device: str = "auto",
                    progress: Callable[[int, int], None] | None = None) -> TeacherLabels:  # fmt: skip
    """A teacher's landmarks on the whole pack, averaged over both flips; kept in `cache` under both hashes.

    A student's target is this answer warped with its view. Coordinates warp exactly, so unlike cached heatmaps
    this loses nothing but what the teacher itself would answer differently on the disturbed view.
    """
    where = pick_device(device)
    team = Team.join(where)
    path = _answers_path(file_hash(teacher), pack, cache)
    if team.told(path.is_file()):
        return _read_answers(path)
    model, _ = load_model(teacher)
    model.to(where)
    answers = _answers(model, pack, np.arange(len(pack)), None, team, progress)
    blank = np.flatnonzero(pack.faces.label == NONE)
    if len(blank):  # answered on a guessed box: answer again on the box of the first answer
        first = answers.points[blank]
        boxes = np.concatenate([first.min(axis=1), first.max(axis=1)], axis=1)
        second = _answers(model, pack, blank, boxes, team, None)
        answers.points[blank], answers.sigma[blank] = second.points, second.sigma
    if team.first:
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, points=answers.points, sigma=answers.sigma)
    return answers


def _answers(
    model: LandmarkNet, pack: Pack, rows: np.ndarray, boxes: np.ndarray | None, team: Team,
    progress: Callable[[int, int], None] | None,
) -> TeacherLabels:  # fmt: skip
    """Each process answers its share of `rows`; everyone gets all the answers."""
    mine, device = team.share(len(rows)), next(model.parameters()).device
    own = None if boxes is None else boxes[mine]
    part = predict_pack(model, pack, rows[mine], flip=True, amp=True, boxes=own, progress=progress)
    return TeacherLabels(*(team.gather(values, len(rows), device) for values in (part.points, part.sigma)))


def cached_answers(teacher_hash: str, pack: Pack, cache: Path) -> TeacherLabels | None:
    """The answers that `teacher_answers` kept for the teacher of this sha256, None when there are none."""
    path = _answers_path(teacher_hash, pack, cache)
    return _read_answers(path) if path.is_file() else None


def _read_answers(path: Path) -> TeacherLabels:
    with np.load(path, allow_pickle=False) as kept:
        return TeacherLabels(kept["points"], kept["sigma"])


def _answers_path(teacher_hash: str, pack: Pack, cache: Path) -> Path:
    return cache / f"answers-{teacher_hash[:12]}-{pack.data_hash[:12]}.npz"
