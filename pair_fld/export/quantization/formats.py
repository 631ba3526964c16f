"""One float ONNX file to every wanted precision, each as ONNX and as TFLite from the same graph.

fp32: as exported. fp16: weights stored as float16, computed in float. int8-weights: weights stored as int8
with one scale per output channel, computed in float. int8-static: weights and activations int8, ranges
measured on calibration crops; the one QDQ graph is written in both formats.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pair_fld.errors import PairError
from pair_fld.export.decoding import with_decoding
from pair_fld.export.onnx import get_metadata, load_onnx, save_onnx, set_metadata
from pair_fld.export.quantization.calibrate import METHODS, Method, quantize_static_qdq
from pair_fld.export.tflite.writer import write_tflite

Precision = Literal["fp32", "fp16", "int8-static", "int8-weights"]
Format = Literal["onnx", "tflite"]
Decode = Literal["runtime", "in-graph"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8-static", "int8-weights")
_WEIGHTED = ("Conv", "Gemm", "MatMul")
_HALF_MAX = 65504.0


@dataclass(frozen=True)
class QuantizedFile:
    """A file that `quantize` wrote.

    Attributes:
        method: of calibration; None where nothing was calibrated.
        raw: of a file that decodes in its graph, the file with the same layers and raw outputs; else None.
    """

    precision: Precision
    format: Format
    path: Path
    method: Method | None
    raw: Path | None = None


@dataclass(frozen=True)
class MethodChoice:
    """Calibration methods by measured score, lower is better."""

    method: Method
    scores: dict[Method, float]


def quantize(
    onnx_fp32: Path,
    out_dir: Path,
    calibration: np.ndarray,
    precisions: Sequence[Precision] = PRECISIONS,
    *,
    method: Method = "minmax",
    formats: Sequence[Format] = ("onnx", "tflite"),
    tflite_input: Literal["float32", "uint8"] = "float32",
    codes: Mapping[str, tuple[float, int]] | None = None,
    facts: Mapping[str, Any] | None = None,
    decode: Decode = "runtime",
) -> list[QuantizedFile]:
    """Write STEM-PRECISION.onnx and .tflite into `out_dir`, in the order of `precisions`.

    The metadata of each file gains "quantization": its precision, and for int8-static the calibration method, number
    and sha256 of the crops, and `facts`.

    Args:
        onnx_fp32: a float32 file with metadata.
        out_dir: where the files are written.
        calibration: (N, S, S, 3) uint8 BGR crops of the training split, cropped as at test time; only int8-static
            reads them.
        precisions: of the files.
        method: of calibration.
        formats: of the files.
        tflite_input: type of the .tflite files' input.
        codes: scale and zero point of every quantized value, see `quantize_static_qdq`; None measures them.
        facts: further entries for the metadata of int8-static files.
        decode: `in-graph` writes each file a second time as STEM-PRECISION-in-graph, see `export.decoding`.

    Raises:
        PairError: no metadata in the ONNX file, unsuitable crops, an operator unknown to the TFLite writer.
    """
    model = load_onnx(onnx_fp32)
    metadata = get_metadata(model)
    if not metadata:
        remedy = "Export it with pairfld, or quantize with the tool that made it."
        raise PairError(onnx_fp32, "an ONNX file with pair_fld metadata", "none", remedy)
    if (own := precision_of(metadata, onnx_fp32)) not in (None, "fp32"):
        raise PairError(onnx_fp32, "a float32 model", str(own), "Give the float32 file.")
    written = []
    for precision in precisions:
        record: dict[str, Any] = {"precision": precision}
        if precision == "int8-static":
            record |= {"method": method, **calibration_facts(calibration), **(facts or {})}
            quantized = quantize_static_qdq(onnx_fp32, calibration, metadata, method, codes)
        else:
            quantized = _store(model, precision)
        path = out_dir / f"{onnx_fp32.stem}-{precision}.onnx"
        about = metadata | {"quantization": record}
        raw = _write(quantized, path, about, formats, tflite_input, precision, method)
        written += raw
        if decode == "in-graph":
            decoded, about = with_decoding(quantized, about)
            path = path.with_name(f"{path.stem}-in-graph.onnx")
            files = _write(decoded, path, about, formats, tflite_input, precision, method)
            written += [replace(file, raw=same.path) for file, same in zip(files, raw, strict=True)]
    return written


def precision_of(metadata: Mapping[str, Any], path: Path | str) -> str | None:
    """The precision that a file's metadata states; None for a float file as exported.

    Raises:
        PairError: the file is of a version that called it kind.
    """
    record = metadata.get("quantization")
    if record is None:
        return None
    if "precision" not in record:
        message = f"{path}: the metadata key quantization.kind is now called quantization.precision."
        raise PairError(path, message=message, remedy="Quantize the checkpoint again.")
    return record["precision"]


def _write(
    model: onnx.ModelProto,
    path: Path,
    metadata: dict[str, Any],
    formats: Sequence[Format],
    tflite_input: Literal["float32", "uint8"],
    precision: Precision,
    method: Method,
) -> list[QuantizedFile]:
    used = method if precision == "int8-static" else None
    set_metadata(model, metadata)
    written = []
    if "onnx" in formats:
        save_onnx(model, path)
        written.append(QuantizedFile(precision, "onnx", path, used))
    if "tflite" in formats:
        target = path.with_name(path.name.removesuffix(".onnx") + ".tflite")
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / path.name
            save_onnx(model, source)
            write_tflite(source, target, metadata, tflite_input)
        written.append(QuantizedFile(precision, "tflite", target, used))
    return written


def choose_method(
    onnx_fp32: Path,
    calibration: np.ndarray,
    score: Callable[[Path], float],
    methods: Sequence[Method] = METHODS,
) -> MethodChoice:
    """Quantize with each calibration method and keep the best by `score` (of an .onnx path, lower is better).

    The crops that `score` measures on must be neither the test set nor the calibration crops.
    """
    scores: dict[Method, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for method in methods:
            files = quantize(
                onnx_fp32,
                Path(folder) / method,
                calibration,
                ["int8-static"],
                method=method,
                formats=["onnx"],
            )
            scores[method] = float(score(files[0].path))
    return MethodChoice(min(scores, key=lambda name: scores[name]), scores)


def calibration_facts(crops: np.ndarray) -> dict[str, Any]:
    """What a file says of its calibration crops: how many, and the sha256 of their bytes in order."""
    return {
        "calibration_images": len(crops),
        "calibration_sha256": hashlib.sha256(np.ascontiguousarray(crops).tobytes()).hexdigest(),
    }


def _store(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """A copy whose weight matrices are stored as float16 or int8 and restored to float32 before use."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if precision == "fp32":
        return copy
    graph = copy.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    restored: list[onnx.NodeProto] = []
    done: dict[str, str] = {}
    for node in graph.node:
        name = node.input[1] if node.op_type in _WEIGHTED else ""
        if name not in tensors:
            continue
        if name not in done:
            axis = 1 if node.op_type == "MatMul" or (node.op_type == "Gemm" and not _attribute(node, "transB")) else 0
            stored, nodes = (_half if precision == "fp16" else _int8)(tensors[name], axis)
            graph.initializer.remove(tensors[name])
            graph.initializer.extend(stored)
            restored += nodes
            done[name] = nodes[-1].output[0]
        node.input[1] = done[name]
    operators = [*restored, *graph.node]
    del graph.node[:]
    graph.node.extend(operators)
    return copy


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), 0)


