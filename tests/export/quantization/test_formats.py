"""One graph in four precisions and two formats."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pair_fld.errors import PairError
from pair_fld.export.model_cost import model_cost
from pair_fld.export.quantization.calibrate import activation_ranges
from pair_fld.export.quantization.formats import PRECISIONS, QuantizedFile, choose_method, quantize
from pair_fld.export.tflite.flatbuffer import read_tflite
from pair_fld.runtime.session import read_metadata
from tests.export.tiny_nets import SIZE, Exported, random_crops, raw_outputs

Files = dict[tuple[str, str], Path]


@pytest.fixture(scope="module")
def files(face_net: Exported, tmp_path_factory: pytest.TempPathFactory) -> Files:
    written = quantize(face_net.path, tmp_path_factory.mktemp("precisions"), random_crops(16))
    return {(f.precision, f.format): f.path for f in written}


def test_names_and_order(coords_net: Exported, tmp_path: Path) -> None:
    written = quantize(coords_net.path, tmp_path, random_crops(2), ["fp16", "int8-static"], method="percentile")
    assert written == [
        QuantizedFile("fp16", "onnx", tmp_path / "net-fp16.onnx", None),
        QuantizedFile("fp16", "tflite", tmp_path / "net-fp16.tflite", None),
        QuantizedFile("int8-static", "onnx", tmp_path / "net-int8-static.onnx", "percentile"),
        QuantizedFile("int8-static", "tflite", tmp_path / "net-int8-static.tflite", "percentile"),
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f.path.name for f in written)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-weights"])
def test_stored_weights_agree_between_formats(files: Files, precision: str) -> None:
    crops = random_crops(4, seed=5)
    pair = [raw_outputs(files[precision, form], crops) for form in ("onnx", "tflite")]
    np.testing.assert_allclose(pair[0], pair[1], atol=1e-5)


def test_each_kind_stays_near_float(files: Files, face_net: Exported) -> None:
    crops = random_crops(8, seed=5)
    exact = raw_outputs(face_net.path, crops)
    error = {p: np.abs(raw_outputs(files[p, "tflite"], crops) - exact).max() / exact.std() for p in PRECISIONS}
    assert error["fp32"] < 1e-5
    assert 1e-5 < error["fp16"] < 5e-3
    assert error["fp16"] < error["int8-weights"] < 0.1
    assert 1e-3 < error["int8-static"] < 0.25


def test_int8_formats_agree_within_one_step(files: Files) -> None:
    """Bit by bit the same up to the concatenation: the QUANTIZE before it rounds 5 % of its codes up by one, where
    ONNX Runtime does not. That stays within one step of the output's 255."""
    crops = random_crops(16, seed=5)
    ours, theirs = (raw_outputs(files["int8-static", form], crops) for form in ("tflite", "onnx"))
    step = last_scale(files["int8-static", "tflite"])
    assert np.abs(ours - theirs).max() <= 1.01 * step
    assert (np.abs(ours - theirs) > 0.01 * step).mean() < 0.35
    # the same codes: both are whole multiples of the step
    np.testing.assert_allclose(ours / step, np.rint(ours / step), atol=1e-3)


def last_scale(path: Path) -> float:
    graph = read_tflite(path).subgraphs[0]
    (tensor,) = [graph.tensors[o.inputs[0]] for o in graph.operators if graph.outputs[0] in o.outputs]
    return float(tensor.quantization.scale[0])


def test_full_int8_has_no_float_operator_but_the_door(files: Files) -> None:
    cost = model_cost(files["int8-static", "tflite"])
    assert cost.heavy_not_int8() == {}
    assert {op: precision for op, precision in cost.ops if precision != "int8"} == {"DEQUANTIZE": "float32"}
    assert cost.ops["DEQUANTIZE", "float32"] == 1
    assert model_cost(files["int8-static", "onnx"]).heavy_not_int8() == {}
    assert model_cost(files["int8-weights", "tflite"]).heavy_not_int8() != {}
    assert model_cost(files["fp16", "onnx"]).heavy_not_int8() == {("Conv", "float32"): 8}


def test_weights_are_per_channel_and_biases_int32(files: Files) -> None:
    graph = read_tflite(files["int8-static", "tflite"]).subgraphs[0]
    model = read_tflite(files["int8-static", "tflite"])
    seen = set()
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code not in (3, 4):  # CONV_2D, DEPTHWISE_CONV_2D
            continue
        seen.add(code)
        source, weight, bias = (graph.tensors[i] for i in operator.inputs)
        axis = 0 if code == 3 else 3
        assert weight.quantization.quantizedDimension == axis
        assert len(weight.quantization.scale) == weight.shape[axis] == bias.shape[0]
        assert not np.any(weight.quantization.zeroPoint)
        assert bias.type == 2  # INT32
        expected = source.quantization.scale[0] * weight.quantization.scale
        np.testing.assert_allclose(bias.quantization.scale, expected, rtol=1e-6)
    assert seen == {3, 4}


