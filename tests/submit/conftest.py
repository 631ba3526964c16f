from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pair_fld.errors import PairError
from pair_fld.export.onnx import save_onnx, set_metadata
from pair_fld.export.tflite.writer import write_tflite
from pair_fld.face_detector.files import find_detector
from pair_fld.runtime.blazeface_calibration import BUILT_IN
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.metadata import model_metadata

CALIBRATION = BUILT_IN["blazeface_128"].to_json()
SIZE = 32


def tiny_model(folder: Path, calibration: dict | None = CALIBRATION) -> dict[str, Path]:
    """A model that predicts the mean face whatever it sees, as .onnx and .tflite: {"onnx": ..., "tflite": ...}."""
    metadata = model_metadata(SIZE, 1.45, "coords", quantization={"precision": "fp32"})
    if calibration is not None:
        metadata["crop"]["detector_calibration"] = calibration
    weights = numpy_helper.from_array(np.zeros((3, 102), np.float32), "w")
    bias = numpy_helper.from_array((MEAN_FACE * 2 / 1.45).astype(np.float32).reshape(102), "b")
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w", "b"], ["output"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 102])],
        [weights, bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model = onnx.shape_inference.infer_shapes(model)
    set_metadata(model, metadata)
    paths = {"onnx": folder / "tiny.onnx", "tflite": folder / "tiny.tflite"}
    save_onnx(model, paths["onnx"])
    write_tflite(paths["onnx"], paths["tflite"], metadata)
    return paths


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def detector() -> tuple[Path, str]:
    try:
        return find_detector()
    except PairError as error:
        pytest.skip(str(error))
