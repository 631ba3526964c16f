"""The state of writing one ONNX graph as TFLite: which tensor a value became, in which layout and type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from pair_fld.errors import PairError
from pair_fld.export.onnx_graph import Affine, Graph, Node
from pair_fld.export.tflite.flatbuffer import FlatBuilder, schema

HEAVY_ROUTE = (
    "Use only those, or convert this architecture by the heavier litert-torch route: pip install 'pair_fld[litert]'."
)
NHWC = (0, 2, 3, 1)  # axes of an NCHW value in NHWC order
NCHW = (0, 3, 1, 2)  # and back
AXIS_IN_NHWC = (0, 3, 1, 2)  # where axis i of NCHW went

# Versions that the TFLite runtime asks for by type of the data: float, int8. Beside these only DEQUANTIZE is
# written in other versions: 3 for float16 weights (TensorFlow 1.15), 5 for per-channel int8 weights (2.7).
_VERSIONS = {
    "ADD": (1, 2),
    "AVERAGE_POOL_2D": (1, 2),
    "CONCATENATION": (1, 2),
    "CONV_2D": (1, 3),
    "DEPTH_TO_SPACE": (1, 1),
    "DEPTHWISE_CONV_2D": (1, 3),
    "HARD_SWISH": (1, 1),
    "LOGISTIC": (1, 2),
    "MAX_POOL_2D": (1, 2),
    "MEAN": (1, 2),
    "MUL": (1, 2),
    "PAD": (1, 2),
    "PADV2": (1, 2),
    "RELU": (1, 2),
    "RELU6": (1, 2),
    "RESHAPE": (1, 1),
    "RESIZE_NEAREST_NEIGHBOR": (1, 2),
    "SOFTMAX": (1, 2),
    "SQRT": (1, 1),
    "SUM": (1, 2),
    "TRANSPOSE": (1, 2),
}


class Lowering:
    """What the operator writers share.

    Attributes:
        graph: the ONNX graph. flat: the flatbuffer in the making.
        index: tensor of an ONNX value; a float value and the quantized one behind it are two values.
        affine: quantization of the int8 tensors.
        fused: ids of activation nodes that are built into the operator before them.
        known: ONNX operators that can be written, for messages.
    """

    def __init__(self, graph: Graph, known: list[str]) -> None:
        self.graph, self.known = graph, known
        self.flat = FlatBuilder()
        self.index: dict[str, int] = {}
        self.affine: dict[int, Affine] = {}
        self.fused: set[int] = set()

    @staticmethod
    def layout(shape: tuple[int, ...]) -> tuple[int, ...]:
        """An ONNX shape in this file's layout."""
        return tuple(shape[axis] for axis in NHWC) if len(shape) == 4 else tuple(shape)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an ONNX value in this file's layout."""
        return self.layout(self.graph.shape(name))

    def value(self, name: str) -> int:
        """The tensor of an ONNX value, dequantized when the file has it as int8 only."""
        if name in self.index:
            return self.index[name]
        if name in self.graph.constants:
            raise PairError(self.graph.path, "computed values", f"the constant {name!r}", "Simplify the graph first.")
        source = self.graph.int8_source(name)
        assert source is not None, name
        self.index[name] = self.flat.tensor(name, self.shape(name), np.float32)
        self.flat.operator("DEQUANTIZE", [self.index[source]], [self.index[name]], 2, "DequantizeOptions")
        return self.index[name]

    def int8_tensor(self, name: str, shape: tuple[int, ...], affine: Affine) -> int:
        """A computed int8 tensor."""
        index = self.flat.tensor(name, shape, np.int8, affine)
        self.affine[index] = affine
        return index

    def is_int8(self, node: Node, result: str) -> bool:
        """Whether a node lies between dequantized inputs and a quantized output, constants included."""
        for name in node.inputs[:2] if node.op in ("Conv", "Gemm", "MatMul") else node.inputs:
            constant = self.graph.constants.get(name)
            floating = constant is not None and constant.affine is None and constant.values.dtype.kind == "f"
            if floating and node.op not in ("Resize", "Clip"):
                return False
        sources = [self.graph.int8_source(name) for name in self.graph.activations(node)]
        return bool(sources) and all(sources) and self.graph.int8_target(result) is not None

    def operands(self, node: Node, int8: bool) -> list[int]:
        """The tensors of a node's computed inputs."""
        if int8:
            return [self.index[str(self.graph.int8_source(name))] for name in self.graph.activations(node)]
        return [self.value(name) for name in self.graph.activations(node)]

    def result(self, name: str, int8: bool) -> int:
        """Declare the tensor that a node writes: the float value, or the quantized one behind it."""
        shape = self.shape(name)
        if not int8:
            self.index[name] = self.flat.tensor(name, shape, np.float32)
            return self.index[name]
        target = self.graph.int8_target(name)
        assert target is not None
        index = self.int8_tensor(name, shape, self.graph.activation_affine(target))
        for twin in self.graph.consumers[name]:
            self.index[twin.outputs[0]] = index
        return index

    def emit(self, name: str, inputs: list[int], outputs: list[int], kind: str = "", **options: Any) -> None:
        """An operator in the version that its data type asks for."""
        int8 = outputs[0] in self.affine
        self.flat.operator(name, inputs, outputs, _VERSIONS[name][int8], kind, **options)

    def like(self, tensor: int, name: str, shape: tuple[int, ...]) -> int:
        """A new tensor of the type and quantization of another."""
        if tensor in self.affine:
            return self.int8_tensor(name, shape, self.affine[tensor])
        return self.flat.tensor(name, shape, np.float32)

    def requantize(self, tensor: int, affine: Affine, name: str) -> int:
        """The int8 tensor itself, or a copy under another scale and zero point."""
        if tensor not in self.affine or self.affine[tensor] == affine:
            return tensor
        target = self.int8_tensor(name, self.flat.shape(tensor), affine)
        self.flat.operator("QUANTIZE", [tensor], [target], 1, "QuantizeOptions")
        return target

    def same_scale(self, source: int, result: int, emit: Callable[[int], None]) -> None:
        """Run an operator whose int8 kernel keeps the scale; requantize behind it if the graph does."""
        if source not in self.affine or self.affine[source] == self.affine[result]:
            emit(result)
            return
        tensor = self.flat.graph.tensors[result]
        before = self.like(source, f"{tensor.name}_unscaled", tuple(tensor.shape))
        emit(before)
        self.flat.operator("QUANTIZE", [before], [result], 1, "QuantizeOptions")

    def activation_kind(self, node: Node) -> str | None:
        """RELU or RELU6 for a node that computes it."""
        if node.op == "Relu":
            return "RELU"
        if node.op != "Clip":
            return None
        low, high = (
            float(self.graph.constants[name].real().reshape(())) if name in self.graph.constants else default
            for name, default in zip((*node.inputs[1:3], "", "")[:2], (-np.inf, np.inf), strict=True)
        )
        return {(0.0, 6.0): "RELU6", (0.0, np.inf): "RELU"}.get((low, high))

    def fuse(self, node: Node) -> tuple[str, int]:
        """The value a node ends in and the activation to build in, if its only reader is RELU or RELU6."""
        follower = self.graph.only_consumer(node.outputs[0])
        kind = self.activation_kind(follower) if follower is not None else None
        if follower is None or kind is None:
            return node.outputs[0], schema.ActivationFunctionType.NONE
        self.fused.add(id(follower))
        return follower.outputs[0], getattr(schema.ActivationFunctionType, kind)

    def refuse(self, found: str) -> NoReturn:
        """Refuse what the writer does not know, naming the heavier route."""
        expected = f"operators of the TFLite writer ({', '.join(self.known)})"
        raise PairError(self.graph.path, expected, found, HEAVY_ROUTE)

    def refuse_node(self, node: Node, what: str) -> NoReturn:
        """Refuse one node."""
        self.refuse(f"{node.op} with {what} (node {node.name!r})")

    def reshaped(self, source: int, shape: tuple[int, ...], name: str) -> int:
        """A copy under another shape."""
        target = self.like(source, name, shape)
        self.reshape_into(source, target)
        return target

    def reshape_into(self, source: int, target: int) -> None:
        """RESHAPE one tensor into another."""
        tensor = self.flat.graph.tensors[target]
        shape = list(self.flat.shape(target))
        size = self.flat.constant(f"{tensor.name}_shape", np.array(shape, np.int32))
        self.emit("RESHAPE", [source, size], [target], "ReshapeOptions", newShape=shape)
