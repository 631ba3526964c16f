"""Multiply-adds and parameters by hand, in both formats and every precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from pair_fld.errors import PairError
from pair_fld.export.model_cost import ModelCost, model_cost
from pair_fld.export.needed_runtime import oldest_runtime
from pair_fld.export.quantization.formats import quantize
from pair_fld.export.tflite.flatbuffer import FlatBuilder, save_tflite
from tests.export.conftest import Export
from tests.export.tiny_nets import random_crops


class ThreeLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Conv2d(3, 8, 3, 2, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.head = nn.Conv2d(8, 102, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.depthwise(torch.relu(self.dense(x))))).reshape(-1, 51, 2)


# 32 -> 16: 16*16*8 outputs of 3*3*3; 16*16*8 outputs of 3*3; 102 outputs of 16*16*8
MACS = 2048 * 27 + 2048 * 9 + 102 * 2048
# 8*27+8, 8*9+8, 102*2048+102
PARAMS = 224 + 80 + 208998


def test_three_layers_by_hand(export: Export, tmp_path: Path) -> None:
    assert MACS == 282624
    assert PARAMS == 209302
    for file in quantize(export(ThreeLayers()).path, tmp_path, random_crops(2)):
        cost = model_cost(file.path)
        assert (cost.macs, cost.params) == (MACS, PARAMS), file
        assert cost.gflops == pytest.approx(0.000565248)
        assert cost.size_mb == file.path.stat().st_size / 1e6


def test_operators_by_type(export: Export, tmp_path: Path) -> None:
    net = export(ThreeLayers()).path
    costs = {(f.precision, f.format): model_cost(f.path).ops for f in quantize(net, tmp_path, random_crops(2))}
    assert costs["fp32", "onnx"] == {("Conv", "float32"): 3, ("Relu", "float32"): 2, ("Reshape", "float32"): 1}
    assert costs["int8-static", "tflite"] == {
        ("CONV_2D", "int8"): 2,
        ("DEPTHWISE_CONV_2D", "int8"): 1,
        ("PAD", "int8"): 1,
        ("QUANTIZE", "int8"): 1,
        ("RESHAPE", "int8"): 1,
        ("DEQUANTIZE", "float32"): 1,
    }
    assert costs["int8-static", "onnx"]["Conv", "int8"] == 3
    assert costs["fp16", "tflite"]["CONV_2D", "float32"] == 2


def test_oldest_runtimes(export: Export, tmp_path: Path) -> None:
    files = quantize(export(ThreeLayers()).path, tmp_path, random_crops(2))
    found = {(f.precision, f.format): oldest_runtime(f.path) for f in files}
    assert found["fp32", "tflite"] == "TFLite 1.5"
    assert found["fp16", "tflite"] == "TFLite 1.15"  # DEQUANTIZE 3
    assert found["int8-static", "tflite"] == "TFLite 1.14"
    assert found["int8-weights", "tflite"] == "TFLite 2.7"  # DEQUANTIZE 5
    assert found["fp32", "onnx"] == "opset 18"


def test_an_operator_outside_our_table(tmp_path: Path) -> None:
    flat = FlatBuilder()
    x, y = (flat.tensor(name, (1, 4), np.float32) for name in "xy")
    flat.operator("RELU", [x], [y], version=9)
    save_tflite(flat.finish({"x": x}, {"y": y}), tmp_path / "future.tflite", {})
    assert oldest_runtime(tmp_path / "future.tflite") == "unknown"


def weights(name: str, *shape: int, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def test_foreign_graphs(tmp_path: Path) -> None:
    """Matrix products, a transposed convolution and integer operators that no file of ours has; two outputs."""
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["up"], strides=[2, 2]),  # 4*5*5 inputs of 6*2*2: 2400
        helper.make_node("Flatten", ["up"], ["flat"]),  # 1 x 600
        helper.make_node("MatMul", ["flat", "m"], ["product"]),  # 600 * 7
        helper.make_node("Gemm", ["product", "g", "b"], ["output"], transB=1),  # 7 * 3
        helper.make_node("ConvInteger", ["q", "wq"], ["sums"]),  # 2*2*9 outputs... see below
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 5, 5]),
        helper.make_tensor_value_info("q", TensorProto.UINT8, [1, 3, 4, 4]),
    ]
    outputs = [
        helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3]),
        helper.make_tensor_value_info("sums", TensorProto.INT32, [1, 9, 2, 2]),  # 36 outputs of 3*3*3: 972
    ]
    stored = [weights("w", 4, 6, 2, 2), weights("m", 600, 7), weights("g", 3, 7), weights("b", 3)]
    stored.append(weights("wq", 9, 3, 3, 3, dtype=np.uint8))
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, stored), ir_version=9)
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    cost = model_cost(tmp_path / "foreign.onnx")
    assert cost.macs == 2400 + 4200 + 21 + 972
    assert cost.params == 96 + 4200 + 21 + 3 + 243
    assert cost.ops["ConvInteger", "int8"] == 1
    assert cost.heavy_not_int8() == {("ConvTranspose", "float32"): 1, ("MatMul", "float32"): 1, ("Gemm", "float32"): 1}


def test_a_foreign_tflite_with_a_fully_connected_layer(tmp_path: Path) -> None:
    flat = FlatBuilder()
    x, y = flat.tensor("x", (1, 10), np.float32), flat.tensor("y", (1, 4), np.float32)
    matrix, bias = flat.constant("m", np.ones((4, 10), np.int8)), flat.constant("b", np.ones(4, np.float32))
    flat.operator("FULLY_CONNECTED", [x, matrix, bias], [y], 3, "FullyConnectedOptions")
    save_tflite(flat.finish({"x": x}, {"y": y}), tmp_path / "dynamic.tflite", {})
    cost = model_cost(tmp_path / "dynamic.tflite")
    assert (cost.macs, cost.params) == (40, 44)
    assert cost.heavy_not_int8() == {("FULLY_CONNECTED", "hybrid"): 1}  # int8 weights alone are not int8


def test_plain_values() -> None:
    cost = ModelCost(2_000_000, 10, 3_000_000, {("Conv", "int8"): 2})
    expected = {"macs": 2_000_000, "gflops": 0.004, "params": 10, "size_mb": 3.0, "ops": {"Conv int8": 2}}
    assert cost.to_json() == expected


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(PairError, match=r"expected an .onnx or .tflite file, found .pt"):
        model_cost(tmp_path / "a.pt")
    (tmp_path / "b.tflite").write_bytes(b"nonsense, and short")
    with pytest.raises(PairError, match="expected a TFLite file, found truncated or damaged"):
        model_cost(tmp_path / "b.tflite")
    with pytest.raises(PairError, match="expected a TFLite file, found No such file"):
        model_cost(tmp_path / "c.tflite")
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    free = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", free, result, [weights("w", 4, 3, 3, 3)])
    onnx.save(helper.make_model(graph, ir_version=9), str(tmp_path / "d.onnx"))
    with pytest.raises(PairError, match=r"expected a known shape of 'y'.*Export with fixed sizes"):
        model_cost(tmp_path / "d.onnx")


def test_external_data_counts(export: Export, tmp_path: Path) -> None:
    """Weights of 300 bytes and more moved into a file beside the graph weigh what they weighed inside it."""
    inside = model_cost(export(ThreeLayers()).path)
    model = onnx.load(str(export(ThreeLayers()).path))
    path = tmp_path / "net.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="net.bin", size_threshold=300)
    cost = model_cost(path)
    # 8*27 + 102*2048 weights of 4 bytes are outside; the smaller ones stay inside
    assert (tmp_path / "net.bin").stat().st_size >= 4 * (216 + 102 * 2048)
    assert cost.size_bytes == path.stat().st_size + (tmp_path / "net.bin").stat().st_size > 4 * PARAMS
    assert (cost.macs, cost.params, cost.ops) == (inside.macs, inside.params, inside.ops)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(PairError, match="expected its external data beside it, found another or none"):
        model_cost(path)


def test_suffixes_in_capitals(export: Export, tmp_path: Path) -> None:
    path = tmp_path / "NET.ONNX"
    path.write_bytes(export(ThreeLayers()).path.read_bytes())
    assert (model_cost(path).macs, oldest_runtime(path)) == (MACS, "opset 18")


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_what_stands_in_a_models_place_is_named(tmp_path: Path, suffix: str) -> None:
    path = (tmp_path / "a").with_suffix(suffix)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n")
    with pytest.raises(PairError, match="found a Git LFS pointer"):
        model_cost(path)
