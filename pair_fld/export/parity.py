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
from pair_fld.export.graph import Graph
from pair_fld.export.onnx import get_metadata, load_onnx
from pair_fld.runtime.session import load_model, normalise

Predict = Callable[[np.ndarray], np.ndarray]
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
        raise PairError("comparison", "two models and some crops", f"{len(models)} and {len(crops)}", "Name more.")
    points = {name: _predictor(model)(crops) for name, model in models.items()}
    (reference, expected), *others = points.items()
    return [_deviation(reference, expected, name, found) for name, found in others]


def _predictor(model: Path | Predict) -> Predict:
    if not isinstance(model, Path):
        return model
    try:
        return load_model(model).predict
    except (ValueError, OSError) as fault:
        raise PairError(model, "a model file of pairfld", str(fault), "Export it with pairfld.") from None


def _deviation(reference: str, expected: np.ndarray, other: str, found: np.ndarray) -> Deviation:
    if expected.shape != found.shape:
        raise PairError(
            other, f"points {expected.shape} as {reference} gives", f"{found.shape}", "Compare like models."
        )
    distance = np.linalg.norm(np.asarray(found, np.float64) - expected, axis=-1)  # (N, 51)
    distance = np.where(np.isfinite(distance), distance, np.inf)
    crop, point = np.unravel_index(int(distance.argmax()), distance.shape)
    return Deviation(reference, other, float(distance.mean()), float(distance.max()), int(crop), int(point))


def layer_snr(onnx_fp32: Path, onnx_int8: Path, crops: np.ndarray) -> list[LayerNoise]:
    """Signal-to-noise ratio of every value that both graphs compute, worst first, on crops (N, S, S, 3).

    The int8 graph's values are taken behind their DequantizeLinear. A value is matched by its ONNX name,
    which static quantization keeps.

    Raises:
        PairError: graphs that share no value (the int8 file was made from another float file).
    """
    float_graph, int8_graph = load_onnx(onnx_fp32), load_onnx(onnx_int8)
    pairs = _shared_values(Graph(float_graph, onnx_fp32), Graph(int8_graph, onnx_int8))
    if not pairs:
        remedy = "Give the float file that the int8 file was made from."
        raise PairError(onnx_int8, f"the values of {onnx_fp32.name}", "none of them", remedy)
    metadata = get_metadata(float_graph) or get_metadata(int8_graph)
    signal, noise, worst = (np.zeros(len(pairs)) for _ in range(3))
    run_float = _runner(float_graph, [pair[0] for pair in pairs])
    run_int8 = _runner(int8_graph, [pair[1] for pair in pairs])
    for start in range(0, len(crops), _BATCH):
        x = normalise(crops[start : start + _BATCH], metadata).transpose(0, 3, 1, 2)
        for i, (a, b) in enumerate(zip(run_float(x), run_int8(x), strict=True)):
            signal[i] += float(np.square(a, dtype=np.float64).sum())
            noise[i] += float(np.square(a - b, dtype=np.float64).sum())
            worst[i] = max(worst[i], float(np.abs(a - b).max()))
    producers = Graph(float_graph, onnx_fp32).producer
    table = []
    for i, (value, _) in enumerate(pairs):
        snr_db = float("inf") if noise[i] == 0 else float(10 * np.log10(max(signal[i], 1e-30) / noise[i]))
        node = producers.get(value)
        layer, op = (node.name, node.op) if node else ("input", "-")
        table.append(LayerNoise(layer, op, value, snr_db, float(worst[i]), i))
    return sorted(table, key=lambda row: row.snr_db)


def _shared_values(float_graph: Graph, int8_graph: Graph) -> list[tuple[str, str]]:
    """(value of the float graph, its dequantized value in the int8 graph), in the order of computation."""
    behind = {}
    for node in int8_graph.nodes:
        if node.op == "QuantizeLinear":
            readers = [n for n in int8_graph.consumers.get(node.outputs[0], []) if n.op == "DequantizeLinear"]
            if readers:
                behind[node.inputs[0].removesuffix("_QuantizeLinear_Input")] = readers[0].outputs[0]
    names = [*float_graph.inputs, *(name for node in float_graph.nodes for name in node.outputs)]
    return [(name, behind[name]) for name in names if name in behind]


def _runner(model: onnx.ModelProto, names: Sequence[str]) -> Callable[[np.ndarray], list[np.ndarray]]:
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
