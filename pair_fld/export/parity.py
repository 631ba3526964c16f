"""How far apart two versions of a model are, and which layer is to blame."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pair_fld.errors import PairError
from pair_fld.export.onnx import get_metadata, load_onnx
from pair_fld.export.onnx_graph import Graph
from pair_fld.runtime.metadata import normalise
from pair_fld.runtime.session import load_model, read_metadata

Predict = Callable[[np.ndarray], np.ndarray]
Runner = Callable[[np.ndarray], list[np.ndarray]]  # a batch to the inner values asked for
_BATCH = 16


@dataclass(frozen=True)
class Deviation:
    """Distances of the points of two models on the same crops, in crop pixels."""

    reference: str
    other: str
    mean_px: float
    max_px: float
    crop: int  # where the largest distance is
    point: int


@dataclass(frozen=True)
class LayerNoise:
    """How well a value survives quantization: at 20 dB its error is a tenth of it, at 40 dB a hundredth.

    The error includes what arrived from the layers before; the layer to act on is where it first drops.
    """

    layer: str  # name of the ONNX node
    op: str
    value: str  # name of its output
    snr_db: float
    max_error: float  # in the unit of the value
    position: int  # in the order of computation


def compare(models: Mapping[str, Path | Predict], crops: np.ndarray) -> list[Deviation]:
    """Every model against the first one on uint8 BGR crops (N, S, S, 3).

    A model is a file of ours, or a callable from crops to points (N, 51, 2) in crop pixels (a torch module
    behind an adapter).

    Raises:
        PairError: fewer than two models, no crops, or a file that cannot be opened.
    """
    if len(models) < 2 or not len(crops):
        raise PairError("comparison", "two models and a crop, or more", f"{len(models)} and {len(crops)}", "Name more.")
    points = {name: _predictor(model)(crops) for name, model in models.items()}
    (reference, expected), *others = points.items()
    return [_deviation(reference, expected, name, found) for name, found in others]


def _predictor(model: Path | Predict) -> Predict:
    if not isinstance(model, Path):
        return model
    try:
        return load_model(model).predict
    except (ValueError, OSError) as error:
        raise PairError(model, "a model file of pairfld", str(error), "Export it with pairfld.") from None


def _deviation(reference: str, expected: np.ndarray, other: str, found: np.ndarray) -> Deviation:
    if expected.shape != found.shape:
        raise PairError(
            other, f"points {expected.shape} as {reference} gives", f"{found.shape}", "Compare like models."
        )
    distance = np.linalg.norm(np.asarray(found, np.float64) - expected, axis=-1)  # (N, 51)
    distance = np.where(np.isfinite(distance), distance, np.inf)
    crop, point = np.unravel_index(int(distance.argmax()), distance.shape)
    return Deviation(reference, other, float(distance.mean()), float(distance.max()), int(crop), int(point))


def layer_snr(onnx_fp32: Path, other: Path, crops: np.ndarray) -> list[LayerNoise]:
    """Signal-to-noise ratio of every value that both files compute, worst first, on crops (N, S, S, 3).

    Values are matched by their ONNX name, which quantization and the TFLite writer keep; those of a QDQ graph are taken
    behind their DequantizeLinear, those of a TFLite file dequantized.

    Args:
        other: an .onnx (float or QDQ) or .tflite made from the float file.

    Raises:
        PairError: files that share no value (the other one was made from another float file).
    """
    float_model = load_onnx(onnx_fp32)
    float_graph = Graph(float_model, onnx_fp32)
    if other.suffix.lower() == ".tflite":
        pairs, run_other = _tflite_values(float_graph, other)
    else:
        other_model = load_onnx(other)
        pairs = _shared_values(float_graph, Graph(other_model, other))
        run_other = _runner(other_model, [pair[1] for pair in pairs])
    if not pairs:
        remedy = "Give the float file that the other file was made from."
        raise PairError(other, f"the values of {onnx_fp32.name}", "none of them", remedy)
    metadata = get_metadata(float_model) or read_metadata(other)
    signal, noise, worst = (np.zeros(len(pairs)) for _ in range(3))
    run_float = _runner(float_model, [pair[0] for pair in pairs])
    for start in range(0, len(crops), _BATCH):
        x = normalise(crops[start : start + _BATCH], metadata).transpose(0, 3, 1, 2)
        for i, (a, b) in enumerate(zip(run_float(x), run_other(x), strict=True)):
            signal[i] += float(np.square(a, dtype=np.float64).sum())
            noise[i] += float(np.square(a - b, dtype=np.float64).sum())
            worst[i] = max(worst[i], float(np.abs(a - b).max()))
    table = []
    for i, (value, _) in enumerate(pairs):
        snr_db = float("inf") if noise[i] == 0 else float(10 * np.log10(max(signal[i], 1e-30) / noise[i]))
        node = float_graph.producer.get(value)
        layer, op = (node.name, node.op) if node else ("input", "-")
        table.append(LayerNoise(layer, op, value, snr_db, float(worst[i]), i))
    return sorted(table, key=lambda row: row.snr_db)


def _shared_values(float_graph: Graph, other: Graph) -> list[tuple[str, str]]:
    """(value of the float graph, the same in the other graph), in the order of computation.

    In a QDQ graph that is the dequantized value; in a float one (weights alone stored in fewer bits) the value itself.
    """
    behind = quantized_values(other)
    if not behind:
        behind = {name: name for node in other.nodes for name in node.outputs}
    names = [*float_graph.inputs, *(name for node in float_graph.nodes for name in node.outputs)]
    return [(name, behind[name]) for name in names if name in behind]


def quantized_values(graph: Graph) -> dict[str, str]:
    """Values of a QDQ graph, by the name they have in the float graph, and what they are called dequantized."""
    behind = {}
    for node in graph.nodes:
        if node.op == "QuantizeLinear":
            readers = [n for n in graph.consumers.get(node.outputs[0], []) if n.op == "DequantizeLinear"]
            if readers:
                behind[float_name(node.inputs[0])] = readers[0].outputs[0]
    return behind


def float_name(value: str) -> str:
    """The float graph's name of a value that static quantization put a QuantizeLinear behind."""
    return value.removesuffix("_QuantizeLinear_Input")


