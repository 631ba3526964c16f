"""The one training loop of both stages: resumable, exact, and silent but for its reporter."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pair_fld.config import StageConfig
from pair_fld.data.pack import VALID, Pack
from pair_fld.errors import PairError
from pair_fld.evaluate.nme import nme
from pair_fld.models import LandmarkNet, build_model, library
from pair_fld.models.checkpoint import load_checkpoint, load_model, load_weights, save_checkpoint
from pair_fld.runs import RECORD, atomic_path, claim_folder, provenance, read_json, write_json
from pair_fld.train.batches import BatchSource, TeacherLabels
from pair_fld.train.losses import HEATMAP_TERMS, TERMS, Batch, Prediction
from pair_fld.train.predict import predict_pack

LAST, BEST, METRICS = "last.pt", "best.pt", "metrics.csv"


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
    extra: dict[str, Any] | None = None,
    init_from: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    report: Reporter | None = None,
) -> Path:
    """Train a model and return the path of its best checkpoint.

    Args:
        kind: "teacher" or "student", kept in the record. extra: more for the record (the teacher's hash, say).
        init_from: start from the weights of another run; everything else starts anew.
        resume: continue `out` where it stopped; a finished run is left as it is.

    Raises:
        PairError: see `claim_folder`, `load_checkpoint`; a resumed run whose configuration or data differ.
    """
    where = pick_device(device)
    record = provenance(stage.model_dump(mode="json"), seed=stage.train.seed, data_hash=pack.data_hash)
    record |= {"kind": kind, **(extra or {})}
    resumed = resume and (out / LAST).is_file()
    if resumed:
        _check_same_run(out, record)
    else:
        if resume and (out / RECORD).is_file():  # stopped before the first checkpoint
            overwrite = True
        claim_folder(out, overwrite=overwrite)
        write_json(out / RECORD, record)
    run = _Run(stage, pack, out, teacher, record, where)
    if resumed:
        run.restore(load_checkpoint(out / LAST))
    elif init_from is not None:
        weights = load_model(init_from)[1]["ema"]
        load_weights(run.model, weights, init_from)
        run.ema.module.load_state_dict(run.model.state_dict())
    run.train(report)
    return out / BEST


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; PairError for a device that torch cannot use."""
    try:
        where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as fault:
        found = f"{name!r} ({str(fault).splitlines()[0]})"
        raise PairError("--device", "a device that this torch can use", found, "Use cpu or auto.") from None
    return where


def _check_same_run(out: Path, record: dict[str, Any]) -> None:
    old = read_json(out / RECORD, "the record of the run to resume")
    for key, what in (("config", "configuration"), ("data_hash", "data"), ("kind", "stage"), ("teacher", "teacher")):
        if old.get(key) != record.get(key):
            found = f"another {what} than the one it was started with"
            raise PairError(
                out, f"the same {what} to resume", found, "Use another --out, or --overwrite to start anew."
            )


class _Run:
    """The state of a training run: model, EMA, optimizer, schedule, position."""

    def __init__(
        self, stage: StageConfig, pack: Pack, out: Path, teacher: TeacherLabels | None, record: dict[str, Any],
        device: torch.device,
    ) -> None:  # fmt: skip
        train = stage.train
        unknown = sorted(set(train.losses) - set(TERMS))
        if unknown:
            raise PairError("train.losses", f"terms among {', '.join(TERMS)}", ", ".join(unknown), "Correct the names.")
        if train.threads:
            torch.set_num_threads(train.threads)
        torch.manual_seed(train.seed)
        self.stage, self.pack, self.out, self.record, self.device = stage, pack, out, record, device
        self.model: LandmarkNet = build_model(stage.model).to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        bad = [term for term in train.losses if term in HEATMAP_TERMS and self.model.output_kind != "heatmap"]
        if bad:
            found = f"{', '.join(bad)} with {stage.model.arch}"
            raise PairError("train.losses", "heatmap terms only for heatmap nets", found, "Remove the terms.")
        self.source = BatchSource(pack, stage, device, teacher)
        if len(self.source.rows) < train.batch_size:
            found = f"{len(self.source.rows)} for a batch of {train.batch_size}"
            raise PairError(pack.folder, "at least one batch of faces to train on", found, "Lower train.batch_size.")
        self.steps = train.epochs * self.source.steps
        self.ema = library.ema(self.model, train.ema_decay)
        self.optimizer = library.optimizer(self.model, train.lr, train.weight_decay)
        self.scheduler = library.cosine(self.optimizer, self.steps, round(train.warmup_epochs * self.source.steps))
        self.valid_rows = pack.rows(VALID, labelled=True)
        self.step, self.best, self.nme = 0, float("inf"), None
        self.averages: dict[str, float] = {}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint of `save`."""
        load_weights(self.model, state["model"], self.out / LAST)
        self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best, self.nme, self.averages = state["step"], state["best"], state["nme"], state["averages"]

    def save(self, name: str) -> None:
        save_checkpoint(self.out / name, {
            "model": self.model.state_dict(), "ema": self.ema.module.state_dict(),
            "optimizer": self.optimizer.state_dict(), "step": self.step, "best": self.best, "nme": self.nme,
            "averages": self.averages, "record": self.record,
        })  # fmt: skip

    def train(self, report: Reporter | None) -> None:
        """Run the remaining steps. A checkpoint is left behind whatever ends them early."""
        if self.step >= self.steps:
            return
        self.model.train()
        started, first, saved = time.monotonic(), self.step, time.monotonic()
        try:
            for step, images, batch in self.source.batches(self.step, self.steps):
                losses = self._update(step, images, batch)
                self.step = step + 1
                if self.step % self.source.steps == 0:
                    self._end_epoch()
                if report is not None:
                    rate = (self.step - first) * self.stage.train.batch_size / (time.monotonic() - started)
                    epoch = min(step // self.source.steps + 1, self.stage.train.epochs)
                    report(Progress(self.step, self.steps, epoch, self.stage.train.epochs, losses, rate, self.nme))
                if time.monotonic() - saved > 60 * self.stage.train.checkpoint_minutes:
                    self.save(LAST)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            self.save(LAST)
            raise

    def _update(self, step: int, images: torch.Tensor, batch: Batch) -> dict[str, float]:
        train = self.stage.train
        self.scheduler.step_update(step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=train.amp):
            raw = self.model(images.contiguous(memory_format=torch.channels_last))
        prediction = Prediction(raw, self.model.points(raw), self.model.output_kind == "heatmap")
        terms = {name: TERMS[name](prediction, batch) for name in train.losses}
        total = torch.stack([train.losses[name] * term for name, term in terms.items()]).sum()
        values: dict[str, float] = dict(zip(["loss", *terms], torch.stack([total, *terms.values()]).tolist(), strict=True))
        if not np.isfinite(values["loss"]):
            self._stop_on_nan(step, images, batch, values)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), train.grad_clip)
        self.optimizer.step()
        self.ema.update(self.model, step=step)
        self.averages = {name: 0.98 * self.averages.get(name, new) + 0.02 * new for name, new in values.items()}
        return dict(self.averages)

    def _stop_on_nan(self, step: int, images: torch.Tensor, batch: Batch, values: dict[str, float]) -> None:
        path = self.out / "bad-batch.pt"
        faces = self.pack.faces.path[self.source.rows_of(step)].tolist()
        save_checkpoint(path, {"step": step, "images": images, "faces": faces, "losses": values, **vars(batch)})
        bad = ", ".join(name for name, value in values.items() if not np.isfinite(value))
        remedy = f"Look at {path}, lower train.lr, and --resume from the last checkpoint."
        raise PairError(self.out, "finite losses", f"{bad} not finite at step {step}", remedy)

    def _end_epoch(self) -> None:
        if len(self.valid_rows):
            answer = predict_pack(self.ema.module, self.pack, self.valid_rows, amp=self.stage.train.amp)
            faces = self.pack.faces
            nmes = nme(answer.points, faces.points[self.valid_rows], faces.valid[self.valid_rows])
            self.nme = float(np.nanmean(nmes) * 100)
        better = self.nme is None or self.nme <= self.best
        if self.nme is not None and better:
            self.best = self.nme
        row = {"epoch": self.step // self.source.steps, "step": self.step, "nme_outer_corners_percent": self.nme,
               "lr": self.optimizer.param_groups[0]["lr"], **self.averages}  # fmt: skip
        _append_row(self.out / METRICS, row)
        if better:
            self.save(BEST)
        self.save(LAST)


def _append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a CSV whole or not at all, dropping rows of epochs that a resumed run repeats."""
    rows: list[dict[str, Any]] = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [old for old in csv.DictReader(stream) if int(old["epoch"]) < row["epoch"]]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(row))
        writer.writeheader()
        writer.writerows([*rows, row])
