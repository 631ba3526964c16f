"""A read-only view of an ONNX graph, float or QDQ: constants, shapes, and which values are 8-bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from pair_fld.errors import PairError


@dataclass(frozen=True)
class Affine:
    """real = scale * (stored - zero_point), per tensor (one scale) or along `axis` (one scale a channel)."""

    scale: np.ndarray  # (1,) or (C,) float32
    zero_point: np.ndarray  # same shape, int64, in the range of the stored type
    axis: int | None = None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Affine)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
            and self.axis == other.axis
        )

    def broadcast(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero point shaped to work on an array of `rank` axes."""
        shape = [1] * rank
        if self.axis is not None:
            shape[self.axis] = -1
        return self.scale.reshape(shape), self.zero_point.reshape(shape)


def affine(scale: float, zero_point: int) -> Affine:
    """A quantization per tensor."""
    return Affine(np.array([scale], np.float32), np.array([zero_point], np.int64))


@dataclass(frozen=True)
class Constant:
    """A constant as stored (float32, float16, int8, uint8, int32, int64), and its quantization."""

    values: np.ndarray
    affine: Affine | None = None

    def real(self) -> np.ndarray:
        """Its value: float32 for quantized and half constants, otherwise as stored."""
        if self.affine is not None:
            scale, zero_point = self.affine.broadcast(self.values.ndim)
            return ((self.values.astype(np.int64) - zero_point) * scale).astype(np.float32)
        return self.values.astype(np.float32) if self.values.dtype == np.float16 else self.values

    def signed(self) -> Constant:
        """The same constant with unsigned storage moved to int8 (minus 128)."""
        if self.affine is None or self.values.dtype != np.uint8:
            return self
        values = (self.values.astype(np.int16) - 128).astype(np.int8)
        return Constant(values, Affine(self.affine.scale, self.affine.zero_point - 128, self.affine.axis))