def _tflite_values(float_graph: Graph, path: Path) -> tuple[list[tuple[str, str]], Runner]:
    """As `_shared_values`, and a runner of the file that keeps every tensor; values of four axes come back as NCHW."""
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        raise PairError(path, "the package ai-edge-litert", "none", "Install it: pip install ai-edge-litert.") from None
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate keeps its inner tensors to itself
    interpreter = Interpreter(
        str(path), experimental_preserve_all_tensors=True, experimental_op_resolver_type=plain, num_threads=1
    )
    interpreter.allocate_tensors()
    details = {}
    for entry in interpreter.get_tensor_details():
        details.setdefault(entry["name"], entry)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    details[float_graph.output] = target
    names = [name for node in float_graph.nodes for name in node.outputs if name in details]
    raw = source["dtype"] == np.uint8

    def run(x: np.ndarray) -> list[np.ndarray]:
        columns: list[list[np.ndarray]] = [[] for _ in names]
        for one in x.transpose(0, 2, 3, 1):
            # a raw input takes grey levels: undo the preprocessing that the crops came with
            value = np.rint(one * 127.5 + 127.5).astype(np.uint8) if raw else one
            interpreter.set_tensor(source["index"], np.ascontiguousarray(value[None]))
            interpreter.invoke()
            for column, name in zip(columns, names, strict=True):
                column.append(_dequantized(interpreter.get_tensor(details[name]["index"]), details[name]))
        return [np.concatenate(column) for column in columns]

    return [(name, name) for name in names], run


def _dequantized(values: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    scales, zeros = entry["quantization_parameters"]["scales"], entry["quantization_parameters"]["zero_points"]
    real = (values.astype(np.float32) - zeros[0]) * scales[0] if len(scales) else values
    return real.transpose(0, 3, 1, 2) if real.ndim == 4 else real


def _runner(model: onnx.ModelProto, names: Sequence[str]) -> Runner:
    """Run a graph for inner values; without graph optimisations, which would fuse them away."""
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {value.name for value in copy.graph.output}
    inputs = {value.name for value in copy.graph.input}
    copy.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in present | inputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all.onnx"
        onnx.save(copy, str(path))
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry: Any = session.get_inputs()[0]
    batched = not isinstance(entry.shape[0], int)
    wanted = [name for name in names if name not in inputs]

    def run(x: np.ndarray) -> list[np.ndarray]:
        parts = [x] if batched else [one[None] for one in x]
        found: list[Any] = [session.run(wanted, {entry.name: np.ascontiguousarray(part)}) for part in parts]
        values = {name: np.concatenate([row[i] for row in found]) for i, name in enumerate(wanted)}
        return [x if name in inputs else values[name] for name in names]

    return run
