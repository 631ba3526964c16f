"""ONNX (float or QDQ) to TFLite without TensorFlow: one graph, written out a second time.

Layout: values of four axes are NHWC in the TFLite file (NCHW in ONNX), all others keep their ONNX layout. So
a `coords` output (1, 51, 2) is the same in both files and a `heatmap` output (1, 51, H, W) becomes
(1, H, W, 51).

An operator between DequantizeLinear inputs and a QuantizeLinear output becomes one int8 operator; unsigned
zero points move by -128. What stays float in the QDQ graph stays float here, behind DEQUANTIZE and QUANTIZE.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pair_fld.export.onnx import load_onnx
from pair_fld.export.onnx_graph import Graph, Node, affine
from pair_fld.export.tflite import ops as lower_ops
from pair_fld.export.tflite import ops_conv as lower_conv
from pair_fld.export.tflite.flatbuffer import save_tflite
from pair_fld.export.tflite.lowering import Lowering

_WRITERS: dict[str, Callable[[Lowering, Node], None]] = {
    "Add": lower_ops.binary,
    "AveragePool": lower_ops.pool,
    "Clip": lower_ops.activation,
    "Concat": lower_ops.concat,
    "Conv": lower_conv.conv,
    "DepthToSpace": lower_ops.depth_to_space,
    "DequantizeLinear": lambda w, node: None,  # written when somebody wants the float value
    "Dropout": lower_ops.alias,
    "Flatten": lower_ops.reshape,
    "Gemm": lower_conv.gemm,
    "GlobalAveragePool": lower_ops.mean,
    "HardSigmoid": lower_ops.hard_sigmoid,
    "HardSwish": lower_ops.hard_swish,
    "Identity": lower_ops.alias,
    "MatMul": lower_conv.gemm,
    "MaxPool": lower_ops.pool,
    "Mul": lower_ops.binary,
    "QuantizeLinear": lower_ops.quantize,
    "ReduceMean": lower_ops.mean,
    "ReduceSum": lower_ops.row_sum,
    "Relu": lower_ops.activation,
    "Reshape": lower_ops.reshape,
    "Resize": lower_ops.resize,
    "Sigmoid": lower_ops.sigmoid,
    "Softmax": lower_ops.softmax,
    "Sqrt": lower_ops.sqrt,
    "Squeeze": lower_ops.reshape,
    "Unsqueeze": lower_ops.reshape,
}


def write_tflite(
    onnx_path: Path,
    out_path: Path,
    metadata: dict[str, Any],
    input_dtype: Literal["float32", "uint8"] = "float32",
) -> None:
    """Write the graph of an ONNX file as a .tflite file of batch 1 with `metadata` behind it.

    input_dtype: `float32` takes what the ONNX file takes, as (1, S, S, 3); `uint8` takes the raw crop, and
    the file does the preprocessing that metadata["input"] states. In an int8 graph that costs no float
    operator; a mean of 127.5 lies between two codes, so that grey levels are then off by at most one half.

    Raises:
        PairError: an operator outside the writer's set, by name and node, with the heavier route.
    """
    graph = Graph(load_onnx(onnx_path), onnx_path)
    w = Lowering(graph, sorted(set(_WRITERS) - {"Identity", "Dropout"}))
    if unknown := _unknown(graph):
        w.refuse(unknown)
    source = _float_input(w) if input_dtype == "float32" else _raw_input(w, metadata)
    for node in graph.nodes:
        if id(node) not in w.fused:
            _WRITERS[node.op](w, node)
    flatbuffer = w.flat.finish({"input": source}, {"output": w.value(graph.output)})
    save_tflite(flatbuffer, out_path, metadata)


def unknown_operators(onnx_path: Path) -> str:
    """The operators of an ONNX file that `write_tflite` does not know, each with a node; empty when it knows all."""
    return _unknown(Graph(load_onnx(onnx_path), onnx_path))


def _unknown(graph: Graph) -> str:
    found = {node.op: node.name for node in graph.nodes if node.op not in _WRITERS}
    return ", ".join(f"{op} (node {name!r})" for op, name in sorted(found.items()))


def _float_input(w: Lowering) -> int:
    name = w.graph.input
    w.index[name] = w.flat.tensor("input", w.shape(name), np.float32)
    return w.index[name]


def _raw_input(w: Lowering, metadata: dict[str, Any]) -> int:
    """A uint8 input that the file normalises itself: by its zero point in an int8 graph, else in float."""
    name = w.graph.input
    mean, scale, shape = metadata["input"]["mean"], 1 / metadata["input"]["std"], w.shape(name)
    target = w.graph.int8_target(name)
    if target is not None:
        raw = w.flat.tensor("input", shape, np.uint8, affine(scale, int(mean + 0.5)))
        quantized = w.int8_tensor(target.outputs[0], shape, w.graph.activation_affine(target))
        w.flat.operator("QUANTIZE", [raw], [quantized], 1, "QuantizeOptions")
        w.index |= {twin.outputs[0]: quantized for twin in w.graph.consumers[name]}
        return raw
    raw = w.flat.tensor("input", shape, np.uint8, affine(scale, 0))
    scaled = w.flat.tensor("input_scaled", shape, np.float32)
    w.flat.operator("DEQUANTIZE", [raw], [scaled], 1, "DequantizeOptions")
    w.index[name] = w.flat.tensor("input_normalised", shape, np.float32)
    offset = w.flat.constant("input_offset", np.array([-mean * scale], np.float32))
    w.flat.operator("ADD", [scaled, offset], [w.index[name]], 1, "AddOptions")
    return raw
