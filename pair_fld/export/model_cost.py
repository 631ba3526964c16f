"""What a model file costs: multiply-adds, parameters, size, operators by data type; any .onnx or .tflite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pair_fld.errors import PairError
from pair_fld.export.onnx import external_files, load_onnx
from pair_fld.export.onnx_graph import Graph, Node
from pair_fld.export.tflite.flatbuffer import OPERATOR_NAMES, TYPE_NAMES, read_tflite

HEAVY = frozenset(
    [
        "Conv",
        "ConvInteger",
        "QLinearConv",
        "FusedConv",
        "ConvTranspose",
        "Gemm",
        "QGemm",
        "MatMul",
        "MatMulInteger",
        "QLinearMatMul",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "TRANSPOSE_CONV",
        "FULLY_CONNECTED",
        "BATCH_MATMUL",
    ]
)
_STORED = ("float32", "float16", "bfloat16", "float64", "int8", "uint8", "int16", "int4", "uint4")
_BIASED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# ONNX inputs that describe an operator rather than take part in it
_SETTINGS = {"QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "Resize": (1, 2), "Clip": (1, 2)} | {
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
}


@dataclass(frozen=True)
class ModelCost:
    """Cost of one run of a model, at batch 1.

    macs: multiply-adds of convolutions and matrix products. params: their weights and biases and other
    constants that take part in the arithmetic, however stored; scales, zero points and shapes do not count.
    ops: operators by (name in the file's own format, type of data). An ONNX operator between DequantizeLinear
    and QuantizeLinear counts as int8; a float TFLite operator with int8 weights as "hybrid".
    """

    macs: int
    params: int
    size_bytes: int
    ops: dict[tuple[str, str], int]

    @property
    def gflops(self) -> float:
        """2 x multiply-adds / 10^9."""
        return 2 * self.macs / 1e9

    @property
    def size_mb(self) -> float:
        """File size, external data included, 10^6 bytes."""
        return self.size_bytes / 1e6

    def heavy_not_int8(self) -> dict[tuple[str, str], int]:
        """Convolutions and matrix products that are not 8-bit: empty for a full-int8 file."""
        return {key: n for key, n in self.ops.items() if key[0] in HEAVY and key[1] not in ("int8", "uint8")}

    def to_json(self) -> dict[str, Any]:
        """Plain values; operators as {"CONV_2D int8": 12}."""
        ops = {f"{op} {kind}": n for (op, kind), n in self.ops.items()}
        return {
            "macs": self.macs,
            "gflops": self.gflops,
            "params": self.params,
            "size_mb": self.size_mb,
            "ops": ops,
        }


def model_cost(path: Path, dynamic: int = 0) -> ModelCost:
    """The cost of an .onnx or .tflite file at batch 1.

    Args:
        dynamic: what an unknown axis of an ONNX input, the batch excepted, is taken for; 0 refuses such a file.

    Raises:
        PairError: another kind of file, a damaged one, or shapes that cannot be inferred.
    """
    if path.suffix.lower() == ".onnx":
        macs, params, ops = _count_onnx(path, dynamic)
    elif path.suffix.lower() == ".tflite":
        macs, params, ops = _count_tflite(path)
    else:
        raise PairError(path, "an .onnx or .tflite file", path.suffix or "no suffix", "Export the checkpoint first.")
    return ModelCost(macs, params, stored_bytes(path), dict(ops.most_common()))


def stored_bytes(path: Path) -> int:
    """Bytes of a model file, and of the files beside it in which an .onnx keeps weights; PairError as `count`."""
    beside = external_files(path) if path.suffix.lower() == ".onnx" else []
    return sum(file.stat().st_size for file in (path, *beside))


def _count_onnx(path: Path, dynamic: int) -> tuple[int, int, Counter[tuple[str, str]]]:
    model = load_onnx(path)
    for value in model.graph.input if dynamic else ():
        for dim in value.type.tensor_type.shape.dim[1:]:
            dim.dim_value = dim.dim_value or dynamic
    graph = Graph(model, path)
    types = {v.name: _type_name(v.type.tensor_type.elem_type) for v in (*model.graph.value_info, *model.graph.output)}
    types |= {name: str(constant.real().dtype) for name, constant in graph.constants.items()}
    typed = onnx.shape_inference.infer_shapes(model)
    types |= {v.name: _type_name(v.type.tensor_type.elem_type) for v in typed.graph.value_info}
    macs, ops = 0, Counter()
    for node in graph.nodes:
        ops[node.op, _onnx_type(graph, node, types)] += 1
        macs += _onnx_macs(graph, node)
    settings = {
        name
        for node in model.graph.node
        for place in _SETTINGS.get(node.op_type, ())
        for name in node.input[place : place + 1]
    }
    params = 0
    for tensor in model.graph.initializer:
        # int32 is stored for biases only; other integers are shapes and axes (int64)
        stored = _type_name(tensor.data_type) in (*_STORED, "int32")
        size = int(np.prod(tensor.dims))
        params += size if stored and size > 1 and tensor.name not in settings else 0
    return macs, params, ops


def _type_name(element: int) -> str:
    """numpy's name of an ONNX element type."""
    names: dict[int, str] = {onnx.TensorProto.UNDEFINED: "unknown", onnx.TensorProto.FLOAT: "float32"}
    names[onnx.TensorProto.DOUBLE] = "float64"
    return names.get(element) or onnx.TensorProto.DataType.Name(element).lower()


def _onnx_type(graph: Graph, node: Node, types: dict[str, str]) -> str:
    if node.op == "QuantizeLinear":
        return "int8"
    if node.op in ("ConvInteger", "MatMulInteger"):
        return "int8"
    dequantized = [graph.int8_source(name) is not None for name in graph.activations(node)]
    readers = graph.consumers.get(_after_activation(graph, node), [])
    if dequantized and all(dequantized) and readers and all(r.op == "QuantizeLinear" for r in readers):
        weights = graph.constants.get(node.inputs[1]) if node.op in HEAVY and len(node.inputs) > 1 else None
        if weights is None or weights.affine is not None:
            return "int8"
    return types.get(node.outputs[0], "unknown")


def _after_activation(graph: Graph, node: Node) -> str:
    """The value that an operator ends in, an activation behind it counted as its own."""
    follower = graph.only_consumer(node.outputs[0])
    return follower.outputs[0] if follower is not None and follower.op in ("Relu", "Clip") else node.outputs[0]


def _onnx_macs(graph: Graph, node: Node) -> int:
    if node.op not in HEAVY:
        return 0
    if node.op in ("Conv", "FusedConv", "ConvInteger", "QLinearConv"):
        weights = graph.shape(node.inputs[3 if node.op == "QLinearConv" else 1])
        return _product(graph.shape(node.outputs[0])) * _product(weights[1:])
    if node.op == "ConvTranspose":
        return _product(graph.shape(node.inputs[0])) * _product(graph.shape(node.inputs[1])[1:])
    left = graph.shape(node.inputs[0])
    inner = left[-2] if node.attributes.get("transA") else left[-1]
    return _product(graph.shape(node.outputs[0])) * inner


def _count_tflite(path: Path) -> tuple[int, int, Counter[tuple[str, str]]]:
    model = read_tflite(path)
    macs, params, ops = 0, 0, Counter()
    for graph in model.subgraphs:
        biases: set[int] = set()
        for operator in graph.operators:
            name = operator_name(model.operatorCodes[operator.opcodeIndex])
            operands = [graph.tensors[i] for i in operator.inputs if i >= 0]
            results = [graph.tensors[i] for i in operator.outputs]
            ops[name, _tflite_type(name, operands, results)] += 1
            macs += _tflite_macs(path, name, operands, results)
            if name in _BIASED and len(operator.inputs) > 2:
                biases.add(operator.inputs[2])
        params += sum(_sizes(model, graph, biases))
    return macs, params, ops


def operator_name(code: Any) -> str:
    """TFLite's name of a model's operator code, "unknown" for one that is not in its schema."""
    return OPERATOR_NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "unknown")


