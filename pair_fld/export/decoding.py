"""Decoding inside the graph: a float tail behind a model's raw outputs that gives plain coordinates.

For an app that wants no code of ours. The tail is soft-argmax as `runtime.codec` defines it, from operators that every
TFLite has: softmax, products with constants, sums, a square root. The layers before it stay as they are, int8 or float.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pair_fld.errors import PairError
from pair_fld.runtime.codec import cell_centres
from pair_fld.runtime.metadata import POINTS_KIND
from pair_fld.runtime.scheme import NUM_POINTS

OUTPUT = "points"


def with_decoding(model: onnx.ModelProto, metadata: Mapping[str, Any]) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A copy of a model that ends in coordinates, and its metadata.

    Its one output "points" is (batch, 51, 3) float32: x, y and the deviation along one axis, all in pixels of the crop;
    (batch, 51, 2) without the deviation for a model of plain coordinates, which has none.

    Args:
        model: float or QDQ, with one output as metadata["output"]["kind"] says.

    Raises:
        PairError: the model decodes already, or its output has no fixed size.
    """
    kind, size = metadata["output"]["kind"], int(metadata["input"]["size"])
    if kind == POINTS_KIND:
        raise PairError("model", "raw outputs to decode", "coordinates", "Decode the model as it was exported.")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tail = _Tail(copy, size)
    raw = copy.graph.output[0].name
    if kind == "coords":
        columns = [tail.pixels(tail.reshaped(raw, [-1, 2]))]
    else:
        columns = tail.moments(*(_heatmap(tail, raw) if kind == "heatmap" else _simcc(tail, raw)))
    joined = tail.node("Concat", columns, axis=1) if len(columns) > 1 else columns[0]
    width = 2 if kind == "coords" else 3
    tail.node("Reshape", [joined, tail.constant([-1, NUM_POINTS, width], np.int64)], output=OUTPUT)
    del copy.graph.output[:]
    shape = ["batch", NUM_POINTS, width]
    copy.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))
    onnx.checker.check_model(copy)
    return copy, {**metadata, "output": {"kind": POINTS_KIND, "decoded": kind}}


class _Tail:
    """Appends float nodes to a graph."""

    def __init__(self, model: onnx.ModelProto, size: int) -> None:
        self.graph, self.size, self.count = model.graph, size, 0
        inferred = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape.dim
        self.output_shape = [dim.dim_value for dim in inferred][1:]

    def node(self, op: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """The name of the new node's value."""
        self.count += 1
        name = f"decode_{self.count}_{op.lower()}"
        self.graph.node.append(helper.make_node(op, inputs, [output or name], name, **attributes))
        return output or name

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """The name of a new constant."""
        self.count += 1
        name = f"decode_{self.count}_constant"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def reshaped(self, value: str, shape: list[int]) -> str:
        return self.node("Reshape", [value, self.constant(shape, np.int64)])

    def expectation(self, weights: str, values: np.ndarray) -> str:
        """Rows of weights (R, N) times `values` (N,), summed: (R, 1)."""
        product = self.node("Mul", [weights, self.constant(values[None])])
        return self.node("ReduceSum", [product, self.constant([1], np.int64)], keepdims=1)

    def pixels(self, norm: str) -> str:
        """Normalised coordinates to crop pixels: `geometry.from_norm`."""
        scaled = self.node("Mul", [norm, self.constant([[self.size / 2]])])
        return self.node("Add", [scaled, self.constant([[(self.size - 1) / 2]])])

    def moments(self, mean: str, square: str) -> list[str]:
        """Of mean and mean square, (R, 2) normalised: points (R, 2) and deviation (R, 1), crop pixels."""
        negative = self.node("Mul", [self.node("Mul", [mean, mean]), self.constant([[-1.0]])])
        variance = self.node("Add", [square, negative])
        half = self.expectation(variance, np.full(2, 0.5 * (self.size / 2) ** 2))
        deviation = self.node("Sqrt", [self.node("Relu", [half])])
        return [self.pixels(mean), deviation]


def _heatmap(tail: _Tail, raw: str) -> tuple[str, str]:
    """Mean and mean square (51 B, 2) of heatmap logits (B, 51, H, W)."""
    _, height, width = _fixed(tail, 3)
    weights = tail.node("Softmax", [tail.reshaped(raw, [-1, height * width])], axis=-1)
    x, y = np.tile(cell_centres(width), height), np.repeat(cell_centres(height), width)
    first = tail.node("Concat", [tail.expectation(weights, x), tail.expectation(weights, y)], axis=1)
    return first, tail.node("Concat", [tail.expectation(weights, x**2), tail.expectation(weights, y**2)], axis=1)


def _simcc(tail: _Tail, raw: str) -> tuple[str, str]:
    """Mean and mean square (51 B, 2) of SimCC logits (B, 51, 2 L)."""
    bins = _fixed(tail, 2)[1] // 2
    weights = tail.node("Softmax", [tail.reshaped(raw, [-1, bins])], axis=-1)  # rows: x and y of each point in turn
    grid = cell_centres(bins)
    first, second = tail.expectation(weights, grid), tail.expectation(weights, grid**2)
    return tail.reshaped(first, [-1, 2]), tail.reshaped(second, [-1, 2])


def _fixed(tail: _Tail, axes: int) -> list[int]:
    shape = tail.output_shape
    if len(shape) != axes or not all(shape):
        raise PairError("model", f"an output of {axes} fixed axes beside the batch", f"{shape}", "Export it again.")
    return shape
