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


def first_numbers(path: Path, metadata: object, count: int = 102) -> Path:
    """A .tflite that gives the first `count` numbers of its 8 x 8 x 3 crop."""
    flat = FlatBuilder()
    x, y = flat.tensor("x", (1, 8, 8, 3), np.float32), flat.tensor("y", (1, count), np.float32)
    line = flat.tensor("line", (1, 192), np.float32)
    flat.operator("RESHAPE", [x, flat.constant("shape", np.array([1, 192], np.int32))], [line])
    begin = flat.constant("begin", np.zeros(2, np.int32))
    flat.operator("SLICE", [line, begin, flat.constant("size", np.array([1, count], np.int32))], [y])
    save_tflite(flat.finish({"x": x}, {"y": y}), path, metadata)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("section", "change", "sentence"),
    [
        (None, None, ""),
        ("input", {"size": "x"}, "an input of 'x' pixels"),
        ("input", {"size": 10**30}, "an input of 10"),
        ("input", {"size": 16}, "its graph and its metadata do not fit"),
        ("input", {"mean": None}, "incomplete or damaged"),
        ("input", {"std": 0}, "a std of 0"),
        ("input", None, "incomplete or damaged .no 'input'"),
        ("crop", {"margin": float("nan")}, "a margin of nan"),
        ("crop", 5, "incomplete or damaged"),
        ("output", {"kind": "offsets"}, "an output of kind 'offsets'"),
        ("output", {"kind": "heatmap"}, "expected 51 points from the model, found an output of"),
        ("output", {"kind": []}, "an output of kind"),
    ],
)
def test_metadata_of_another_form_are_a_sentence(tmp_path: Path, section: str | None, change: object, sentence: str):
    metadata = {key: dict(value) if isinstance(value, dict) else value for key, value in META.items()}
    if section is not None:
        if isinstance(change, dict):
            metadata[section] |= change
        elif change is None:
            del metadata[section]
        else:
            metadata[section] = change
    path = first_numbers(tmp_path / "a.tflite", metadata)
    if section is None:
        assert load_model(path).predict(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 51, 2)
        return
    with pytest.raises(ValueError, match=sentence) as error:
        load_model(path)
    assert str(error.value).startswith(str(path))


def test_another_number_of_points_is_a_sentence(tmp_path: Path):
    with pytest.raises(ValueError, match="its graph and its metadata do not fit"):
        load_model(first_numbers(tmp_path / "a.tflite", META, count=136))


def test_no_runtime_is_one_sentence_with_the_pip_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match="needs ai-edge-litert or tflite-runtime; pip install ai-edge-litert"):
        tflite_interpreter(tmp_path / "a.tflite", 1)
