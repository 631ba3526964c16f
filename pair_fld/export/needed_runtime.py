"""The oldest runtime that a model file needs, by the operator versions in it."""

from __future__ import annotations

from pathlib import Path

from pair_fld.export.model_cost import operator_name
from pair_fld.export.onnx import load_onnx
from pair_fld.export.tflite.flatbuffer import read_tflite

# TensorFlow release in which a TFLite operator first had version 1, 2, 3, ...
_RELEASES = {
    "ADD": "1.5 1.14 2.4 2.6",
    "AVERAGE_POOL_2D": "1.5 1.14 2.3",
    "BATCH_MATMUL": "2.3 2.3 2.4 2.5",
    "BROADCAST_TO": "2.5 2.5 2.5",
    "CAST": "1.5 2.7 2.8 2.9 2.12",
    "CONCATENATION": "1.5 1.14 2.3",
    "CONV_2D": "1.5 1.14 1.14 2.3 2.4 2.9 2.11",
    "DEPTHWISE_CONV_2D": "1.5 1.12 1.14 2.2 2.3 2.3",
    "DEPTH_TO_SPACE": "2.1 2.5",
    "DEQUANTIZE": "1.13 1.14 1.15 2.2 2.7",
    "DIV": "1.6 2.3",
    "EXP": "1.7",
    "EXPAND_DIMS": "1.10",
    "FULLY_CONNECTED": "1.5 1.10 1.14 1.14 2.0 2.1 2.3 2.3 2.3 2.11",
    "GATHER": "1.6 1.14 1.15 2.4 2.5",
    "GELU": "2.9 2.9",
    "HARD_SWISH": "1.15",
    "LEAKY_RELU": "1.13 2.3",
    "LOGISTIC": "1.14 1.14 2.3",
    "MAXIMUM": "1.14 1.14 2.3 2.3",
    "MAX_POOL_2D": "1.5 1.14 2.3",
    "MEAN": "1.6 1.14 2.4",
    "MINIMUM": "1.14 1.14 2.3 2.3",
    "MUL": "1.5 1.14 1.15 2.3 2.6 2.11",
    "PACK": "1.11 1.14 2.3",
    "PAD": "1.5 1.14 2.4 2.6",
    "PADV2": "1.9 1.14 2.4 2.6",
    "PRELU": "1.8",
    "QUANTIZE": "1.14 1.15 2.7",
    "REDUCE_MAX": "1.11 1.14 2.5",
    "RELU": "1.5 2.1 2.5",
    "RELU6": "1.5 1.14 2.5",
    "RESHAPE": "1.5",
    "RESIZE_BILINEAR": "1.7 1.14 2.2 2.5",
    "RESIZE_NEAREST_NEIGHBOR": "1.13 1.14 2.3 2.4",
    "RSQRT": "1.10 2.5",
    "SHAPE": "1.10",
    "SLICE": "1.14 1.14 1.14 2.4 2.5",
    "SOFTMAX": "1.5 1.14 2.3",
    "SPLIT": "1.5 1.14 1.14 2.3",
    "SQRT": "1.5",
    "SQUARED_DIFFERENCE": "1.13 2.5",
    "SQUEEZE": "1.6 2.5",
    "STRIDED_SLICE": "1.6 1.14 2.1 2.2 2.5 2.6",
    "SUB": "1.6 1.14 2.3 2.4 2.4",
    "SUM": "1.10 1.15",
    "TANH": "1.14 1.14 2.3",
    "TRANSPOSE": "1.6 1.14 1.15 2.3 2.4 2.12",
    "TRANSPOSE_CONV": "1.9 2.2 2.3",
}

# The first runtime that was seen to find weights stored behind the flatbuffer; 2.11 "lacks data" for them.
_OUTSIDE = (2, 14)


def oldest_runtime(path: Path) -> str:
    """The oldest runtime for a file.

    "TFLite 1.14": the TensorFlow release that first had all its operator versions (and, where it has any, read weights
    outside the flatbuffer), "unknown" if one of them is not in our table. For ONNX the operator set, "opset 18".
    """
    if path.suffix.lower() == ".onnx":
        opsets = [entry.version for entry in load_onnx(path).opset_import if entry.domain in ("", "ai.onnx")]
        return f"opset {max(opsets)}" if opsets else "unknown"
    model = read_tflite(path)
    newest = _OUTSIDE if any((buffer.offset or 0) > 1 for buffer in model.buffers) else (1, 5)
    for code in model.operatorCodes:
        releases = _RELEASES.get(operator_name(code), "").split()
        if not 0 < code.version <= len(releases):
            return "unknown"
        major, minor = releases[code.version - 1].split(".")
        newest = max(newest, (int(major), int(minor)))
    return f"TFLite {newest[0]}.{newest[1]}"
