"""Checkpoints: full resume state, written atomically, loaded with weights_only=True."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch

from pair_fld.config import ModelConfig
from pair_fld.errors import PairError
from pair_fld.io import atomic_path
from pair_fld.models.landmark_net import LandmarkNet, build_model

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; the old file stays until the new one is whole."""
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, **state}, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `save_checkpoint`; PairError when it is missing, damaged or something else."""
    if not path.is_file():
        raise PairError(path, "a checkpoint of pairfld", "no such file", "Check the path, or train first.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as fault:
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise PairError(
            path, "a checkpoint of pairfld", f"another or damaged file ({reason})", "Train again."
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise PairError(path, f"a pairfld checkpoint of format {FORMAT}", "another file", "Train again.")
    return state


def load_model(path: Path) -> tuple[LandmarkNet, dict[str, Any]]:
    """The network of a checkpoint with its EMA weights, in eval mode, and the checkpoint itself."""
    state = load_checkpoint(path)
    if not {"record", "ema"} <= set(state):
        raise PairError(path, "a checkpoint of a training run", "another file of pairfld", "Give best.pt or last.pt.")
    model = build_model(ModelConfig.model_validate_json(json.dumps(state["record"]["config"]["model"])))
    load_weights(model, state["ema"], path)
    return model.eval(), state


def load_weights(model: LandmarkNet, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Put weights into a model; PairError when they belong to another architecture."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as fault:
        first = str(fault).splitlines()[1].strip() if "\n" in str(fault) else str(fault)
        expected = f"weights of {model.config.arch} {model.config.options or ''}".strip()
        remedy = "Use the configuration that the checkpoint was trained with."
        raise PairError(path, expected, f"those of another architecture ({first})", remedy) from None
