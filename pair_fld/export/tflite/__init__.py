"""Writing TFLite files from ONNX graphs, without TensorFlow."""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.export.tflite.flatbuffer import read_tflite, save_tflite
    from pair_fld.export.tflite.writer import unknown_operators, write_tflite

__all__ = ["read_tflite", "save_tflite", "unknown_operators", "write_tflite"]

__getattr__ = attach(
    __name__,
    {
        "flatbuffer": ["read_tflite", "save_tflite"],
        "writer": ["unknown_operators", "write_tflite"],
    },
)
