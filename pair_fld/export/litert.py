"""The heavier route to TFLite: Google's litert-torch converter, for architectures outside our own writer's set.

An optional extra of about 1 GB; float only.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any, Literal

import flatbuffers
import numpy as np
import torch
from torch import nn

from pair_fld.errors import PairError
from pair_fld.export.tflite.flatbuffer import IDENTIFIER, read_tflite, save_tflite, schema
from pair_fld.export.tflite.lowering import HEAVY_ROUTE

PRECISIONS: tuple[Literal["fp32"], Literal["fp16"]] = ("fp32", "fp16")
_HALF_MAX = 65504.0
_HALF_FROM = 64  # elements; smaller constants stay float32


class _ChannelsLast(nn.Module):
    """Takes (1, S, S, 3) and gives maps as (1, H, W, 51): the layout of all our .tflite files."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.module(x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1) if y.ndim == 4 else y


def write_with_litert(
    module: nn.Module,
    input_size: int,
    path: Path,
    metadata: dict[str, Any],
    precision: Literal["fp32", "fp16"] = "fp32",
    reason: str = "",
) -> None:
    """Convert a torch module in eval mode to a .tflite file of batch 1 with `metadata` behind it.

    precision: fp16 stores large constants as float16 inside the flatbuffer and computes in float32.
    reason: why our own writer will not do, for the message.

    Raises:
        PairError: litert-torch is not installed, or cannot convert the module.
    """
    litert_torch = require(path, reason)
    was_training = module.training
    example = (torch.zeros(1, input_size, input_size, 3),)
    try:
        with tempfile.TemporaryDirectory() as folder, _quiet():
            converted = Path(folder) / "converted.tflite"
            litert_torch.convert(_ChannelsLast(module).eval(), example).export(str(converted))
            flatbuffer = converted.read_bytes() if precision == "fp32" else _halved(read_tflite(converted))
    except Exception as error:  # the converter raises classes of its own that share no base but Exception
        cause = str(error).strip().splitlines() or [type(error).__name__]
        remedy = "Write the model with plain operators; see the message of litert_torch.convert."
        raise PairError(path, "a module that litert-torch can convert", cause[0][:300], remedy) from None
    finally:
        module.train(was_training)
    save_tflite(flatbuffer, path, metadata)


def require(path: Path, reason: str) -> Any:
    """The package litert_torch; PairError naming the operators (`reason`) and the extra when it is not installed."""
    try:
        with _quiet():
            import litert_torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        found = f"{reason or 'another architecture'}, and no litert-torch ({error})"
        raise PairError(path, "operators of the TFLite writer, or the litert extra", found, HEAVY_ROUTE) from None
    return litert_torch


def _halved(model: Any) -> bytes:
    """The flatbuffer with large float32 constants as float16 and a DEQUANTIZE (version 3) in front of their readers."""
    code: Any = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 3
    model.operatorCodes.append(code)
    for graph in model.subgraphs:
        restored = []
        for index, tensor in enumerate(list(graph.tensors)):
            data = model.buffers[tensor.buffer].data
            if tensor.type != schema.TensorType.FLOAT32 or data is None or len(data) < 4 * _HALF_FROM:
                continue
            values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32)
            buffer: Any = schema.BufferT()
            buffer.data = np.frombuffer(values.clip(-_HALF_MAX, _HALF_MAX).astype(np.float16).tobytes(), np.uint8)
            model.buffers.append(buffer)
            stored: Any = schema.TensorT()
            stored.name, stored.shape, stored.type = tensor.name, tensor.shape, schema.TensorType.FLOAT16
            stored.buffer, tensor.buffer = len(model.buffers) - 1, 0
            graph.tensors.append(stored)
            operator: Any = schema.OperatorT()
            operator.opcodeIndex = len(model.operatorCodes) - 1
            operator.inputs, operator.outputs = [len(graph.tensors) - 1], [index]
            operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
            operator.builtinOptions = schema.DequantizeOptionsT()
            restored.append(operator)
        graph.operators = [*restored, *graph.operators]
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or []}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


@contextlib.contextmanager
def _quiet():
    """The converter and what it imports talk about their own deprecations."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
