"""The training loop of landmark networks, detector and quantization-aware fine-tuning: resumable and exact."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pair_fld.errors import PairError
from pair_fld.models.checkpoint import load_checkpoint, save_checkpoint
from pair_fld.train.batches import Source
from pair_fld.train.distributed import SINGLE_PROCESS, Distributed
from pair_fld.train.interrupts import StopSignals
from pair_fld.train.metric_log import METRICS, NME, Scalars, append_row
from pair_fld.train.resume import LAST, ResumeRules
from pair_fld.train.run_folder import RunSpec, open_run
from pair_fld.train.run_history import EPOCHS
from pair_fld.train.train_step import StepStats, TrainStep, not_finite

BEST = "best.pt"
_READ_EVERY = {"cpu": 1}  # steps between two synchronisations with the device; on a CPU they cost nothing
_READ_EVERY_ELSEWHERE = 20

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class TrainProgress:
    """What a reporter gets after every step.

    Attributes:
        step: steps done, of `steps`.
        steps: steps of the whole run.
        epoch: number of the running epoch, of `epochs`.
        epochs: epochs of the whole run.
        losses: running averages, "loss" (the total) first.
        step_losses: of the newest step that was read, "loss" first.
        samples_per_second: since training started or was resumed.
        metrics: newest measurement on the validation split, empty before the first.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    losses: dict[str, float]
    step_losses: dict[str, float]
    samples_per_second: float
    metrics: Metrics


Reporter = Callable[[TrainProgress], None]


