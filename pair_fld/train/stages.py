"""The two training stages: a teacher from labels, a student from labels and the teacher's answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pair_fld.config import StageConfig
from pair_fld.data.pack import NONE, Pack
from pair_fld.models.checkpoint import load_model
from pair_fld.runs import atomic_path, file_hash
from pair_fld.train.batches import TeacherLabels
from pair_fld.train.loop import Reporter, fit, pick_device
from pair_fld.train.predict import predict_pack


def train_teacher(stage: StageConfig, pack: Pack, out: Path, *, init_from: Path | None = None, resume: bool = False,
                  overwrite: bool = False, device: str = "auto", report: Reporter | None = None) -> Path:  # fmt: skip
    """Train on labels; the path of the best checkpoint. Arguments and errors as `loop.fit`."""
    return fit(stage, pack, out, kind="teacher", init_from=init_from, resume=resume, overwrite=overwrite,
               device=device, report=report)  # fmt: skip


def distill(stage: StageConfig, pack: Pack, teacher: Path, out: Path, *, init_from: Path | None = None,
            resume: bool = False, overwrite: bool = False, device: str = "auto", report: Reporter | None = None,
            progress: Callable[[int, int], None] | None = None) -> Path:  # fmt: skip
    """Train a student on labels and a teacher's answers; the path of the best checkpoint.

    Args:
        teacher: its checkpoint. progress: told (done, all) while the teacher answers.
    """
    answers = teacher_answers(teacher, pack, out.parent, device=device, progress=progress)
    return fit(stage, pack, out, kind="student", teacher=answers, extra={"teacher": file_hash(teacher)},
               init_from=init_from, resume=resume, overwrite=overwrite, device=device, report=report)  # fmt: skip


def teacher_answers(teacher: Path, pack: Pack, cache: Path, *, device: str = "auto",
                    progress: Callable[[int, int], None] | None = None) -> TeacherLabels:  # fmt: skip
    """A teacher's landmarks on the whole pack, averaged over both flips; kept in `cache` under both hashes.

    A student's target is this answer warped with its view. Coordinates warp exactly, so unlike cached heatmaps
    this loses nothing but what the teacher itself would answer differently on the disturbed view.
    """
    path = cache / f"answers-{file_hash(teacher)[:12]}-{pack.data_hash[:12]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            return TeacherLabels(kept["points"], kept["sigma"])
    model, _ = load_model(teacher)
    model.to(pick_device(device))
    answers = predict_pack(model, pack, np.arange(len(pack)), flip=True, amp=True, progress=progress)
    blank = np.flatnonzero(pack.faces.label == NONE)
    if len(blank):  # answered on a guessed box: answer again on the box of the first answer
        first = answers.points[blank]
        boxes = np.concatenate([first.min(axis=1), first.max(axis=1)], axis=1)
        second = predict_pack(model, pack, blank, flip=True, amp=True, boxes=boxes)
        answers.points[blank], answers.sigma[blank] = second.points, second.sigma
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, points=answers.points, sigma=answers.sigma)
    return answers
