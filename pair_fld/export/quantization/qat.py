"""Quantization-aware fine-tuning: a trained student adapts to the rounding of its int8 file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from pair_fld.config import QatConfig, StageConfig, read_recorded
from pair_fld.data.dataset import FaceDataset
from pair_fld.errors import PairError
from pair_fld.export.onnx import load_onnx, save_onnx
from pair_fld.export.quantization.fake_quant import Codes, FakeQuantized
from pair_fld.models import LandmarkNet
from pair_fld.models.heads import Outputs
from pair_fld.progress import Progress, no_progress
from pair_fld.runs import provenance
from pair_fld.runtime.geometry import from_norm
from pair_fld.runtime.metadata import model_metadata, normalise
from pair_fld.train.batches import BatchSource
from pair_fld.train.loss_terms import MAPS, TEACHER_PER_STEP, TERMS, LandmarkObjective
from pair_fld.train.metric_log import METRICS, curve, read_rows
from pair_fld.train.predict_dataset import LandmarkPredictions
from pair_fld.train.resume import ResumeRules
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.teacher_predictions import cached_predictions, teacher_id, teacher_predictions
from pair_fld.train.train_step import OptimizerSpec, TrainState, TrainStep
from pair_fld.train.trainer import Trainer, TrainJob, TrainProgress

KIND, STAGE = "qat", "quantization-aware fine-tuning"  # in run.json; in the run folder's marker
RULES = ResumeRules(QatConfig, learning=("lr", "steps"), lr_key="quant.qat.lr")
WARMUP = 0.05  # of the steps
_SHOWN = 20  # steps that the shown loss is averaged over


@dataclass(frozen=True)
class Student:
    """What is fine-tuned.

    Attributes:
        net: the trained network, for its decoding.
        checkpoint: sha256 of its checkpoint.
        stage: configuration that it was trained with; losses, views and batch size are taken from it.
        predictions: of its teacher, None for a network without one.
    """

    net: LandmarkNet
    checkpoint: str
    stage: StageConfig
    predictions: LandmarkPredictions | None


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning gives.

    Attributes:
        codes: scale and zero point of every quantized value of the file to write.
        simulated: crops (N, S, S, 3) uint8 -> points (N, 51, 2) crop pixels, by the torch graph that was trained.
        losses: means of the first and of the last tenth of the steps; where an earlier call did them all, the running
            averages of the first and the last row of metrics.csv.
        seconds: time.
    """

    codes: dict[str, Codes]
    simulated: Callable[[np.ndarray], np.ndarray]
    losses: tuple[float, float]
    seconds: float


def stage_of(state: dict[str, Any]) -> StageConfig:
    """The configuration that a checkpoint was trained with."""
    return read_recorded(StageConfig, state["record"]["config"])


def predictions_of(
    state: dict[str, Any], checkpoint: Path, dataset: FaceDataset, teachers: Sequence[Path], cache: Path
) -> LandmarkPredictions | None:
    """The teacher predictions that a student was trained with; None for a checkpoint without a teacher.

    Args:
        state: the student's checkpoint.
        checkpoint: its path.
        dataset: the data.
        teachers: checkpoints that may be its teachers.
        cache: folder that may hold their predictions.

    Raises:
        PairError: the predictions are not in `cache`, and a teacher is missing or another one.
    """
    wanted = state["record"].get("teacher")
    if not isinstance(wanted, str):
        return None
    views = stage_of(state).distill.teacher_views
    cached = cached_predictions(wanted, dataset, cache, views)
    if cached is not None:
        return cached
    missing = [str(path) for path in teachers if not path.is_file()]
    if missing or teacher_id(teachers, dataset) != wanted:
        named = ", ".join(map(str, teachers))
        what = f"no file {', '.join(missing)}" if missing else f"{named}, which is another one"
        remedy = "Name it with --teacher, or quantize without --qat."
        raise PairError(checkpoint, f"its teacher (sha256 {wanted[:12]}...)", what, remedy)
    return teacher_predictions(teachers, dataset, cache, views=views)


