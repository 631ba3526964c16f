"""An exported graph in torch, with the rounding of its QDQ twin: what quantization-aware training trains.

The module runs the float ONNX graph node by node. Behind every value that the QDQ graph quantizes stands a fake
quantization of the same scale and zero point; weights are rounded per output channel, biases to int32 codes, as ONNX
Runtime's quantizer does. So what is trained is the file that will be written, not a model of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as F

from pair_fld.errors import PairError
from pair_fld.export.onnx_graph import Graph, Node
from pair_fld.export.parity import float_name

Codes = tuple[float, int]  # scale and zero point of a uint8 activation

_QMAX, _WMAX = 255, 127
_WEIGHTED = ("Conv", "Gemm")


class _RoundLearned(torch.autograd.Function):
    """Rounding to uint8 codes, straight through in x, with a gradient for the scale (LSQ, Esser et al., ICLR 2020)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        y = torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, _QMAX)
        ctx.save_for_backward(x, y, scale, zero)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        x, y, scale, zero = ctx.saved_tensors
        (grad,) = grads
        inside = (x >= (0 - zero - 0.5) * scale) & (x <= (_QMAX - zero + 0.5) * scale)
        # y = s * (round(x / s)) inside: dy/ds = (y - x) / s; y = s * (bound - zero) outside: dy/ds = y / s
        slope = torch.where(inside, y - x, y) / scale
        return grad * inside, (grad * slope).sum().reshape(scale.shape), None


class FakeQuantized(nn.Module):
    """See the module. `forward` takes (B, 3, S, S) as the ONNX file does and gives its output.

    Attributes:
        weights, biases: by the name of the node's output, floats of the float graph.
        stretch: by shared scale, the logarithm of the scale over what it started from; the input's scale is fixed, for
            it follows from the preprocessing.
    """

    def __init__(self, onnx_fp32: Path, qdq: onnx.ModelProto) -> None:
        super().__init__()
        self.graph = Graph(onnx.load(str(onnx_fp32)), onnx_fp32)
        twin = Graph(qdq, onnx_fp32)
        unknown = sorted({node.op for node in self.graph.nodes} - set(_OPERATORS) - set(_WEIGHTED))
        if unknown:
            known = ", ".join(sorted({*_OPERATORS, *_WEIGHTED}))
            remedy = "Use those, or post-training quantization (without --qat)."
            raise PairError(onnx_fp32, f"operators that --qat knows ({known})", ", ".join(unknown), remedy)
        self.weights, self.biases, self.stretch = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        self._key: dict[str, str] = {}  # value -> its scale's key
        self._start: dict[str, Codes] = {}  # key -> what it started from
        for node in twin.nodes:
            if node.op == "QuantizeLinear":
                self._add_scale(twin, node)
        for node in self.graph.nodes:
            if node.op in _WEIGHTED:
                self._add_weights(node)

    def _add_scale(self, twin: Graph, node: Node) -> None:
        value, key = float_name(node.inputs[0]), _plain(node.inputs[1])
        scale, zero = (twin.constants[name].values for name in node.inputs[1:3])
        self._key[value] = key
        if key not in self._start:
            self._start[key] = float(scale), int(zero)
            self.stretch[key] = nn.Parameter(torch.zeros(1), requires_grad=value != self.graph.input)
            self.register_buffer(f"scale_{key}", torch.tensor([float(scale)]))
            self.register_buffer(f"zero_{key}", torch.tensor([int(zero)], dtype=torch.int32))

    def _add_weights(self, node: Node) -> None:
        constants = [self.graph.constants.get(name) for name in node.inputs[1:3]]
        if any(c is None for c in constants):
            raise PairError(self.graph.path, "constant weights", f"computed ones at {node.name!r}", "Export again.")
        weight, *bias = (torch.from_numpy(np.array(c.real())) for c in constants if c is not None)
        key = _plain(node.outputs[0])
        if weight.ndim == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        elif not node.attributes.get("transB", 0):
            raise PairError(self.graph.path, "Gemm with transB", f"without, at {node.name!r}", "Export again.")
        self.weights[key] = nn.Parameter(weight)
        if bias:
            self.biases[key] = nn.Parameter(bias[0])

    def scale(self, value: str) -> torch.Tensor:
        """(1,) the present scale of a quantized value."""
        key = self._key[value]
        return getattr(self, f"scale_{key}") * torch.exp(self.stretch[key])

    def codes(self) -> dict[str, Codes]:
        """Scale and zero point of every quantized value, by its name in the float graph."""
        return {value: (float(self.scale(value).detach()), self._start[key][1]) for value, key in self._key.items()}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = {self.graph.input: self._rounded(self.graph.input, x)}
        for node in self.graph.nodes:
            if node.op in _WEIGHTED:
                result = self._weighted(node, values)
            else:
                inputs = [values[n] if n in values else self._constant(n, x) for n in node.inputs if n]
                result = _OPERATORS[node.op](node, self.graph, inputs)
            values[node.outputs[0]] = self._rounded(node.outputs[0], result)
        return values[self.graph.output]

    def _rounded(self, value: str, x: torch.Tensor) -> torch.Tensor:
        if value not in self._key:
            return x
        zero = getattr(self, f"zero_{self._key[value]}")
        return _RoundLearned.apply(x, self.scale(value), zero)  # type: ignore[return-value]

    def _constant(self, name: str, like: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.array(self.graph.constants[name].real())).to(like.device)

    def _weighted(self, node: Node, values: dict[str, torch.Tensor]) -> torch.Tensor:
        key, x = _plain(node.outputs[0]), values[node.inputs[0]]
        weight = self.weights[key]
        others = tuple(range(1, weight.ndim))
        largest = weight.detach().abs().amax(dim=others)
        scale = torch.where(largest > 0, largest, torch.ones_like(largest)) / _WMAX
        zeros = torch.zeros_like(scale, dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -_WMAX, _WMAX)
        bias = self.biases.get(key)
        if bias is not None and node.inputs[0] in self._key:
            step = (self.scale(node.inputs[0]) * scale).detach()
            bias = bias + (torch.round(bias.detach() / step) * step - bias.detach())
        if node.op == "Gemm":
            return F.linear(x, weight, bias)
        pads = node.attributes.get("pads", [0, 0, 0, 0])
        if pads[:2] != pads[2:]:
            x, pads = F.pad(x, (pads[1], pads[3], pads[0], pads[2])), [0, 0]
        return F.conv2d(
            x, weight, bias, list(node.attributes.get("strides", [1, 1])), list(pads[:2]),
            list(node.attributes.get("dilations", [1, 1])), int(node.attributes.get("group", 1)),
        )  # fmt: skip

    def store(self, model: onnx.ModelProto) -> None:
        """Put the trained floats into a copy of the float graph's file."""
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in self.graph.nodes:
            key = _plain(node.outputs[0])
            for name, held in zip(node.inputs[1:3], (self.weights, self.biases), strict=False):
                if node.op in _WEIGHTED and key in held:
                    trained = held[key].detach().cpu().contiguous().numpy().astype(np.float32)
                    tensors[name].CopyFrom(numpy_helper.from_array(trained, name))


