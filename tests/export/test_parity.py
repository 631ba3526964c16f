"""Deviations by hand, and the damaged layer at the head of the noise table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pair_fld.errors import PairError
from pair_fld.export.parity import compare, layer_snr
from pair_fld.export.quantization.formats import Precision, quantize
from pair_fld.runtime.session import load_model
from tests.export.tiny_nets import SIZE, Exported, random_crops


def test_deviation_by_hand() -> None:
    """Point 7 of crop 1 moved by (3, 4): 5 px there, 5 / (2 * 51) on average."""

    def moved(crops: np.ndarray) -> np.ndarray:
        points = np.ones((len(crops), 51, 2))
        points[1, 7] += (3, 4)
        return points

    crops = random_crops(2)
    table = compare(
        {"a": lambda x: np.ones((len(x), 51, 2)), "b": moved, "c": lambda x: np.ones((len(x), 51, 2))}, crops
    )
    assert [(row.reference, row.other) for row in table] == [("a", "b"), ("a", "c")]
    assert table[0].max_px == 5.0
    assert table[0].mean_px == pytest.approx(5 / 102)
    assert (table[0].crop, table[0].point) == (1, 7)
    assert table[1].max_px == 0.0


def test_points_that_are_not_numbers_are_infinitely_far() -> None:
    crops = random_crops(1)
    rows = compare({"a": lambda x: np.zeros((1, 51, 2)), "b": lambda x: np.full((1, 51, 2), np.nan)}, crops)
    assert rows[0].max_px == np.inf


def test_files_of_one_net(coords_net: Exported, tmp_path: Path) -> None:
    crops = random_crops(6)
    files = {f.path.name: f.path for f in quantize(coords_net.path, tmp_path, crops)}

    def torch_points(crops: np.ndarray) -> np.ndarray:
        return ((coords_net.torch_outputs(crops) + 1) * SIZE - 1) / 2

    worst = {row.other: row.max_px for row in compare({"torch": torch_points} | files, crops)}
    assert worst["net-fp32.onnx"] < 1e-3
    assert worst["net-fp32.tflite"] < 1e-3
    assert 0.01 < worst["net-int8-static.onnx"] < 2
    assert 0.01 < worst["net-int8-static.tflite"] < 2


def test_the_noise_table_finds_the_damage(coords_net: Exported, tmp_path: Path) -> None:
    crops = random_crops(6)
    files = quantize(coords_net.path, tmp_path, crops, ["int8-static"], formats=["onnx"])
    healthy = layer_snr(coords_net.path, files[0].path, crops)
    assert [row.snr_db for row in healthy] == sorted(row.snr_db for row in healthy)
    assert healthy[0].snr_db > 20
    assert {row.value for row in healthy} >= {"input", "output"}
    # a range four times too small for the value behind the depthwise convolution: it saturates
    model = onnx.load(str(files[0].path))
    depthwise = next(n for n in model.graph.node if n.op_type == "Conv" and attribute(n, "group") == 24)
    (quantizer,) = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == depthwise.output[0]]
    for tensor in model.graph.initializer:
        if tensor.name == quantizer.input[1]:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) / 4, tensor.name))
    onnx.save(model, str(tmp_path / "damaged.onnx"))
    damaged = layer_snr(coords_net.path, tmp_path / "damaged.onnx", crops)
    first = min((row for row in damaged if row.snr_db < 20), key=lambda row: row.position)
    assert first.value == depthwise.output[0].removesuffix("_QuantizeLinear_Input")
    assert damaged[0].snr_db < 15


def attribute(node: onnx.NodeProto, name: str) -> object:
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), None)


def test_snr_by_hand(coords_net: Exported, tmp_path: Path) -> None:
    """A graph against itself has no noise; the input's noise follows from its codes."""
    assert {row.snr_db for row in layer_snr(coords_net.path, coords_net.path, random_crops(1))} == {np.inf}
    files = quantize(coords_net.path, tmp_path, random_crops(2), ["int8-static"], formats=["onnx"])
    white = np.full((1, SIZE, SIZE, 3), 255, np.uint8)  # 1.0 becomes code 127 of step 1.001 / 127.5
    (row,) = [r for r in layer_snr(coords_net.path, files[0].path, white) if r.value == "input"]
    error = 1 - 127 * 1.001 / 127.5
    assert row.max_error == pytest.approx(error, rel=1e-3)
    assert row.snr_db == pytest.approx(-20 * np.log10(error), abs=0.01)


@pytest.mark.parametrize("raw", [False, True])
def test_the_noise_inside_tflite_files(face_net: Exported, tmp_path: Path, raw: bool) -> None:
    """A float file agrees in every layer; an int8 one is as noisy as the ONNX file of the same graph."""
    crops, input_dtype = random_crops(6), "uint8" if raw else "float32"
    precisions: list[Precision] = ["fp32", "int8-static"]
    files = quantize(face_net.path, tmp_path, crops, precisions, tflite_input=input_dtype)
    paths = {(f.precision, f.format): f.path for f in files}
    same = layer_snr(face_net.path, paths["fp32", "tflite"], crops)
    assert len(same) >= 8
    assert same[0].snr_db > 90
    theirs = {row.value: row.snr_db for row in layer_snr(face_net.path, paths["int8-static", "onnx"], crops)}
    ours = {row.value: row.snr_db for row in layer_snr(face_net.path, paths["int8-static", "tflite"], crops)}
    shared = set(ours) & set(theirs)
    assert len(shared) >= 8
    assert max(abs(ours[v] - theirs[v]) for v in shared) < (6 if raw else 1.5)
    assert min(ours.values()) > 10


def test_errors(coords_net: Exported, tmp_path: Path) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", value[:1], value[1:])
    onnx.save(helper.make_model(graph, ir_version=9), str(tmp_path / "other.onnx"))
    with pytest.raises(PairError, match=r"expected the values of net\.onnx, found none of them"):
        layer_snr(coords_net.path, tmp_path / "other.onnx", random_crops(1))
    with pytest.raises(PairError, match="expected two models and a crop, or more, found 1 and 1"):
        compare({"a": load_model(coords_net.path).predict}, random_crops(1))
    with pytest.raises(PairError, match=r"expected a model file of pairfld, found .*no such model file"):
        compare({"a": coords_net.path, "b": tmp_path / "none.onnx"}, random_crops(1))
    with pytest.raises(PairError, match=r"expected points \(1, 51, 2\) as a gives, found \(1, 3, 2\)"):
        compare({"a": coords_net.path, "b": lambda x: np.zeros((1, 3, 2))}, random_crops(1))