def finetune(
    student: Student,
    float_graph: Path,
    qdq: onnx.ModelProto,
    dataset: FaceDataset,
    config: QatConfig,
    run: RunSpec,
    out: Path,
    progress: Progress = no_progress,
) -> FineTuned:
    """Train the exported graph with its rounding, with the losses and views of the student's own training.

    Args:
        student: the network and how it was trained.
        float_graph: its float ONNX file.
        qdq: the post-training int8 graph of `float_graph`: which values are rounded, and the scales to start from.
        dataset: the data.
        config: steps and learning rate.
        run: where the run is kept, and how it starts.
        out: gets the float ONNX file with the trained weights, to be quantized with `FineTuned.codes`.
        progress: called with the number of steps done.

    Raises:
        PairError: an operator that `FakeQuantized` does not know, only losses that need more than the graph's output,
            or as `Trainer.fit`.
        KeyboardInterrupt: as `Trainer.fit`.
    """
    started = time.monotonic()
    job = _job(student, float_graph, qdq, dataset, config)
    history: list[float] = []

    def report(p: TrainProgress) -> None:
        history.append(p.step_losses["loss"])
        progress(p.step, p.steps, f"loss {np.mean(history[-_SHOWN:]):.3f}")

    Trainer(job, run, report=report).fit()
    twin = job.step.state.model
    assert isinstance(twin, FakeQuantized)
    model = load_onnx(float_graph)
    twin.store(model)
    save_onnx(model, out)
    history = history or curve(read_rows(run.out / METRICS), "loss")
    tenth = max(1, len(history) // 10)
    ends = float(np.mean(history[:tenth])), float(np.mean(history[-tenth:]))
    return FineTuned(twin.codes(), _predictor(twin, student.net), ends, time.monotonic() - started)


class _GraphOutputs(nn.Module):
    """The exported graph's single output, as the losses take it."""

    def __init__(self, twin: FakeQuantized) -> None:
        super().__init__()
        self.twin = twin

    def forward(self, x: torch.Tensor) -> Outputs:
        return Outputs(self.twin(x))


def _job(
    student: Student, float_graph: Path, qdq: onnx.ModelProto, dataset: FaceDataset, config: QatConfig
) -> TrainJob:
    train, device = student.stage.train, torch.device("cpu")
    # the exported graph has one output, and there is no teacher per step
    unserved = {MAPS, TEACHER_PER_STEP}
    losses = {name: factor for name, factor in train.losses.items() if not unserved & set(TERMS[name].needs)}
    if not losses:
        message = f"--qat: of the losses ({', '.join(train.losses)}), none acts on the exported graph's output."
        raise PairError("--qat", message=message, remedy="Quantize without --qat.")
    torch.manual_seed(train.seed)
    twin = FakeQuantized(float_graph, qdq)
    spec = OptimizerSpec(
        lr=config.lr, weight_decay=0.0, steps=config.steps, warmup=round(WARMUP * config.steps),
        grad_clip=train.grad_clip,
    )  # fmt: skip
    state = TrainState(twin, _GraphOutputs(twin), spec, device)
    step = TrainStep(state, LandmarkObjective(losses, student.net.points), device)
    ranges = hashlib.sha256(json.dumps(twin.codes(), sort_keys=True).encode()).hexdigest()
    record = provenance(config.model_dump(mode="json"), seed=train.seed, data_hash=dataset.data_hash)
    record |= {"kind": KIND, "processes": 1, "checkpoint": student.checkpoint, "ranges": ranges}
    source = BatchSource(dataset, student.stage, device, student.predictions)
    return TrainJob(record, STAGE, source, step, config.steps, RULES)


def _predictor(twin: FakeQuantized, net: LandmarkNet) -> Callable[[np.ndarray], np.ndarray]:
    config = net.config
    metadata = model_metadata(config.input_size, config.margin, net.output_kind)

    @torch.inference_mode()
    def predict(crops: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(normalise(crops, metadata)).permute(0, 3, 1, 2)
        return from_norm(net.points(twin(x)).numpy(), config.input_size).astype(np.float32)

    return predict