def _half(tensor: onnx.TensorProto, _axis: int) -> tuple[list[onnx.TensorProto], list[onnx.NodeProto]]:
    values = numpy_helper.to_array(tensor).clip(-_HALF_MAX, _HALF_MAX).astype(np.float16)
    stored = numpy_helper.from_array(values, f"{tensor.name}_fp16")
    node = helper.make_node(
        "Cast", [stored.name], [f"{tensor.name}_float"], f"{tensor.name}_cast", to=TensorProto.FLOAT
    )
    return [stored], [node]


def _int8(tensor: onnx.TensorProto, axis: int) -> tuple[list[onnx.TensorProto], list[onnx.NodeProto]]:
    values = numpy_helper.to_array(tensor)
    others = tuple(i for i in range(values.ndim) if i != axis)
    largest = np.abs(values).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(127)
    stored = [
        numpy_helper.from_array(np.rint(values / scale).clip(-127, 127).astype(np.int8), f"{tensor.name}_int8"),
        numpy_helper.from_array(scale.ravel(), f"{tensor.name}_scale"),
        numpy_helper.from_array(np.zeros(scale.size, np.int8), f"{tensor.name}_zero"),
    ]
    names = [t.name for t in stored]
    return stored, [
        helper.make_node("DequantizeLinear", names, [f"{tensor.name}_float"], f"{tensor.name}_restore", axis=axis)
    ]