def _plain(name: str) -> str:
    """A name that torch takes as a key."""
    return name.replace(".", "__").replace("/", "_s_")


def _clip(node: Node, graph: Graph, x: list[torch.Tensor]) -> torch.Tensor:
    bounds = {i: float(graph.constants[n].real()) for i, n in enumerate(node.inputs) if i and n}
    return x[0].clamp(bounds.get(1), bounds.get(2))


def _reshape(node: Node, graph: Graph, x: list[torch.Tensor]) -> torch.Tensor:
    return x[0].reshape(len(x[0]), *graph.shape(node.outputs[0])[1:])


def _resize(node: Node, graph: Graph, x: list[torch.Tensor]) -> torch.Tensor:
    if node.attributes.get("mode", b"nearest") != b"nearest":
        found = f"{node.attributes['mode']!r} at {node.name!r}"
        raise PairError(graph.path, "resizing to the nearest neighbour", found, "Quantize without --qat.")
    return F.interpolate(x[0], size=graph.shape(node.outputs[0])[2:], mode="nearest")


def _concat(node: Node, graph: Graph, x: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat(x, int(node.attributes["axis"]))


def _pooled(node: Node, graph: Graph, x: list[torch.Tensor]) -> torch.Tensor:
    return x[0].mean((2, 3), keepdim=True)


_OPERATORS: dict[str, Callable[[Node, Graph, list[torch.Tensor]], torch.Tensor]] = {
    "Add": lambda node, graph, x: x[0] + x[1],
    "Clip": _clip,
    "Concat": _concat,
    "Flatten": _reshape,
    "GlobalAveragePool": _pooled,
    "Identity": lambda node, graph, x: x[0],
    "Mul": lambda node, graph, x: x[0] * x[1],
    "Relu": lambda node, graph, x: F.relu(x[0]),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda node, graph, x: torch.sigmoid(x[0]),
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
}
