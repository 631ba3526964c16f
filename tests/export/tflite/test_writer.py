"""ONNX to TFLite: the same numbers from LiteRT for every operator that the writer knows, and clear refusals."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.nn import functional as F

from pair_fld.errors import PairError
from pair_fld.export.model_cost import model_cost
from pair_fld.export.quantization.formats import quantize
from pair_fld.export.tflite.flatbuffer import read_tflite
from pair_fld.export.tflite.writer import write_tflite
from pair_fld.runtime.metadata import METADATA_FILE
from pair_fld.runtime.session import load_model, read_metadata
from tests.export.conftest import Export
from tests.export.tiny_nets import Exported, random_crops, raw_outputs


def written(net: Exported, tmp_path: Path, input_dtype: str = "float32") -> Path:
    path = tmp_path / f"net-{input_dtype}.tflite"
    write_tflite(net.path, path, net.metadata, input_dtype)  # pyright: ignore[reportArgumentType]
    return path


@pytest.mark.parametrize("input_dtype", ["float32", "uint8"])
def test_face_nets_agree(face_net: Exported, tmp_path: Path, input_dtype: str) -> None:
    crops = random_crops(4)
    expected = raw_outputs(face_net.path, crops)
    np.testing.assert_allclose(raw_outputs(written(face_net, tmp_path, input_dtype), crops), expected, atol=1e-5)


def test_metadata_lies_in_a_zip_behind_the_model(coords_net: Exported, tmp_path: Path) -> None:
    path = written(coords_net, tmp_path)
    with zipfile.ZipFile(path) as attached:
        assert attached.namelist() == [METADATA_FILE]
        assert json.loads(attached.read(METADATA_FILE)) == coords_net.metadata
    assert path.read_bytes()[4:8] == b"TFL3"
    assert read_metadata(path) == coords_net.metadata
    assert load_model(path).predict(random_crops(2)).shape == (2, 51, 2)


def test_same_input_same_bytes(coords_net: Exported, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    assert written(coords_net, tmp_path).read_bytes() == written(coords_net, tmp_path / "again").read_bytes()


def test_constants_are_inline_and_aligned(coords_net: Exported, tmp_path: Path) -> None:
    path = written(coords_net, tmp_path)
    model, data = read_tflite(path), path.read_bytes()
    weights = [b.data for b in model.buffers if b.data is not None and len(b.data) >= 64]
    assert len(weights) >= 8
    for weight in weights:
        place = data.find(bytes(weight))
        assert place > 0
        assert place % 16 == 0
    assert all(not b.offset for b in model.buffers)


class Padding(nn.Module):
    """Every way that a window can lie: odd and even kernels, strides, dilation, uneven maps, several channels each."""

    def __init__(self) -> None:
        super().__init__()
        self.even = nn.Conv2d(3, 4, 2, 2)  # 16
        self.five = nn.Conv2d(4, 6, 5, 2, 2)  # 8
        self.many = nn.Conv2d(6, 12, 3, 1, 1, groups=6)
        self.wide = nn.Conv2d(12, 4, 3, 1, 2, dilation=2)
        self.tall = nn.Conv2d(4, 5, (3, 1), (2, 1), (1, 0))  # 4 x 8
        self.valid = nn.Conv2d(5, 102, (4, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.wide(F.relu6(self.many(F.relu(self.five(self.even(x)))))))
        return self.valid(F.relu(self.tall(x))).reshape(-1, 51, 2)


class Dense(nn.Module):
    """Flatten over a map (the order of NCHW matters), then two fully connected layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, 4, 1)  # 8
        self.pool = nn.MaxPool2d(2)  # 4
        self.first, self.second = nn.Linear(80, 24), nn.Linear(24, 102)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(F.relu(self.conv(x))).flatten(1)
        return self.second(F.relu(self.first(x))).reshape(-1, 51, 2)


