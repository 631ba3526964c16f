"""TFLite flatbuffers: a small builder on the published schema, and a reader."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from pair_fld.errors import PairError
from pair_fld.export.onnx_graph import Affine
from pair_fld.io import atomic_path
from pair_fld.runtime.file_kind import known_error
from pair_fld.runtime.metadata import METADATA_FILE

try:
    from ai_edge_litert import schema_py_generated as schema
except ImportError as error:  # pragma: no cover
    raise PairError(
        "TFLite", "the package ai-edge-litert", f"none ({error})", "Install it: pip install ai-edge-litert."
    ) from None

IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3
_ALIGNMENT = 16  # of constant data; the schema asks for it and kernels may load whole vectors

_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int32): schema.TensorType.INT32,
}
TYPE_NAMES = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
OPERATOR_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


class _CompactBuilder(flatbuffers.Builder):
    """Aligns byte vectors as the schema asks, which Python's generated code ignores, and writes equal ones once.

    The zero points of int8 weights and biases are 16 bytes a channel, all of them zero: sharing them takes an
    eighth off the size of an int8 student.
    """

    def __init__(self, initial_size: int) -> None:
        super().__init__(initial_size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            if x.dtype == np.uint8:
                self.Prep(_ALIGNMENT, x.nbytes)
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]


class FlatBuilder:
    """Collects tensors and operators of one subgraph; tensors are referred to by index."""

    def __init__(self) -> None:
        self.model: Any = schema.ModelT()
        self.model.version = _SCHEMA_VERSION
        self.model.description = "pair_fld"
        self.model.buffers = [schema.BufferT()]  # buffer 0 is by convention empty
        self.model.operatorCodes = []
        self.graph: Any = schema.SubGraphT()
        self.graph.name, self.graph.tensors, self.graph.operators = "main", [], []
        self.model.subgraphs = [self.graph]
        self._codes: dict[tuple[str, int], int] = {}

    def tensor(self, name: str, shape: tuple[int, ...], dtype: Any, affine: Affine | None = None) -> int:
        """A computed tensor."""
        tensor: Any = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), _TYPES[np.dtype(dtype)], 0
        if affine is not None:
            quantization: Any = schema.QuantizationParametersT()
            tensor.quantization = quantization
            quantization.scale = affine.scale.astype(np.float32)
            quantization.zeroPoint = affine.zero_point.astype(np.int64)
            quantization.quantizedDimension = affine.axis or 0
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, values: np.ndarray, affine: Affine | None = None) -> int:
        """A tensor whose data lies in the flatbuffer itself (old runtimes know no outside buffers)."""
        values = np.ascontiguousarray(values)
        index = self.tensor(name, values.shape, values.dtype, affine)
        buffer: Any = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The shape of a tensor."""
        return tuple(int(size) for size in self.graph.tensors[tensor].shape)

    def operator(
        self,
        name: str,
        inputs: list[int],
        outputs: list[int],
        version: int = 1,
        kind: str = "",
        **options: Any,
    ) -> None:
        """An operator; `kind` names its option table, e.g. "Conv2DOptions", `options` fill it."""
        operator: Any = schema.OperatorT()
        operator.opcodeIndex = self._code(name, version)
        operator.inputs, operator.outputs = inputs, outputs
        if kind:
            table: Any = getattr(schema, kind + "T")()
            for key, value in options.items():
                assert hasattr(table, key), (kind, key)
                setattr(table, key, value)
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = table
        self.graph.operators.append(operator)

    def _code(self, name: str, version: int) -> int:
        if (name, version) not in self._codes:
            code: Any = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)  # what runtimes before 2.4 read
            code.version = version
            self.model.operatorCodes.append(code)
            self._codes[name, version] = len(self.model.operatorCodes) - 1
        return self._codes[name, version]

    def finish(self, inputs: dict[str, int], outputs: dict[str, int]) -> bytes:
        """The flatbuffer, without operators and tensors that no output needs."""
        self.graph.inputs, self.graph.outputs = list(inputs.values()), list(outputs.values())
        signature: Any = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs = [_named(name, index) for name, index in inputs.items()]
        signature.outputs = [_named(name, index) for name, index in outputs.items()]
        self.model.signatureDefs = [signature]
        self._drop_unused()
        builder = _CompactBuilder(1 << 16)
        builder.Finish(self.model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _drop_unused(self) -> None:
        needed = set(self.graph.outputs)
        kept = []
        for operator in reversed(self.graph.operators):
            if needed & set(operator.outputs):
                needed |= set(operator.inputs)
                kept.append(operator)
        self.graph.operators = kept[::-1]
        needed |= set(self.graph.inputs)
        tensors = [index for index in range(len(self.graph.tensors)) if index in needed]
        buffers = [0, *(b for i in tensors if (b := self.graph.tensors[i].buffer))]
        codes = sorted({operator.opcodeIndex for operator in kept})
        place = {old: new for new, old in enumerate(tensors)}
        for operator in kept:
            operator.inputs = [place[i] for i in operator.inputs]
            operator.outputs = [place[i] for i in operator.outputs]
            operator.opcodeIndex = codes.index(operator.opcodeIndex)
        for entry in (*self.model.signatureDefs[0].inputs, *self.model.signatureDefs[0].outputs):
            entry.tensorIndex = place[entry.tensorIndex]
        self.graph.inputs = [place[i] for i in self.graph.inputs]
        self.graph.outputs = [place[i] for i in self.graph.outputs]
        self.graph.tensors = [self.graph.tensors[i] for i in tensors]
        for tensor in self.graph.tensors:
            tensor.buffer = buffers.index(tensor.buffer)
        self.model.buffers = [self.model.buffers[b] for b in buffers]
        self.model.operatorCodes = [self.model.operatorCodes[c] for c in codes]


def _named(name: str, index: int) -> Any:
    entry: Any = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


def save_tflite(flatbuffer: bytes, path: Path, metadata: dict[str, Any]) -> None:
    """Write a flatbuffer with the metadata in a zip behind it, whole or not at all, reproducibly."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(flatbuffer)
        with zipfile.ZipFile(temporary, "a") as attached:
            attached.writestr(zipfile.ZipInfo(METADATA_FILE, (1980, 1, 1, 0, 0, 0)), json.dumps(metadata))


def read_tflite(path: Path) -> Any:
    """The `ModelT` of a .tflite file; PairError when it is missing or no TFLite file."""
    try:
        if error := known_error(path):
            raise PairError(path, "a TFLite file", error, "Copy it again, or export it again.")
        data = path.read_bytes()
    except OSError as error:
        raise PairError(path, "a TFLite file", error.strerror or "none", "Check the path.") from None
    try:
        if data[4:8] != IDENTIFIER:
            raise ValueError("no TFL3 identifier")
        return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    except (ValueError, TypeError, IndexError, struct.error) as error:
        raise PairError(path, "a TFLite file", f"truncated or damaged ({error})", "Export it again.") from None
