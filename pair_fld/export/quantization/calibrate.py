"""Activation ranges from calibration crops, and the static QDQ graph made with them."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.calibrate import create_calibrator

from pair_fld.errors import PairError
from pair_fld.export.onnx import load_onnx
from pair_fld.runtime.metadata import normalise

Method = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile")
PERCENTILE = 99.999
_BATCH = 8  # crops whose activations are in memory at once
_OPTIONS: dict[Method, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {"symmetric": False}),
    "entropy": (CalibrationMethod.Entropy, {"symmetric": False}),
    "percentile": (
        CalibrationMethod.Percentile,
        {"symmetric": False, "percentile": PERCENTILE, "num_bins": 8192},
    ),
}


class _CropReader(CalibrationDataReader):
    """Normalised NCHW batches of uint8 crops."""

    def __init__(self, name: str, crops: np.ndarray, metadata: dict[str, Any], batch: int) -> None:
        self._batches = (
            {name: np.ascontiguousarray(normalise(crops[i : i + batch], metadata).transpose(0, 3, 1, 2))}
            for i in range(0, len(crops), batch)
        )

    def get_next(self) -> Any:
        return next(self._batches, None)


def quantize_static_qdq(
    onnx_fp32: Path,
    calibration: np.ndarray,
    metadata: dict[str, Any],
    method: Method,
    codes: Mapping[str, tuple[float, int]] | None = None,
) -> onnx.ModelProto:
    """The QDQ graph: uint8 activations per tensor, symmetric int8 weights per output channel, int32 biases.

    The input's scale follows from the preprocessing, not from the crops: every grey level keeps its own code
    but for the two around the mean, and none falls on a rounding tie that runtimes would break differently.

    Args:
        codes: scale and uint8 zero point of every quantized value, as training found them; nothing is measured then.

    Raises:
        PairError: crops of another type, shape or number than the model and the method need.
    """
    _check(onnx_fp32, calibration, metadata, method)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "float.onnx", Path(folder) / "qdq.onnx"
        model = _prepared(load_onnx(onnx_fp32))
        onnx.save(model, str(source))
        name = model.graph.input[0].name
        overrides: dict[str, list[dict[str, Any]]]
        if codes is None:
            ranges = activation_ranges(source, calibration, metadata, method)
            overrides = {v: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for v, (low, high) in ranges.items()}
        else:
            overrides = {v: [_code(scale, zero)] for v, (scale, zero) in codes.items()}
        overrides[name] = [_input_codes(metadata)]
        quantize_static(
            source,
            target,
            _CropReader(name, calibration[:1], metadata, 1),  # the ranges are given; this only satisfies the interface
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"TensorQuantOverrides": overrides},
        )
        return onnx.load(str(target))


def activation_ranges(
    onnx_fp32: Path, crops: np.ndarray, metadata: dict[str, Any], method: Method
) -> dict[str, tuple[float, float]]:
    """(low, high) of every float activation over uint8 crops (N, S, S, 3), by ONNX Runtime's calibrators."""
    kind, options = _OPTIONS[method]
    batched = bool(load_onnx(onnx_fp32).graph.input[0].type.tensor_type.shape.dim[0].dim_param)
    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            onnx_fp32, None, str(Path(folder) / "augmented.onnx"), kind, extra_options=options
        )
        name = load_onnx(onnx_fp32).graph.input[0].name
        for start in range(0, len(crops), _BATCH):
            # one small batch at a time: the calibrators keep every activation of what they are given
            part = crops[start : start + _BATCH]
            calibrator.collect_data(_CropReader(name, part, metadata, _BATCH if batched else 1))
        data = calibrator.compute_data()
    ranges = {value: found.range_value for value, found in data.items()}
    return {value: (float(np.min(low)), float(np.max(high))) for value, (low, high) in ranges.items()}


def _check(path: Path, crops: np.ndarray, metadata: dict[str, Any], method: str) -> None:
    if method not in METHODS:
        raise PairError("calibration method", f"one of {', '.join(METHODS)}", repr(method), "Correct the name.")
    size = metadata["input"]["size"]
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (size, size, 3) or not len(crops):
        expected = f"calibration crops (N, {size}, {size}, 3) of uint8"
        remedy = "Cut them with the model's own crop size and margin."
        raise PairError(path, expected, f"{crops.shape} of {crops.dtype}", remedy)


def _input_codes(metadata: dict[str, Any]) -> dict[str, Any]:
    """Scale and zero point of the input: one code a grey level.

    With mean 127.5 the values lie half-way between codes; a scale larger by 1/1000 moves them off the tie.
    """
    mean, scale = metadata["input"]["mean"], 1 / metadata["input"]["std"]
    return _code(scale * 1.001, int(mean + 0.5))


def _code(scale: float, zero_point: int) -> dict[str, Any]:
    return {"scale": np.array(scale, np.float32), "zero_point": np.array(zero_point, np.uint8)}


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with inferred shapes in which a mean over the map is the pooling that 8-bit kernels know."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in copy.graph.initializer}
    for node in copy.graph.node:
        if node.op_type != "ReduceMean":
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        axes = constants.get(node.input[1]) if len(node.input) > 1 else attributes.get("axes")
        if axes is not None and sorted(int(a) % 4 for a in axes) == [2, 3] and attributes.get("keepdims", 1):
            node.op_type = "GlobalAveragePool"
            del node.attribute[:], node.input[1:]
    return onnx.shape_inference.infer_shapes(copy)


@contextmanager
def _quiet() -> Generator[None]:
    """ONNX Runtime's quantizer advises through the root logger, its calibrators print."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
