"""Quantization-aware fine-tuning: a trained student learns to live with the rounding of its int8 file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from pair_fld.config import QatConfig, StageConfig, read_recorded
from pair_fld.data.dataset import Pack
from pair_fld.errors import PairError
from pair_fld.export.onnx import load_onnx, save_onnx
from pair_fld.export.quantization.fake_quant import Codes, FakeQuantized
from pair_fld.models import LandmarkNet
from pair_fld.models import timm_compat as library
from pair_fld.models.heads import Outputs
from pair_fld.runtime.geometry import from_norm
from pair_fld.runtime.metadata import model_metadata, normalise
from pair_fld.train.batches import BatchSource
from pair_fld.train.loss_terms import MAPS, TEACHER_PER_STEP, TERMS, Prediction
from pair_fld.train.predict_dataset import LandmarkPredictions
from pair_fld.train.teacher_predictions import cached_predictions, teacher_id, teacher_predictions

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
    return read_recorded(StageConfig, state["record"]["config"])


def predictions_of(
    state: dict[str, Any], checkpoint: Path, pack: Pack, teachers: Sequence[Path], cache: Path
) -> LandmarkPredictions | None:
    """The teacher's answers that a student was trained with; None for a checkpoint that had no teacher.

    Raises:
        PairError: its answers on this data are not in `cache`, and a teacher is missing or another one.
    """
    wanted = state["record"].get("teacher")
    if wanted is None:
        return None
    views = stage_of(state).distill.teacher_views
    kept = cached_predictions(wanted, pack, cache, views)
    if kept is not None:
        return kept
    missing = [str(path) for path in teachers if not path.is_file()]
    if missing or teacher_id(teachers) != wanted:
        named = ", ".join(map(str, teachers))
        what = f"no file {', '.join(missing)}" if missing else f"{named}, which is another one"
        remedy = "Name it with --teacher, or quantize without --qat."
        raise PairError(checkpoint, f"its teacher (sha256 {wanted[:12]}...)", what, remedy)
    return teacher_predictions(teachers, pack, cache, views=views)


def finetune(
    net: LandmarkNet,
    onnx_fp32: Path,
    qdq: onnx.ModelProto,
    stage: StageConfig,
    pack: Pack,
    teacher: LandmarkPredictions | None,
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
        PairError: an operator without a twin in `FakeQuantized`, losses that are not finite, or only losses that need
            more than the graph's output.
    """
    started = time.monotonic()
    # the exported graph has one output, and no teacher looks on
    losses = {
        name: w for name, w in stage.train.losses.items() if not {MAPS, TEACHER_PER_STEP} & set(TERMS[name].needs)
    }
    if not losses:
        found = f"only {', '.join(stage.train.losses)}"
        raise PairError("--qat", "a loss that the exported graph's output serves", found, "Quantize without --qat.")
    torch.manual_seed(stage.train.seed)
    twin = FakeQuantized(onnx_fp32, qdq)
    source = BatchSource(pack, stage, torch.device("cpu"), teacher)
    optimizer = library.optimizer(twin, config.lr, 0.0)
    schedule = library.cosine(optimizer, config.steps, round(WARMUP * config.steps))
    history: list[float] = []
    for step, images, batch in source.batches(0, config.steps):
        schedule.step_update(step)
        raw = twin(images.contiguous(memory_format=torch.channels_last))
        prediction = Prediction(Outputs(raw), net.points(raw))
        loss = torch.stack([w * TERMS[name](prediction, batch) for name, w in losses.items()]).sum()
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
    ends = float(np.mean(history[:tenth])), float(np.mean(history[-tenth:]))
    return Trained(twin.codes(), _predictor(twin, net), ends, time.monotonic() - started)


def _predictor(twin: FakeQuantized, net: LandmarkNet) -> Callable[[np.ndarray], np.ndarray]:
    config = net.config
    metadata = model_metadata(config.input_size, config.margin, net.output_kind)

    @torch.inference_mode()
    def predict(crops: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(normalise(crops, metadata)).permute(0, 3, 1, 2)
        return from_norm(net.points(twin(x)).numpy(), config.input_size).astype(np.float32)

    return predict
