"""From checkpoints to model files: ONNX, TFLite, int8, held together by parity checks."""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.export.metadata import replace_metadata
    from pair_fld.export.model_cost import ModelCost
    from pair_fld.export.needed_runtime import oldest_runtime
    from pair_fld.export.onnx import export_onnx, get_metadata, load_onnx, save_onnx, set_metadata
    from pair_fld.export.parity import Deviation, LayerNoise, compare, layer_snr

__all__ = [
    "Deviation",
    "LayerNoise",
    "ModelCost",
    "compare",
    "export_onnx",
    "get_metadata",
    "layer_snr",
    "load_onnx",
    "oldest_runtime",
    "replace_metadata",
    "save_onnx",
    "set_metadata",
]

__getattr__ = attach(
    __name__,
    {
        "metadata": ["replace_metadata"],
        "model_cost": ["ModelCost"],
        "needed_runtime": ["oldest_runtime"],
        "onnx": ["export_onnx", "get_metadata", "load_onnx", "save_onnx", "set_metadata"],
        "parity": ["Deviation", "LayerNoise", "compare", "layer_snr"],
    },
)