@dataclass
class Node:
    """One ONNX operator."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)


class Graph:
    """An ONNX graph at batch 1.

    Attributes:
        nodes: in topological order, without nodes that only make constants.
        constants: by value name; a DequantizeLinear or Cast of a constant counts as that constant.
        shapes: by value name, NCHW.
        producer, consumers: by value name.
        inputs, outputs: names of the graph's computed inputs and its outputs.
    """

    def __init__(self, model: onnx.ModelProto, path: Path) -> None:
        self.path = path
        model = self._at_batch_one(model)
        graph = model.graph
        self.constants = {t.name: Constant(numpy_helper.to_array(t)) for t in graph.initializer}
        self.nodes: list[Node] = []
        for proto in graph.node:
            node = Node(proto.op_type, proto.name or proto.op_type, list(proto.input), list(proto.output), {})
            node.attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
            if not self._fold(node):
                self.nodes.append(node)
        self.inputs = [value.name for value in graph.input if value.name not in self.constants]
        self.outputs = [value.name for value in graph.output]
        self.producer = {name: node for node in self.nodes for name in node.outputs}
        self.consumers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                self.consumers.setdefault(name, []).append(node)
        self.shapes = {
            value.name: tuple(d.dim_value if d.HasField("dim_value") else 0 for d in value.type.tensor_type.shape.dim)
            for value in (*graph.value_info, *graph.input, *graph.output)
            if value.type.tensor_type.HasField("shape")
        }

    @property
    def input(self) -> str:
        """The one input; PairError when there are several."""
        return self._only(self.inputs, "input")

    @property
    def output(self) -> str:
        """The one output; PairError when there are several."""
        return self._only(self.outputs, "output")

    def _only(self, names: list[str], what: str) -> str:
        if len(names) != 1:
            raise PairError(self.path, f"one graph {what}", ", ".join(names) or "none", "Export a model with one.")
        return names[0]

    @staticmethod
    def _at_batch_one(model: onnx.ModelProto) -> onnx.ModelProto:
        """A copy whose dynamic leading axes are 1, with every shape inferred."""
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        del copy.graph.value_info[:]
        for value in copy.graph.input:
            for dim in value.type.tensor_type.shape.dim[:1]:
                dim.dim_value = dim.dim_value or 1
        for value in copy.graph.output:
            value.type.tensor_type.ClearField("shape")
        return onnx.shape_inference.infer_shapes(copy, data_prop=True)

    def _fold(self, node: Node) -> bool:
        """Take a node that only restates a constant into `constants`."""
        if node.op == "Constant":
            self.constants[node.outputs[0]] = Constant(_constant_value(node))
            return True
        source = self.constants.get(node.inputs[0]) if node.inputs else None
        if source is None:
            return False
        if node.op == "DequantizeLinear":
            axis = int(node.attributes.get("axis", 1)) % max(source.values.ndim, 1)
            self.constants[node.outputs[0]] = Constant(source.values, self._affine(node, axis))
        elif (node.op == "Cast" and source.values.dtype == np.float16) or node.op == "Identity":
            self.constants[node.outputs[0]] = source
        else:
            return False
        return True

    def _affine(self, node: Node, axis: int | None) -> Affine:
        if node.inputs[1] not in self.constants:
            remedy = "Quantize statically; dynamic ranges are not supported."
            raise PairError(self.path, f"a constant scale at node {node.name!r}", "a computed one", remedy)
        scale = np.atleast_1d(self.constants[node.inputs[1]].values).astype(np.float32)
        given = self.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
        zero = np.zeros(1, np.int64) if given is None else given.values
        zero_point = np.broadcast_to(np.atleast_1d(zero).astype(np.int64), scale.shape)
        return Affine(scale, zero_point, axis if scale.size > 1 else None)

    def shape(self, name: str) -> tuple[int, ...]:
        """The NCHW shape of a value; PairError when it cannot be inferred."""
        if name in self.constants:
            return self.constants[name].values.shape
        shape = self.shapes.get(name)
        if shape is None or any(size <= 0 for size in shape):
            remedy = "Export with fixed sizes but the batch."
            raise PairError(self.path, f"a known shape of {name!r}", str(shape or "none"), remedy)
        return shape

    def activation_affine(self, node: Node) -> Affine:
        """The int8 quantization of a QuantizeLinear or DequantizeLinear; unsigned zero points move by -128.

        Raises:
            PairError: per-channel activations, or a type other than 8 bits.
        """
        found = self._affine(node, None)
        if found.scale.size != 1:
            remedy = "Quantize activations per tensor."
            raise PairError(self.path, f"one scale at node {node.name!r}", f"{found.scale.size} scales", remedy)
        zero = self.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
        kind = np.dtype(np.uint8) if zero is None else zero.values.dtype
        if kind == np.int8:
            return found
        if kind == np.uint8:
            return Affine(found.scale, found.zero_point - 128)
        remedy = "Quantize activations to 8 bits."
        raise PairError(self.path, f"8-bit values at node {node.name!r}", str(kind), remedy)

    def int8_source(self, name: str) -> str | None:
        """The quantized value behind a dequantized one, None for a float value."""
        node = self.producer.get(name)
        return node.inputs[0] if node is not None and node.op == "DequantizeLinear" else None

    def int8_target(self, name: str) -> Node | None:
        """The QuantizeLinear that all consumers of a value share, None when it is wanted as float."""
        consumers = self.consumers.get(name, [])
        if name in self.outputs or not consumers or any(node.op != "QuantizeLinear" for node in consumers):
            return None
        first = self.activation_affine(consumers[0])
        return consumers[0] if all(self.activation_affine(node) == first for node in consumers) else None

    def only_consumer(self, name: str) -> Node | None:
        """The node that reads a value, if there is exactly one and the value is not the graph's output."""
        consumers = self.consumers.get(name, [])
        return consumers[0] if len(consumers) == 1 and name not in self.outputs else None

    def activations(self, node: Node) -> Iterable[str]:
        """Inputs of a node that are computed rather than constant."""
        return (name for name in node.inputs if name and name not in self.constants)


def _constant_value(node: Node) -> np.ndarray:
    for key, value in node.attributes.items():
        if key == "value":
            return numpy_helper.to_array(value)
        if key in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if key in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    return np.zeros(0, np.float32)
