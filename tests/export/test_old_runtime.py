"""The shipped kind of file in the oldest tflite-runtime that pip can install here, in an environment of its own.

PAIRFLD_OLD_RUNTIME names a Python that has another one (2.11, say) and is used instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pair_fld.config import StageConfig, load_section
from pair_fld.data.synthetic import render_face
from pair_fld.export.needed_runtime import oldest_runtime
from pair_fld.export.onnx import export_onnx
from pair_fld.export.quantization.formats import quantize
from pair_fld.export.tflite.flatbuffer import read_tflite
from pair_fld.models import build_model
from pair_fld.runtime.frame import frame_from_box, frame_matrix
from pair_fld.runtime.geometry import points_box, warp
from pair_fld.runtime.metadata import model_metadata, normalise
from pair_fld.runtime.session import decode, read_metadata
from tests.export.tiny_nets import Exported, random_crops, raw_outputs

pytestmark = pytest.mark.slow
OLD = ("tflite-runtime==2.14.0", "numpy<2")
SUBMISSIONS = sorted((Path(__file__).parents[2] / "submissions/tiny").glob("*.zip"))
SCRIPT = """
import sys
import numpy as np
from tflite_runtime.interpreter import Interpreter
path, values, target = sys.argv[1:]
interpreter = Interpreter(path)
interpreter.allocate_tensors()
outputs = []
for x in np.load(values):
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x[None])
    interpreter.invoke()
    outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
np.save(target, np.concatenate(outputs))
"""


@pytest.fixture(scope="session")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python with an old runtime, made here; skips, with pip's reason, only where the package cannot be had."""
    if python := os.environ.get("PAIRFLD_OLD_RUNTIME"):
        return python
    folder = tmp_path_factory.mktemp("old-runtime")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary=:all:", *OLD]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        pytest.skip(f"{OLD[0]} cannot be installed: {reasons[-1]}")
    return python


def answers(python: str, path: Path, crops: np.ndarray, tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Raw outputs of the old runtime and of the installed one."""
    graph = read_tflite(path).subgraphs[0]
    raw = graph.tensors[graph.inputs[0]].type == 3  # UINT8
    values, target = tmp_path / "values.npy", tmp_path / "outputs.npy"
    np.save(values, crops if raw else normalise(crops, read_metadata(path)))
    subprocess.run([python, "-c", SCRIPT, str(path), str(values), str(target)], check=True)
    found, expected = np.load(target), raw_outputs(path, crops)
    assert expected.std() > 0.01
    return found.transpose(0, 3, 1, 2) if found.ndim == 4 else found, expected


def assert_same_points(python: str, path: Path, crops: np.ndarray, tmp_path: Path) -> None:
    """Forty int8 layers deep, runtimes that break rounding ties differently drift apart by tenths of a pixel."""
    found, expected = (decode(output, read_metadata(path))[0] for output in answers(python, path, crops, tmp_path))
    distance = np.linalg.norm(found - expected, axis=-1)
    assert distance.mean() < 0.2
    assert distance.max() < 2


def faces(metadata: dict[str, Any], count: int = 16) -> np.ndarray:
    """Test-time crops (count, S, S, 3) of rendered faces: on anything else a model's answer hangs by a thread."""
    size, crops = metadata["input"]["size"], []
    for index in range(count):
        face = render_face(11, index)
        matrix = frame_matrix(frame_from_box(points_box(face.points)), size, metadata["crop"]["margin"])
        crops.append(warp(face.image, matrix, size))
    return np.stack(crops)


@pytest.mark.parametrize("input_dtype", ["float32", "uint8"])
def test_every_kind_agrees(face_net: Exported, tmp_path: Path, old_python: str, input_dtype: str) -> None:
    crops = random_crops(4)
    for file in quantize(face_net.path, tmp_path, crops, formats=["tflite"], tflite_input=input_dtype):  # pyright: ignore
        found, expected = answers(old_python, file.path, crops, tmp_path)
        step = 0.0
        if file.precision == "int8-static":
            graph = read_tflite(file.path).subgraphs[0]
            (last,) = [graph.tensors[o.inputs[0]] for o in graph.operators if graph.outputs[0] in o.outputs]
            step = float(last.quantization.scale[0])
        assert np.abs(found - expected).max() <= 1e-5 + 2.01 * step, file


@pytest.mark.parametrize("name", ["heat96", "coord96"])
def test_the_configured_students_agree(name: str, tmp_path: Path, old_python: str) -> None:
    config = load_section(StageConfig, "student", name).model
    torch.manual_seed(0)
    net = build_model(config).eval()
    metadata = model_metadata(config.input_size, config.margin, net.output_kind)
    crops = faces(metadata)
    export_onnx(net, config.input_size, tmp_path / "net.onnx", metadata)
    files = quantize(tmp_path / "net.onnx", tmp_path, crops, ["int8-static"], formats=["tflite"], decode="in-graph")
    assert len(files) == 2
    for file in files:
        assert_same_points(old_python, file.path, crops, tmp_path)


@pytest.mark.parametrize("archive", SUBMISSIONS, ids=lambda path: path.name)
def test_the_submitted_model_agrees(archive: Path, tmp_path: Path, old_python: str) -> None:
    with zipfile.ZipFile(archive) as content:
        path = Path(content.extract("model.tflite", tmp_path))
    version = oldest_runtime(path)
    assert version.startswith("TFLite ")
    assert tuple(int(part) for part in version.split()[1].split(".")) <= (2, 11)
    assert_same_points(old_python, path, faces(read_metadata(path)), tmp_path)
