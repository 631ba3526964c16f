"""Files that decode in their graph: the same points as the runtime's decoding, in every format."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pair_fld.errors import PairError
from pair_fld.export.decoding import with_decoding
from pair_fld.export.model_cost import model_cost
from pair_fld.export.needed_runtime import oldest_runtime
from pair_fld.export.onnx import export_onnx
from pair_fld.export.parity import compare
from pair_fld.export.quantization.formats import QuantizedFile, quantize
from pair_fld.export.quantization.gates import broken_decoding
from pair_fld.runtime.metadata import has_heatmaps, model_metadata
from pair_fld.runtime.session import load_model
from tests.export.test_heads import SIDE, STAGES, crops, settled

NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "heatmap": ("heatmap_net", {"stages": STAGES, "width": 24, "expand": 2}),
    "simcc": ("simcc_net", {"stages": STAGES, "neck": 24}),
    "coords": ("coord_net", {"stages": STAGES, "neck": 24}),
}


@pytest.fixture(scope="module", params=list(NETS))
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[QuantizedFile]:
    """fp32 and int8-static files of a net, each with its twin that decodes."""
    folder = tmp_path_factory.mktemp(request.param)
    net = settled(*NETS[request.param])
    export_onnx(net, SIDE, folder / "net.onnx", model_metadata(SIDE, 1.45, net.output_kind))
    return quantize(folder / "net.onnx", folder / "q", crops(16), ["fp32", "int8-static"], decode="in-graph")


def test_every_file_has_a_twin_that_decodes(files: list[QuantizedFile]) -> None:
    twins = [file for file in files if file.raw is not None]
    assert [t.path.name for t in twins] == [
        f"net-{precision}-in-graph.{suffix}" for precision in ("fp32", "int8-static") for suffix in ("onnx", "tflite")
    ]
    for twin in twins:
        assert twin.raw is not None
        # the bound is a hundredth of a pixel; the arithmetic is float32 on coordinates of 64 px
        assert compare({"raw": twin.raw, "twin": twin.path}, crops(6))[0].max_px < 1e-4
        raw, decoded = load_model(twin.raw), load_model(twin.path)
        assert decoded.metadata["output"] == {"kind": "points", "decoded": raw.metadata["output"]["kind"]}
        assert has_heatmaps(decoded.metadata) == has_heatmaps(raw.metadata)
        (_, expected), (_, found) = (model.locate(crops(6)) for model in (raw, decoded))
        if expected is None:
            assert found is None  # plain coordinates have no deviation
        else:
            assert found == pytest.approx(expected, abs=1e-3)
        assert broken_decoding(twin, crops(2)) == []


def test_the_tail_costs_no_heavy_operator_and_runs_in_tflite_2_11(files: list[QuantizedFile]) -> None:
    for file in files:
        if file.raw is not None:
            assert model_cost(file.path).macs == model_cost(file.raw).macs
        if file.precision == "int8-static":
            assert not model_cost(file.path).heavy_not_int8()
        if file.format == "tflite":
            version = oldest_runtime(file.path).removeprefix("TFLite ").split(".")
            assert [int(part) for part in version] <= [2, 11]


def test_another_files_points_break_the_gate(files: list[QuantizedFile]) -> None:
    fp32, int8 = files[2], files[6]  # .onnx twins
    found = broken_decoding(QuantizedFile("fp32", "onnx", fp32.path, None, int8.raw), crops(2))
    assert len(found) == 1
    assert "px from what the runtime decodes, bound 0.01 px" in found[0]


def test_a_heatmap_by_hand() -> None:
    # a map of 2 x 2 cells, centres at -0.5 and 0.5. Weights 1/8, 3/8 above 1/8, 3/8: x = 0.5 (3/4 - 1/4) = 0.25, y = 0.
    # Crop of 8 px: x = ((0.25 + 1) * 8 - 1) / 2 = 4.5, y = 3.5. Variances 1/4 - 1/16 and 1/4: mean 7/32; deviation
    # sqrt(7/32) * 4 = 1.870829
    logits = np.log(np.array([[1, 3], [1, 3]], np.float32) / 8)
    values = numpy_helper.from_array(np.tile(logits, (1, 51, 1, 1)).astype(np.float32), "logits")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["input"], ["zero"], keepdims=0),
            helper.make_node("Add", ["zero", "logits"], ["raw"]),
        ],
        "by hand",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", 51, 2, 2])],
        [values],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    metadata = model_metadata(8, 1.45, "heatmap")
    decoded, about = with_decoding(model, metadata)
    session = onnxruntime.InferenceSession(decoded.SerializeToString(), providers=["CPUExecutionProvider"])
    points = np.asarray(session.run(["points"], {"input": np.zeros((1, 3, 8, 8), np.float32)})[0])
    assert points.shape == (1, 51, 3)
    assert points[0, 17] == pytest.approx([4.5, 3.5, 1.870829], abs=1e-5)
    with pytest.raises(PairError, match="expected raw outputs to decode, found coordinates"):
        with_decoding(decoded, about)