class Pools(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)  # 16
        self.padded, self.average = nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)  # 8, 4
        self.counted = nn.AvgPool2d(3, 1, 1, count_include_pad=True)
        self.head = nn.Conv2d(8, 102, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.counted(self.average(self.padded(self.conv(x))))  # negative values under the padding
        return self.head(F.adaptive_avg_pool2d(x, 1)).flatten(1).reshape(-1, 51, 2)


class Gates(nn.Module):
    """Squeeze-and-excite and the hard activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.excite = nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.head = nn.Conv2d(8, 102, 8)
        self.register_buffer("offset", torch.linspace(-1, 1, 8).reshape(1, 8, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.hardswish(self.conv(x)) + self.offset
        gate = self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        x = x * gate.sigmoid() * F.hardsigmoid(x)
        return self.head(x).flatten(1).reshape(-1, 51, 2)


class Unrolled(nn.Module):
    """A map flattened into the output itself, so that no layer can absorb the change of layout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 5, 8)  # 4 x 4 x 6 = 96, cut from 102 by a 1 x 1
        self.head = nn.Conv2d(6, 51, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(self.head(self.conv(x)), (4, 2)).flatten(2)


ZOO = {"padding": Padding, "dense": Dense, "pools": Pools, "gates": Gates, "unrolled": Unrolled}


@pytest.fixture(scope="module", params=list(ZOO))
def zoo_net(request: pytest.FixtureRequest, export: Export) -> Exported:
    torch.manual_seed(2)
    return export(ZOO[request.param]())


def test_every_operator_agrees_in_float(zoo_net: Exported, tmp_path: Path) -> None:
    crops = random_crops(3)
    expected = raw_outputs(zoo_net.path, crops)
    assert expected.std() > 0.01
    np.testing.assert_allclose(raw_outputs(written(zoo_net, tmp_path), crops), expected, atol=1e-5)


def test_every_operator_agrees_in_int8(zoo_net: Exported, tmp_path: Path) -> None:
    crops = random_crops(12)
    files = quantize(zoo_net.path, tmp_path, crops, ["int8-static"])
    ours, theirs = (raw_outputs(f.path, crops) for f in reversed(files))
    step = output_step(files[1].path)
    difference = np.abs(ours - theirs) / step
    assert difference.max() <= 3.01  # steps of the output; one rounding in an early layer can move a late one
    assert difference.mean() < 0.35
    assert model_cost(files[1].path).heavy_not_int8() == {}
    noise = np.abs(theirs - raw_outputs(zoo_net.path, crops)).mean() / step
    assert noise < 4  # quantized, but still the same function


def output_step(path: Path) -> float:
    """What one int8 step of the last DEQUANTIZE means."""
    model = read_tflite(path)
    graph = model.subgraphs[0]
    makers = {operator.outputs[0]: operator for operator in graph.operators}
    index = graph.outputs[0]
    while graph.tensors[index].quantization is None:
        index = makers[index].inputs[0]
    return float(graph.tensors[index].quantization.scale[0])


def test_depth_to_space(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 8, 3, 3])
    y = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    node = helper.make_node("DepthToSpace", ["input"], ["output"], "shuffle", blocksize=2, mode="DCR")
    path = saved([node], [x], [y], tmp_path)
    write_tflite(path, tmp_path / "d.tflite", {})
    value = np.arange(72, dtype=np.float32).reshape(1, 8, 3, 3)
    from onnx.reference import ReferenceEvaluator

    (expected,) = ReferenceEvaluator(str(path)).run(None, {"input": value})
    found = run_tflite(tmp_path / "d.tflite", value.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), expected)


def saved(nodes: list, inputs: list, outputs: list, folder: Path, initializers: list | None = None) -> Path:
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers or [])
    path = folder / "hand.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    return path


def run_tflite(path: Path, x: np.ndarray) -> np.ndarray:
    from pair_fld.runtime.session import tflite_interpreter

    interpreter = tflite_interpreter(path, 1)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


class Exponential(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(F.silu(x).flatten(2))


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.stem(x))


class Bilinear(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear")


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (Exponential(), r"found Exp \(node '\w+'\)"),
        (Grouped(), r"found Conv with 2 groups of 4 channels \(node '\w+'\)"),
        (Bilinear(), r"found Resize with a mode other than nearest neighbour by a whole factor \(node '\w+'\)"),
    ],
)
def test_unknown_operators_are_named(module: nn.Module, found: str, export: Export, tmp_path: Path) -> None:
    net = export(module)
    with pytest.raises(PairError, match=found) as caught:
        written(net, tmp_path)
    message = str(caught.value)
    assert "expected operators of the TFLite writer (Add, AveragePool, Clip, Concat, Conv," in message
    assert "litert-torch route: pip install 'pair_fld[litert]'" in message
    assert list(tmp_path.iterdir()) == []
