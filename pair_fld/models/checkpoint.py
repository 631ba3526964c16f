"""Checkpoints: full resume state, written atomically, loaded with weights_only=True."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from pair_fld.config import ModelConfig
from pair_fld.errors import PairError
from pair_fld.io import atomic_path
from pair_fld.models.landmark_net import LandmarkNet, build_model
from pair_fld.runtime.file_kind import known_error

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; the old file stays until the new one is whole."""
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, **state}, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `save_checkpoint`; PairError when it is missing, damaged or something else."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise PairError(path, "a checkpoint of pairfld", found, "Check the path, or train first.")
    if error := known_error(path):
        raise PairError(path, "a checkpoint of pairfld", error, "Copy it again, or train again.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # its own message advises to run what the file says
        found = "another or damaged file (not tensors and plain values alone)"
        raise PairError(path, "a checkpoint of pairfld", found, "Train again.") from None
    except Exception as error:  # damaged bytes make an unpickler raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PairError(
            path, "a checkpoint of pairfld", f"another or damaged file ({reason})", "Train again."
        ) from None
    if not isinstance(state, dict) or not isinstance(state.get("format"), int) or state["format"] != FORMAT:
        raise PairError(path, f"a pairfld checkpoint of format {FORMAT}", "another file", "Train again.")
    return state


def load_run(path: Path) -> dict[str, Any]:
    """Read a checkpoint that holds `ema` weights and the `record` (with its `config`) of a training run.

    Raises:
        PairError: as `load_checkpoint`, or a part is missing or of another type.
    """
    state = load_checkpoint(path)
    record = state.get("record")
    config = record.get("config") if isinstance(record, dict) else None
    fits = (
        isinstance(config, dict)
        and isinstance(state.get("ema"), dict)
        and all(isinstance(tensor, torch.Tensor) for tensor in state["ema"].values())
    )
    if not fits:
        raise PairError(path, "a checkpoint of a training run", "another file of pairfld", "Give best.pt or last.pt.")
    return state


def load_model(path: Path) -> tuple[LandmarkNet, dict[str, Any]]:
    """The network of a checkpoint with its EMA weights, in eval mode, and the checkpoint; raises as `load_run`."""
    state = load_run(path)
    try:
        config = ModelConfig.model_validate_json(json.dumps(state["record"]["config"].get("model")))
    except (ValidationError, TypeError, ValueError) as error:
        found = f"settings that make none ({' '.join(str(error).split())[:200]})"
        raise PairError(path, "a checkpoint with the settings of its net", found, "Train again.") from None
    model = build_model(config)
    load_weights(model, state["ema"], path)
    return model.eval(), state


def load_weights(model: LandmarkNet, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Put weights into a model; PairError when they belong to another architecture."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        expected = f"weights of {model.config.arch} {model.config.options or ''}".strip()
        remedy = "Use the configuration that the checkpoint was trained with."
        raise PairError(path, expected, f"those of another architecture ({first})", remedy) from None
