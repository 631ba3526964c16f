"""The one training loop of both stages: resumable, exact, and silent but for its reporter."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pair_fld.config import StageConfig
from pair_fld.data.dataset import VALID, Pack
from pair_fld.errors import PairError
from pair_fld.evaluate.metrics import nme
from pair_fld.io import write_json
from pair_fld.models import LandmarkNet
from pair_fld.models.checkpoint import load_checkpoint, load_model, load_weights, save_checkpoint
from pair_fld.runs import RECORD, claim_folder, provenance
from pair_fld.train.batches import BatchSource, TeacherLabels
from pair_fld.train.builder import known_terms, start
from pair_fld.train.distributed import Team, pick_device
from pair_fld.train.interrupts import StopRequest, is_locked, locked
from pair_fld.train.loss_terms import TEACHER, TERMS, needed
from pair_fld.train.metric_log import METRICS, Scalars, append_row
from pair_fld.train.predict_dataset import predict_pack
from pair_fld.train.resume import changed_settings, note_changes
from pair_fld.train.run_history import CHANGES
from pair_fld.train.train_step import Seen, describe

LAST, BEST = "last.pt", "best.pt"
_NO_FACES = "Prepare faces of the training split (labelled ones, without a teacher), with weights above 0."
_LOOK_EVERY = {"cpu": 1}  # steps between looks at the device; waiting for a CPU costs nothing
_LOOK_EVERY_ELSEWHERE = 20


@dataclass(frozen=True)
class Progress:
    """What a reporter is told after every step; `nme` is the newest on the validation split, in percent."""

    step: int
    steps: int
    epoch: int
    epochs: int
    losses: dict[str, float]
    samples_per_second: float
    nme: float | None


Reporter = Callable[[Progress], None]


def fit(
    stage: StageConfig,
    pack: Pack,
    out: Path,
    *,
    kind: str,
    teacher: TeacherLabels | None = None,
    live: LandmarkNet | None = None,
    extra: dict[str, Any] | None = None,
    init_from: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    report: Reporter | None = None,
) -> Path:
    """Train a model and return the path of its best checkpoint.

    Under torchrun every process calls this alike; `out` must be one folder that all of them see.

    Args:
        kind: "teacher" or "student", kept in the record. teacher: its answers on the pack, for `kd_` terms.
        live: the teacher itself, for terms that need it (see `start.wants_live`).
        extra: more for the record (the teacher's hash, say).
        init_from: start from the weights of another run; everything else starts anew.
        resume: continue `out` where it stopped; a finished run is left as it is. Settings of `resume.MAY_CHANGE` may
            differ from those of the run: they hold from here on, and run.json lists them with the step.
        report: told after every step, in the first process only.

    Raises:
        PairError: see `claim_folder`, `load_checkpoint`; a resumed run whose other settings or data differ; a folder
            that another process is training in; losses that are not finite; a checkpoint that could not be written.
        KeyboardInterrupt: on SIGINT or SIGTERM, after the step has ended and last.pt is written.
    """
    where = pick_device(device)
    team = Team.join(where)
    record = provenance(stage.model_dump(mode="json"), seed=stage.train.seed, data_hash=pack.data_hash)
    record |= {"kind": kind, "processes": team.size, **(extra or {})}
    run = _Run(stage, pack, out, teacher, live, record, where, team)  # before `out` is touched: it checks every setting
    if init_from is not None:
        load_weights(run.model, load_model(init_from)[1]["ema"], init_from)
        run.ema.module.load_state_dict(run.model.state_dict())
    with ExitStack() as stack:
        resumed, changed = False, dict[str, tuple[Any, Any]]()
        if team.first:
            resumed = resume and (out / LAST).is_file()
            if resumed:
                _refuse_locked(out)
                changed = changed_settings(out, record)
            else:
                _claim(out, record, resume=resume, overwrite=overwrite)
            stack.enter_context(locked(out))
            for left in out.glob(".*.tmp*"):  # by a process that was killed while writing
                left.unlink()
        if team.told(resumed):
            run.restore(load_checkpoint(out / LAST))
            if team.first and (made := note_changes(out, record, changed, run.step, run.steps)):
                record[CHANGES] = made
        run.train(report if team.first else None)
        team.wait()  # nobody returns before the files are written
    return out / BEST


def stage_name(kind: str) -> str:
    """What the folder of a training run says that it is; kind: teacher or student."""
    return f"training of a {kind}"


def _claim(out: Path, record: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Make the run folder and its record."""
    _refuse_locked(out)
    # a run that stopped before its first checkpoint has nothing to lose
    unstarted = resume and (out / RECORD).is_file()
    claim_folder(out, stage_name(record["kind"]), overwrite=overwrite or unstarted)
    write_json(out / RECORD, record)


def _refuse_locked(out: Path) -> None:
    if is_locked(out):
        with locked(out):  # raises, unless it was freed just now
            pass


class _Run:
    """The state of a training run: model, EMA, optimizer, schedule, position."""

    def __init__(
        self, stage: StageConfig, pack: Pack, out: Path, teacher: TeacherLabels | None, live: LandmarkNet | None,
        record: dict[str, Any], device: torch.device, team: Team,
    ) -> None:  # fmt: skip
        train = stage.train
        if teacher is None and TEACHER in needed(known_terms(stage)):
            taught = ", ".join(name for name in train.losses if TEACHER in TERMS[name].needs)
            raise PairError("train.losses", "losses of labels alone", taught, "Train this stage with pairfld distill.")
        if train.threads:
            torch.set_num_threads(train.threads)
        self.stage, self.pack, self.out, self.record, self.device, self.team = stage, pack, out, record, device, team
        self.source = BatchSource(pack, stage, device, teacher, team)
        everyone = self.source.size * team.size
        drawn = float(self.source.weights.sum())
        if drawn < everyone:
            found = f"{len(self.source.rows)} faces of summed weight {drawn:g} for a step of {everyone}"
            remedy = "Lower train.batch_size." if drawn >= 1 else _NO_FACES
            raise PairError(pack.folder, "at least one batch of faces to train on", found, remedy)
        self.steps = train.epochs * self.source.steps
        self.update = start(stage, self.steps, round(train.warmup_epochs * self.source.steps), device, team, live)
        self.model: LandmarkNet = self.update.model
        self.ema, self.optimizer = self.update.ema, self.update.optimizer
        self.valid_rows = pack.rows(VALID, labelled=True)
        self.step, self.best, self.nme = 0, float("inf"), None
        self.looks_every = _LOOK_EVERY.get(device.type, _LOOK_EVERY_ELSEWHERE)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint of `save`; PairError when it is that of something else."""
        try:
            load_weights(self.model, state["model"], self.out / LAST)
            self.ema.module.load_state_dict(state["ema"])
            if self.update.trainee.project is not None:
                self.update.trainee.project.load_state_dict(state["project"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.best, self.nme = int(state["step"]), float(state["best"]), state["nme"]
            self.update.restore_averages(state["averages"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as fault:
            found = f"another or damaged one ({type(fault).__name__}: {' '.join(str(fault).split())[:200]})"
            remedy = "Use another --out, or --overwrite to start anew."
            raise PairError(self.out / LAST, "a checkpoint of this run", found, remedy) from None

    def save(self, name: str) -> None:
        """Write a checkpoint, in the first process; what was there before stays until the new file is whole."""
        if not self.team.first:
            return
        path = self.out / name
        state = {
            "model": self.model.state_dict(), "ema": self.ema.module.state_dict(),
            "optimizer": self.optimizer.state_dict(), "step": self.step, "best": self.best, "nme": self.nme,
            "averages": self.update.averages(), "record": self.record,
        }  # fmt: skip
        if self.update.trainee.project is not None:
            state["project"] = self.update.trainee.project.state_dict()
        try:
            save_checkpoint(path, state)
        except (OSError, RuntimeError) as fault:  # torch's writer raises RuntimeError on a full disk
            reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
            kept = "The one before is whole: free" if path.is_file() else "Free"
            raise PairError(
                path, f"room to write the checkpoint of step {self.step}", reason,
                f"{kept} some space, then --resume.",
            ) from None  # fmt: skip

    def train(self, report: Reporter | None) -> None:
        """Run the remaining steps."""
        if self.step >= self.steps:
            return
        self.model.train()
        train, faces = self.stage.train, self.source.size * self.team.size
        started, first, saved = time.monotonic(), self.step, time.monotonic()
        scalars = Scalars(self.out, self.step) if self.team.first else None
        with StopRequest() as stop:
            seen: Seen | None = None
            for step, images, batch in self.source.batches(self.step, self.steps):
                self.update(step, images, batch, stop.asked)
                self.step = step + 1
                ends = self.step % self.source.steps == 0
                looks = ends or self.step % self.looks_every == 0 or seen is None
                if looks:
                    seen = self.update.look()
                    if seen.bad_step is not None:
                        self._stop_on_nan(seen.bad_step, seen.losses)
                    if ends:
                        self._end_epoch(scalars)
                        saved = time.monotonic()
                    elif seen.stop or time.monotonic() - saved > 60 * train.checkpoint_minutes:
                        self.save(LAST)
                        saved = time.monotonic()
                if report is not None and seen is not None:
                    rate = (self.step - first) * faces / (time.monotonic() - started)
                    epoch = min(step // self.source.steps + 1, train.epochs)
                    report(Progress(self.step, self.steps, epoch, train.epochs, seen.averages, rate, self.nme))
                if looks and seen is not None and seen.stop:
                    self.team.wait()  # the first of the processes may still be writing
                    raise KeyboardInterrupt
        if scalars is not None:
            scalars.close()

    def _stop_on_nan(self, step: int, losses: dict[str, float]) -> None:
        # batches are a function of the step, so the one that did it can be drawn again
        _, images, batch = self.source.draw(step)
        path = self.out / ("bad-batch.pt" if self.team.size == 1 else f"bad-batch-{self.team.rank}.pt")
        faces = self.pack.faces.path[self.source.rows_of(step)].tolist()
        save_checkpoint(path, {"step": step, "images": images, "faces": faces, "losses": losses, **vars(batch)})
        remedy = f"Look at {path}, lower train.lr, and --resume from the last checkpoint."
        raise PairError(self.out, "finite losses", f"{describe(losses)} not finite at step {step}", remedy)

    def _end_epoch(self, scalars: Scalars | None) -> None:
        count = len(self.valid_rows)
        if count:
            mine = self.valid_rows[self.team.share(count)]
            answer = predict_pack(self.ema.module, self.pack, mine, amp=self.stage.train.amp)
            points = self.team.gather(answer.points, count, self.device)
            faces = self.pack.faces
            self.nme = float(np.nanmean(nme(points, faces.points[self.valid_rows], faces.valid[self.valid_rows])) * 100)
        better = self.nme is None or self.nme <= self.best
        if self.nme is not None and better:
            self.best = self.nme
        if not self.team.first:
            return
        row = {"epoch": self.step // self.source.steps, "step": self.step, "nme_outer_corners_percent": self.nme,
               "lr": self.optimizer.param_groups[0]["lr"], **self.update.averages()}  # fmt: skip
        append_row(self.out / METRICS, row)
        if scalars is not None:
            scalars.add(self.step, {name: value for name, value in row.items() if name not in ("epoch", "step")})
        if better:
            self.save(BEST)
        self.save(LAST)