@dataclass(frozen=True)
class TrainJob:
    """What the trainer trains.

    Attributes:
        record: provenance, written to run.json and into every checkpoint; its `kind` names what is trained.
        stage: what the run folder's marker says.
        source: the batches.
        step: model, optimizer and losses.
        steps: steps of the whole run.
        rules: which settings may change when the run is resumed.
        evaluate: metrics of a model on the validation split, at the end of an epoch. The first decides which epoch is
            the best, lower is better; where it is None, the newest epoch is.
        checkpoint_minutes: longest time between two checkpoints.
    """

    record: dict[str, Any]
    stage: str
    source: Source
    step: TrainStep
    steps: int
    rules: ResumeRules
    evaluate: Callable[[nn.Module], Metrics] = lambda _: {}
    checkpoint_minutes: float = 2.0

    @property
    def epochs(self) -> int:
        return -(-self.steps // self.source.steps_per_epoch)


class Trainer:
    """Trains a job in a run folder; leaves last.pt, best.pt, metrics.csv and run.json there.

    Args:
        job: what is trained.
        run: where, and how it starts.
        distributed: the processes that train it together; rank 0 alone writes and reports.
        report: called after every step, in the main process only.
    """

    def __init__(
        self,
        job: TrainJob,
        run: RunSpec,
        distributed: Distributed = SINGLE_PROCESS,
        report: Reporter | None = None,
    ) -> None:
        self.job, self.run, self.distributed = job, run, distributed
        self.report = report if distributed.is_main else None
        self.state, self.record = job.step.state, {**job.record, EPOCHS: job.epochs}
        self.step_number, self.best, self.metrics = 0, float("inf"), Metrics()
        self._read_every = _READ_EVERY.get(job.step.device.type, _READ_EVERY_ELSEWHERE)
        self._saved = 0.0

    def fit(self) -> Path:
        """Train to the end, and return the path of the best checkpoint. A finished run is left as it is.

        Raises:
            PairError: the folder cannot be claimed or another process trains in it; a resumed run differs in more than
                its rules allow; losses are not finite; a checkpoint cannot be written.
            KeyboardInterrupt: on SIGINT or SIGTERM, after the step has ended and last.pt is written.
        """
        with open_run(self.run, self.job.stage, self.record, self.job.rules, self.distributed) as resumed:
            if resumed is not None:
                self._restore(load_checkpoint(self.run.out / LAST))
                if self.distributed.is_main:
                    self.record |= resumed.note(self.step_number, self.job.steps, self.job.epochs)
            if self.step_number < self.job.steps:
                self._train()
            self.distributed.barrier()  # no process returns before the files are written
        return self.run.out / BEST

    def _train(self) -> None:
        self.state.model.train()
        clock = _Clock(self.job.source.step_size * self.distributed.size)
        self._saved = time.monotonic()
        stats: StepStats | None = None
        with Scalars(self.run.out, self.step_number, self.distributed.is_main) as scalars, StopSignals() as signals:
            for step, images, batch in self.job.source.batches(self.step_number, self.job.steps):
                self.job.step(step, images, batch)
                self.step_number = step + 1
                ends_epoch = self.step_number % self.job.source.steps_per_epoch == 0
                ends_epoch |= self.step_number == self.job.steps
                stop = False
                if ends_epoch or stats is None or self.step_number % self._read_every == 0:
                    stats = self.job.step.read_stats()
                    stop = self.distributed.any(signals.stop_requested, self.job.step.device)
                    self._after_read(stats, ends_epoch, stop, scalars)
                clock.count_step()
                if self.report is not None:
                    self.report(self._progress(stats, clock.samples_per_second))
                if stop:
                    self.distributed.barrier()  # the main process may still be writing
                    raise KeyboardInterrupt

    def _after_read(self, stats: StepStats, ends_epoch: bool, stop: bool, scalars: Scalars) -> None:
        if stats.bad_step is not None:
            self._stop_on_nan(stats.bad_step, stats.losses)
        if ends_epoch:
            self._end_epoch(scalars)
        elif stop or time.monotonic() - self._saved > 60 * self.job.checkpoint_minutes:
            self._save(LAST)

    def _end_epoch(self, scalars: Scalars) -> None:
        self.metrics = self.job.evaluate(self.state.averaged_model())
        value = next(iter(self.metrics.values()), None)
        better = value is None or value <= self.best
        if value is not None and better:
            self.best = value
        if not self.distributed.is_main:
            return
        epoch = -(-self.step_number // self.job.source.steps_per_epoch)
        values = {**self.metrics, "lr": self.state.lr, **self.job.step.averages()}
        append_row(self.run.out / METRICS, {"epoch": epoch, "step": self.step_number, **values})
        scalars.add(self.step_number, values)
        if better:
            self._save(BEST)
        self._save(LAST)

    def _progress(self, stats: StepStats, samples_per_second: float) -> TrainProgress:
        job = self.job
        epoch = min((self.step_number - 1) // job.source.steps_per_epoch + 1, job.epochs)
        return TrainProgress(
            self.step_number,
            job.steps,
            epoch,
            job.epochs,
            stats.averages,
            stats.losses,
            samples_per_second,
            self.metrics,
        )

    def _stop_on_nan(self, step: int, losses: Mapping[str, float]) -> None:
        # batches are a function of the step, so this one can be drawn again
        data = self.job.source.draw(step)
        rank = "" if self.distributed.size == 1 else f"-{self.distributed.rank}"
        path = self.run.out / f"bad-batch{rank}.pt"
        names = self.job.source.sample_names(step)
        state = {"step": step, "images": data.images, "faces": names, "losses": dict(losses), **vars(data.batch)}
        save_checkpoint(path, state)
        remedy = f"Look at {path}, lower {self.job.rules.lr_key}, and --resume from the last checkpoint."
        raise PairError(self.run.out, "finite losses", f"{not_finite(losses)} not finite at step {step}", remedy)

    def _save(self, name: str) -> None:
        """Write a checkpoint, in the main process; the one before stays until the new file is whole."""
        self._saved = time.monotonic()
        if not self.distributed.is_main:
            return
        path = self.run.out / name
        state = {
            **self.state.state_dict(), "step": self.step_number, "best": self.best, "metrics": self.metrics,
            "averages": self.job.step.averages(), "record": self.record,
        }  # fmt: skip
        try:
            save_checkpoint(path, state)
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError on a full disk
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            kept = "The checkpoint before it is whole. " if path.is_file() else ""
            message = f"{path}: the checkpoint of step {self.step_number} could not be written ({reason})."
            raise PairError(path, message=message, remedy=f"{kept}Free some space, then --resume.") from None

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint of `_save`; PairError when it belongs to something else."""
        path = self.run.out / LAST
        try:
            self.state.load_state_dict(state)
            self.step_number, self.best = int(state["step"]), float(state["best"])
            if self.step_number < 0:
                raise ValueError(f"step {self.step_number}")
            self.metrics = checkpoint_metrics(state)
            self.job.step.restore_averages(state["averages"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            found = f"another or damaged one ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            remedy = "Use another --out, or --overwrite to start anew."
            raise PairError(path, "a checkpoint of this run", found, remedy) from None


def checkpoint_metrics(state: Mapping[str, Any]) -> Metrics:
    """The newest measurement that a checkpoint holds; TypeError when it holds something else."""
    # earlier versions kept the NME alone
    metrics = dict(state["metrics"]) if "metrics" in state else {NME: state.get("nme")}
    if odd := [name for name, value in metrics.items() if not isinstance(value, float | int | None)]:
        raise TypeError(f"{odd[0]} is no number")
    return metrics


class _Clock:
    """Samples per second since it was made."""

    def __init__(self, samples_per_step: int) -> None:
        self._samples_per_step, self._started, self._steps = samples_per_step, time.monotonic(), 0

    def count_step(self) -> None:
        self._steps += 1

    @property
    def samples_per_second(self) -> float:
        return self._steps * self._samples_per_step / (time.monotonic() - self._started)
