"""Replace the metadata that a model file carries."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from pair_fld.export.onnx import load_onnx, save_onnx, set_metadata
from pair_fld.export.tflite.flatbuffer import save_tflite


def replace_metadata(path: Path, metadata: dict[str, Any]) -> None:
    """Give an .onnx or .tflite file of ours other metadata; weights and graph stay byte for byte."""
    if path.suffix.lower() == ".onnx":
        model = load_onnx(path)
        set_metadata(model, metadata)
        save_onnx(model, path)
        return
    with zipfile.ZipFile(path) as attached:
        end = min(entry.header_offset for entry in attached.infolist())
    save_tflite(path.read_bytes()[:end], path, metadata)