def _tflite_type(name: str, operands: list[Any], results: list[Any]) -> str:
    first = operands[0] if name in HEAVY and operands else results[0] if results else None
    kind = TYPE_NAMES.get(first.type, "unknown") if first is not None else "unknown"
    if name in HEAVY and kind == "float32" and len(operands) > 1 and TYPE_NAMES.get(operands[1].type) == "int8":
        return "hybrid"
    return kind


def _tflite_macs(path: Path, name: str, operands: list[Any], results: list[Any]) -> int:
    if name not in HEAVY:
        return 0
    left, right = _shape(path, operands[0]), _shape(path, operands[1])
    result = _product(_shape(path, results[0]))
    if name == "CONV_2D":
        return result * _product(right[1:])
    if name == "DEPTHWISE_CONV_2D":
        return result * right[1] * right[2]
    if name == "TRANSPOSE_CONV":  # operands: output shape, weights (out, h, w, in), value
        return _product(_shape(path, operands[2])) * _product(right[:3])
    return result * (right[-1] if name == "FULLY_CONNECTED" else left[-1])


def _shape(path: Path, tensor: Any) -> list[int]:
    shape = [int(size) for size in (tensor.shape if tensor.shape is not None else [])]
    if any(size <= 0 for size in shape):
        raise PairError(path, f"a fixed shape of {_text(tensor.name)!r}", str(shape), "Export it with fixed sizes.")
    return shape


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _sizes(model: Any, graph: Any, biases: set[int]) -> Iterator[int]:
    """Elements of each constant that takes part in the arithmetic, shared data once."""
    seen = set()
    for index, tensor in enumerate(graph.tensors):
        buffer = model.buffers[tensor.buffer]
        filled = (buffer.data is not None and len(buffer.data)) or getattr(buffer, "size", 0)
        size = _product(tensor.shape if tensor.shape is not None else [])
        stored = TYPE_NAMES.get(tensor.type) in _STORED or index in biases
        if filled and stored and size > 1 and tensor.buffer not in seen:
            seen.add(tensor.buffer)
            yield size


def _product(sizes: Any) -> int:
    return int(np.prod([int(size) for size in sizes], dtype=np.int64))