def test_sizes(files: Files) -> None:
    bytes_of = {key: path.stat().st_size for key, path in files.items()}
    for form in ("onnx", "tflite"):
        assert bytes_of["fp16", form] < 0.8 * bytes_of["fp32", form]
        assert bytes_of["int8-weights", form] < bytes_of["fp16", form]


def test_metadata_says_how(files: Files, face_net: Exported) -> None:
    crops = random_crops(16)
    digest = hashlib.sha256(crops.tobytes()).hexdigest()
    for form in ("onnx", "tflite"):
        static = read_metadata(files["int8-static", form])
        assert static["quantization"] == {
            "precision": "int8-static",
            "method": "minmax",
            "calibration_images": 16,
            "calibration_sha256": digest,
        }
        assert read_metadata(files["fp16", form])["quantization"] == {"precision": "fp16"}
        assert {k: v for k, v in static.items() if k != "quantization"} == face_net.metadata


def test_every_grey_level_has_its_own_code(files: Files) -> None:
    """The input's codes do not depend on the crops: 255 of 256 levels stay apart, 127 and 128 share the zero."""
    model = onnx.load(str(files["int8-static", "onnx"]))
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    (first,) = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "input"]
    scale, zero = (constants[name] for name in first.input[1:3])
    assert zero == 128
    x = (np.arange(256, dtype=np.float32) - np.float32(127.5)) * np.float32(1 / 127.5)
    codes = np.rint(x / scale) + zero
    # 0 -> 1, ..., 126 -> 127, 127 -> 128, 128 -> 128, 129 -> 129, ..., 255 -> 255
    np.testing.assert_array_equal(codes, np.r_[1:129, 128:256])


@pytest.mark.parametrize("precision", ["fp32", "int8-static"])
def test_uint8_input(coords_net: Exported, tmp_path: Path, precision: str) -> None:
    crops = random_crops(8)
    plain = quantize(coords_net.path, tmp_path / "a", crops, [precision], formats=["tflite"])[0].path  # pyright: ignore
    options: dict[str, Any] = {"formats": ["tflite"], "tflite_input": "uint8"}
    raw = quantize(coords_net.path, tmp_path / "b", crops, [precision], **options)[0].path  # pyright: ignore
    graph = read_tflite(raw).subgraphs[0]
    assert graph.tensors[graph.inputs[0]].type == 3  # UINT8
    expected, found = raw_outputs(plain, crops), raw_outputs(raw, crops)
    # the int8 file reads dark levels half a grey level apart: less than its own rounding noise
    bound = 1e-5 if precision == "fp32" else 3 * last_scale(plain)
    np.testing.assert_allclose(found, expected, atol=bound)


def test_ranges_by_hand(coords_net: Exported) -> None:
    """All-black and all-white crops: the input's range is exactly -1 to 1, and no range is empty."""
    crops = np.stack([np.zeros((SIZE, SIZE, 3)), np.full((SIZE, SIZE, 3), 255)]).astype(np.uint8)
    ranges = activation_ranges(coords_net.path, crops, coords_net.metadata, "minmax")
    np.testing.assert_allclose(ranges["input"], (-1, 1), atol=1e-6)
    output = raw_outputs(coords_net.path, crops)
    np.testing.assert_allclose(ranges["output"], (output.min(), output.max()), atol=1e-5)


def test_the_method_with_the_lowest_score_wins(coords_net: Exported) -> None:
    marks = iter([3.0, 1.0, 2.0])
    seen = []

    def score(path: Path) -> float:
        seen.append(read_metadata(path)["quantization"]["method"])
        return next(marks)

    choice = choose_method(coords_net.path, random_crops(4), score)
    assert seen == ["minmax", "entropy", "percentile"]
    assert choice.method == "entropy"
    assert choice.scores == {"minmax": 3.0, "entropy": 1.0, "percentile": 2.0}


@pytest.mark.parametrize(
    ("crops", "found"),
    [
        (np.zeros((2, SIZE, SIZE + 1, 3), np.uint8), r"found \(2, 32, 33, 3\) of uint8"),
        (np.zeros((2, SIZE, SIZE, 3), np.float32), "of float32"),
        (np.zeros((0, SIZE, SIZE, 3), np.uint8), r"found \(0, 32, 32, 3\)"),
    ],
)
def test_unsuitable_crops(coords_net: Exported, tmp_path: Path, crops: np.ndarray, found: str) -> None:
    with pytest.raises(PairError, match=rf"expected calibration crops \(N, 32, 32, 3\) of uint8, .*{found}"):
        quantize(coords_net.path, tmp_path, crops, ["int8-static"])


def test_a_quantized_file_is_refused(files: Files, tmp_path: Path) -> None:
    with pytest.raises(PairError, match="expected a float32 model, found int8-static"):
        quantize(files["int8-static", "onnx"], tmp_path, random_crops(2))


def test_a_foreign_file_is_refused(coords_net: Exported, tmp_path: Path) -> None:
    model = onnx.load(str(coords_net.path))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(PairError, match="expected an ONNX file with pair_fld metadata, found none"):
        quantize(tmp_path / "foreign.onnx", tmp_path, random_crops(2))
