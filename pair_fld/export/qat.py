"""Quantization-aware fine-tuning: a trained student learns to live with the rounding of its int8 file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from pair_fld.config import QatConfig, StageConfig
from pair_fld.data.pack import Pack
from pair_fld.errors import PairError
from pair_fld.export.fakequant import Codes, FakeQuantized
from pair_fld.export.onnx import load_onnx, save_onnx
from pair_fld.models import LandmarkNet, library
from pair_fld.runs import file_hash
from pair_fld.runtime.geometry import from_norm
from pair_fld.runtime.session import model_metadata, normalise
from pair_fld.train.batches import BatchSource, TeacherLabels
from pair_fld.train.losses import TERMS, Prediction
from pair_fld.train.stages import cached_answers, teacher_answers

WARMUP = 0.05  # of the steps


@dataclass(frozen=True)
class Trained:
    """What fine-tuning gives. simulated: crops (N, S, S, 3) uint8 to points (N, 51, 2) in crop pixels, by the torch
    graph that was trained. codes: scale and zero point of every quantized value of the file to write.
    losses: mean of the first and of the last tenth of the steps."""

    codes: dict[str, Codes]
    simulated: Callable[[np.ndarray], np.ndarray]
    losses: tuple[float, float]
    seconds: float


def stage_of(state: dict[str, Any]) -> StageConfig:
    """The configuration that a checkpoint was trained with."""
    return StageConfig.model_validate_json(json.dumps(state["record"]["config"]))


def answers_of(state: dict[str, Any], checkpoint: Path, pack: Pack, teacher: Path, cache: Path) -> TeacherLabels | None:
    """The teacher's answers that a student was trained with; None for a checkpoint that had no teacher.

    Raises:
        PairError: its answers on this data are not in `cache`, and `teacher` is missing or another one.
    """
    wanted = state["record"].get("teacher")
    if wanted is None:
        return None
    kept = cached_answers(wanted, pack, cache)
    if kept is not None:
        return kept
    found = file_hash(teacher) if teacher.is_file() else None
    if found != wanted:
        what = f"{teacher}, which is another one" if found else f"no file {teacher}"
        remedy = "Name it with --teacher, or quantize without --qat."
        raise PairError(checkpoint, f"its teacher (sha256 {wanted[:12]}...)", what, remedy)
    return teacher_answers(teacher, pack, cache)


def finetune(
    net: LandmarkNet,
    onnx_fp32: Path,
    qdq: onnx.ModelProto,
    stage: StageConfig,
    pack: Pack,
    teacher: TeacherLabels | None,
    config: QatConfig,
    out: Path,
    progress: Callable[[int, int, str], None] | None = None,
) -> Trained:
    """Train the exported graph with its rounding, with the losses and views of the student's own training.

    Args:
        net: the student, for its decoding. qdq: the post-training int8 graph of `onnx_fp32`: where values are rounded,
            and with which scales to start. stage: as the student was trained.
        out: gets the float ONNX file with the trained weights, to be quantized with `Trained.codes`.

    Raises:
        PairError: an operator without a twin in `FakeQuantized`, or losses that are not finite.
    """
    started = time.monotonic()
    torch.manual_seed(stage.train.seed)
    twin = FakeQuantized(onnx_fp32, qdq)
    source = BatchSource(pack, stage, torch.device("cpu"), teacher)
    optimizer = library.optimizer(twin, config.lr, 0.0)
    schedule = library.cosine(optimizer, config.steps, round(WARMUP * config.steps))
    history: list[float] = []
    for step, images, batch in source.batches(0, config.steps):
        schedule.step_update(step)
        raw = twin(images.contiguous(memory_format=torch.channels_last))
        prediction = Prediction(raw, net.points(raw), net.output_kind == "heatmap")
        loss = torch.stack([w * TERMS[name](prediction, batch) for name, w in stage.train.losses.items()]).sum()
        history.append(float(loss.detach()))
        if not np.isfinite(history[-1]):
            found = f"{history[-1]} at step {step}"
            raise PairError(onnx_fp32, "finite losses in --qat", found, "Lower quant.qat.lr.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), stage.train.grad_clip)
        optimizer.step()
        if progress is not None:
            progress(step + 1, config.steps, f"loss {np.mean(history[-20:]):.3f}")
    model = load_onnx(onnx_fp32)
    twin.store(model)
    save_onnx(model, out)
    tenth = max(1, len(history) // 10)
    losses = float(np.mean(history[:tenth])), float(np.mean(history[-tenth:]))
    return Trained(twin.codes(), _predictor(twin, net), losses, time.monotonic() - started)


def _predictor(twin: FakeQuantized, net: LandmarkNet) -> Callable[[np.ndarray], np.ndarray]:
    config = net.config
    metadata = model_metadata(config.input_size, config.margin, net.output_kind)

    @torch.inference_mode()
    def predict(crops: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(normalise(crops, metadata)).permute(0, 3, 1, 2)
        return from_norm(net.points(twin(x)).numpy(), config.input_size).astype(np.float32)

    return predict
