"""The graph that is trained is the file that is written: rounding, gradients, and what ONNX Runtime answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from pair_fld.errors import PairError
from pair_fld.export.quantization.calibrate import quantize_static_qdq
from pair_fld.export.quantization.fake_quant import FakeQuantized, _RoundLearned
from pair_fld.runtime.metadata import normalise
from tests.export.conftest import Export
from tests.export.tiny_nets import Exported, random_crops


def run_onnx(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x})[0])


def inputs(net: Exported, count: int = 6) -> np.ndarray:
    return np.ascontiguousarray(normalise(random_crops(count), net.metadata).transpose(0, 3, 1, 2))


def output_scale(model: onnx.ModelProto) -> float:
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    (last,) = [n for n in model.graph.node if n.output[0] == model.graph.output[0].name]
    return float(constants[last.input[1]])


def test_torch_rounds_as_onnx_runtime(face_net: Exported) -> None:
    qdq = quantize_static_qdq(face_net.path, random_crops(16), face_net.metadata, "minmax")
    twin, x = FakeQuantized(face_net.path, qdq), inputs(face_net)
    with torch.no_grad():
        found = twin(torch.from_numpy(x)).numpy()
    expected, step = run_onnx(qdq, x), output_scale(qdq)
    codes = np.abs(found - expected) / step
    assert codes.max() < 2.01  # a value next to a rounding tie falls to the other side, and once more behind it
    assert (codes > 0.01).mean() < 0.05


def test_trained_scales_and_weights_are_those_of_the_file(face_net: Exported) -> None:
    """Every float and every scale moved, as by training: the file written from them is the module again."""
    crops = random_crops(16)
    twin = FakeQuantized(face_net.path, quantize_static_qdq(face_net.path, crops, face_net.metadata, "minmax"))
    with torch.no_grad():
        for index, parameter in enumerate(twin.parameters()):
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
    model = onnx.load(str(face_net.path))
    twin.store(model)
    path = face_net.path.with_name("moved.onnx")
    onnx.save(model, str(path))
    qdq = quantize_static_qdq(path, crops[:1], face_net.metadata, "minmax", twin.codes())
    constants = {t.name: numpy_helper.to_array(t) for t in qdq.graph.initializer}
    scales = {n.input[0]: float(constants[n.input[1]]) for n in qdq.graph.node if n.op_type == "QuantizeLinear"}
    assert scales["input"] == pytest.approx(1.001 / 127.5)
    for value, (scale, _) in twin.codes().items():
        assert scales.get(value, scales.get(f"{value}_QuantizeLinear_Input")) == pytest.approx(scale, rel=1e-6)
    x = inputs(face_net)
    with torch.no_grad():
        found = twin(torch.from_numpy(x)).numpy()
    codes = np.abs(found - run_onnx(qdq, x)) / output_scale(qdq)
    assert codes.max() < 2.01
    assert (codes > 0.01).mean() < 0.05


def test_gradients_by_hand() -> None:
    """scale 0.5, zero point 10: codes 0..255 stand for -5 ... 122.5.

    0.6 -> 1.2 steps -> 0.5; slope (0.5 - 0.6) / 0.5 = -0.2. -9 -> clipped to -5; slope -10. 200 -> 122.5; slope 245.
    """
    x = torch.tensor([0.6, -9.0, 200.0], requires_grad=True)
    scale = torch.tensor([0.5], requires_grad=True)
    y = _RoundLearned.apply(x, scale, torch.tensor([10], dtype=torch.int32))
    assert isinstance(y, torch.Tensor)
    assert y.tolist() == [0.5, -5.0, 122.5]
    (y * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad is not None
    assert scale.grad is not None
    assert x.grad.tolist() == [1.0, 0.0, 0.0]
    assert scale.grad.item() == pytest.approx(-0.2 - 100 + 24500, rel=1e-5)


def test_everything_but_the_input_learns(coords_net: Exported) -> None:
    qdq = quantize_static_qdq(coords_net.path, random_crops(8), coords_net.metadata, "minmax")
    twin = FakeQuantized(coords_net.path, qdq)
    twin(torch.from_numpy(inputs(coords_net))).square().mean().backward()
    still = [n for n, p in twin.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in still if "input_scale" not in name] == []
    assert len(still) == 1


def test_an_operator_without_a_twin(export: Export) -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(3, 102, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.max_pool2d(x, 2)).reshape(-1, 51, 2)

    net = export(Pooled())
    qdq = quantize_static_qdq(net.path, random_crops(2), net.metadata, "minmax")
    with pytest.raises(PairError, match=r"expected operators that --qat knows \(.*Conv.*found MaxPool"):
        FakeQuantized(Path(net.path), qdq)
