"""The same files in an old runtime: PAIRFLD_OLD_RUNTIME is a Python with tflite-runtime 2.11 or 2.14, numpy < 2."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tiny_nets import Exported, random_crops, raw_outputs

from pair_fld.export.flatbuffer import read_tflite
from pair_fld.export.quantize import quantize
from pair_fld.runtime.session import normalise

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


@pytest.fixture(scope="module")
def old_python() -> str:
    python = os.environ.get("PAIRFLD_OLD_RUNTIME")
    if not python:
        pytest.skip("PAIRFLD_OLD_RUNTIME names no Python with an old tflite-runtime")
    return python


def test_old_runtimes_agree(face_net: Exported, tmp_path: Path, old_python: str) -> None:
    crops = random_crops(4)
    values, target = tmp_path / "values.npy", tmp_path / "outputs.npy"
    for raw in (False, True):
        np.save(values, crops if raw else normalise(crops, face_net.metadata))
        input_dtype = "uint8" if raw else "float32"
        folder = tmp_path / input_dtype
        files = quantize(face_net.path, folder, crops, formats=["tflite"], tflite_input=input_dtype)
        for file in files:
            subprocess.run([old_python, "-c", SCRIPT, str(file.path), str(values), str(target)], check=True)
            found, expected = np.load(target), raw_outputs(file.path, crops)
            found = found.transpose(0, 3, 1, 2) if found.ndim == 4 else found
            step = 0.0
            if file.kind == "int8-static":
                graph = read_tflite(file.path).subgraphs[0]
                (last,) = [graph.tensors[o.inputs[0]] for o in graph.operators if graph.outputs[0] in o.outputs]
                step = float(last.quantization.scale[0])
            assert np.abs(found - expected).max() <= 1e-5 + 2.01 * step, file
