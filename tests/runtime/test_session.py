import sys
from pathlib import Path

import numpy as np
import pytest

from pair_fld.export.tflite.flatbuffer import FlatBuilder, save_tflite
from pair_fld.runtime.metadata import model_metadata, normalise
from pair_fld.runtime.session import decode, load_model, read_metadata, tflite_interpreter

META = model_metadata(8, 1.5, "coords")


def test_metadata_holds_the_preprocessing():
    assert META["input"] == {"size": 8, "colour": "bgr", "mean": 127.5, "std": 127.5}
    assert META["crop"] == {"margin": 1.5}
    with pytest.raises(ValueError, match=r"expected an output kind of .*found 'offsets'"):
        model_metadata(8, 1.5, "offsets")


def test_pixels_become_minus_one_to_one():
    np.testing.assert_allclose(normalise(np.array([0, 255], np.uint8), META), [-1, 1], atol=1e-6)


def test_coordinates_by_hand():
    output = np.zeros((1, 102), np.float32)
    output[0, :2] = [-1, 0.25]
    points, spreads = decode(output, META)
    assert spreads is None
    assert points.shape == (1, 51, 2)
    np.testing.assert_allclose(points[0, :2], [[-0.5, 4.5], [3.5, 3.5]])  # ((n + 1) 8 - 1) / 2


def test_heatmap_by_hand():
    logits = np.full((1, 51, 4, 4), -1e4, np.float32)
    logits[:, :, 1, 2] = 0  # cell centre x 1/4, y -1/4 -> crop pixels ((n + 1) 8 - 1) / 2
    points, spreads = decode(logits, model_metadata(8, 1.5, "heatmap"))
    np.testing.assert_allclose(points[0, 7], [4.5, 2.5], atol=1e-5)
    np.testing.assert_allclose(spreads[0, 7], 0, atol=1e-3)
    # two cells alike, two cells apart along x: half a crop pixel's cell is 2 pixels, so the points lie 2 x 2 apart:
    # variance 4 along x, 0 along y, their mean 2
    logits[:, :, 1, 0] = 0
    points, spreads = decode(logits, model_metadata(8, 1.5, "heatmap"))
    np.testing.assert_allclose(points[0, 7], [2.5, 2.5], atol=1e-5)
    np.testing.assert_allclose(spreads[0, 7], np.sqrt(2), atol=1e-5)


def test_simcc_outputs_by_hand():
    output = np.full((1, 51, 8), -1e4, np.float32)
    output[:, :, 2] = output[:, :, 4] = 0  # x centre 1/4, y centre -3/4 -> crop pixels ((n + 1) 8 - 1) / 2
    points, spreads = decode(output, model_metadata(8, 1.5, "simcc"))
    np.testing.assert_allclose(points[0, 7], [4.5, 0.5], atol=1e-5)
    np.testing.assert_allclose(spreads[0, 7], 0, atol=1e-3)


def test_files_that_are_no_models(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such model file"):
        load_model(tmp_path / "none.onnx")
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"expected a .onnx or .tflite file, found '.pt'"):
        load_model(tmp_path / "a.pt")
    (tmp_path / "a.tflite").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="truncated, damaged or too new; the TFLite runtime cannot open it"):
        read_metadata(tmp_path / "a.tflite")
    (tmp_path / "a.onnx").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="onnxruntime cannot open it"):
        load_model(tmp_path / "a.onnx")


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_what_stands_in_a_models_place_is_named(tmp_path: Path, suffix: str):
    path = (tmp_path / "a").with_suffix(suffix)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    for content, found in ((b"", "an empty file"), (pointer, "a Git LFS pointer"), (b"<html>404", "a web page")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"expected a model file, found {found}"):
            load_model(path)


def test_a_truncated_model_is_not_called_foreign(tmp_path: Path):
    flat = FlatBuilder()
    x, y = (flat.tensor(name, (1, 4), np.float32) for name in "xy")
    flat.operator("RELU", [x], [y])
    flatbuffer, path = flat.finish({"x": x}, {"y": y}), tmp_path / "a.tflite"
    save_tflite(flatbuffer, path, META)
    whole = path.read_bytes()
    assert read_metadata(path)["crop"] == {"margin": 1.5}
    for length, found in ((len(flatbuffer) // 2, "truncated, damaged"), (len(whole) - 9, "its metadata is cut short")):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=found):
            read_metadata(path)
    path.write_bytes(flatbuffer)  # whole, and not ours
    with pytest.raises(ValueError, match="carries no pair_fld metadata, so its preprocessing is unknown"):
        read_metadata(path)


def test_no_runtime_is_one_sentence_with_the_pip_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match="needs ai-edge-litert or tflite-runtime; pip install ai-edge-litert"):
        tflite_interpreter(tmp_path / "a.tflite", 1)
