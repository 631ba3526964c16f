"""One callable for every model file: ONNX or TFLite, float or int8, coordinates, heatmaps or SimCC.

A model file carries its own preprocessing as JSON ("metadata"): ONNX under the metadata property `pair_fld`,
TFLite as `pair_fld.json` in a zip behind the flatbuffer (TensorFlow's own convention for associated files).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .codec import heatmap_moments, simcc_moments
from .file_kind import known_error
from .geometry import from_norm
from .label_convention import label_shift
from .metadata import METADATA_FILE, METADATA_KEY, METADATA_TASK, POINTS_KIND, normalise, parse_metadata
from .scheme import NUM_POINTS

Run = Callable[[np.ndarray], np.ndarray]


def decode(output: np.ndarray, metadata: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Raw outputs to points (B, 51, 2) and their spreads (B, 51), both crop pixels.

    coords: (B, 51, 2) or (B, 102), normalised; they have no spread: None. heatmap: logits (B, 51, H, W). simcc: logits
    (B, 51, 2 L). points: (B, 51, 3), x, y and spread in crop pixels already, or (B, 51, 2) without a spread.
    """
    kind, size = metadata["output"]["kind"], metadata["input"]["size"]
    if kind == POINTS_KIND:
        return output[..., :2], output[..., 2] if output.shape[-1] > 2 else None
    if kind == "coords":
        return from_norm(output.reshape(len(output), NUM_POINTS, 2), size), None
    moments = heatmap_moments if kind == "heatmap" else simcc_moments
    points_norm, spreads_norm = moments(output.astype(np.float32))
    return from_norm(points_norm, size), spreads_norm * (size / 2)


class Model:
    """A landmark model on crops.

    Attributes:
        metadata: what the file says of itself. path: the file. input_size: side of its crops in pixels.
        margin: crop side over the size of the face's frame.
        label_shift: (51, 2) crop pixels, added to the decoded points: see `label_convention`.
    """

    def __init__(self, path: Path, metadata: dict[str, Any], run: Run) -> None:
        self.path, self.metadata, self._run = path, metadata, run
        self.input_size = int(metadata["input"]["size"])
        self.margin = float(metadata["crop"]["margin"])
        self.label_shift = label_shift(metadata)

    def predict(self, crops: np.ndarray) -> np.ndarray:
        """Landmarks of (B, S, S, 3) uint8 BGR crops: (B, 51, 2) float32 in crop pixels."""
        return self.locate(crops)[0]

    def locate(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """`predict`, and the spread of each point's heatmap: (B, 51) float32 in crop pixels along one axis, None for a
        model without heatmaps."""
        size = self.input_size
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (size, size, 3):
            raise ValueError(
                f"{self.path.name}: expected crops (B, {size}, {size}, 3) of uint8, "
                f"found {crops.shape} of {crops.dtype}"
            )
        if len(crops) == 0:
            return np.zeros((0, NUM_POINTS, 2), np.float32), np.zeros((0, NUM_POINTS), np.float32)
        points, spreads = decode(self._run(crops), self.metadata)
        points = points + self.label_shift
        return points.astype(np.float32), None if spreads is None else spreads.astype(np.float32)


def load_model(path: str | Path, threads: int = 1) -> Model:
    """Open an .onnx or .tflite file that carries pair_fld metadata.

    Raises:
        ValueError: wrong suffix, no metadata, or no runtime installed. OSError: no such file.
    """
    path = Path(path)
    metadata = read_metadata(path)
    if metadata.get(METADATA_TASK, "landmarks") != "landmarks":
        raise ValueError(f"{path}: expected a landmark model, found one for {metadata[METADATA_TASK]}")
    model = Model(path, metadata, open_run(path, metadata, threads))
    crop = np.zeros((1, model.input_size, model.input_size, 3), np.uint8)
    try:
        shape = model.predict(crop).shape
    except Exception as error:  # each runtime raises classes of its own
        raise ValueError(f"{path}: its graph and its metadata do not fit ({' '.join(str(error).split())})") from None
    if shape != (1, NUM_POINTS, 2):
        raise ValueError(f"{path}: expected {NUM_POINTS} points from the model, found an output of {shape}")
    return model


def open_run(path: Path, metadata: dict[str, Any], threads: int = 1) -> Run:
    """uint8 BGR crops (B, S, S, 3) -> raw outputs, batch and channels first, of any model of ours."""
    if path.suffix.lower() == ".onnx":
        return _onnx_run(path, metadata, threads)
    return _tflite_run(path, metadata, threads)


def has_metadata(path: str | Path) -> bool:
    """Whether a .tflite file says what it is, as ours do; an .onnx file is taken for ours."""
    path = Path(path)
    if path.suffix.lower() != ".tflite":
        return True
    try:
        with zipfile.ZipFile(path) as attached:
            return METADATA_FILE in attached.namelist()
    except zipfile.BadZipFile:
        return False


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The JSON that a model file carries. Raises as `load_model`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    if error := known_error(path):
        raise ValueError(f"{path}: expected a model file, found {error}")
    if path.suffix.lower() == ".tflite":
        try:
            with zipfile.ZipFile(path) as attached:
                text = attached.read(METADATA_FILE).decode()
        except (zipfile.BadZipFile, KeyError, OSError, zlib.error, UnicodeDecodeError):
            text = None
    elif path.suffix.lower() == ".onnx":
        text = _onnx_session(path, 1).get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    else:
        raise ValueError(f"{path}: expected a .onnx or .tflite file, found {path.suffix or 'no suffix'!r}")
    if text is None:
        if path.suffix.lower() == ".tflite":
            tflite_interpreter(path, 1)  # raises when the model itself is cut short
            if METADATA_FILE.encode() in path.read_bytes():
                raise ValueError(f"{path}: its metadata is cut short, the file is truncated; copy or export it again")
        raise ValueError(
            f"{path}: carries no pair_fld metadata, so its preprocessing is unknown; export it with pairfld"
        )
    try:
        return parse_metadata(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _onnx_session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ValueError(f"{path}: an .onnx file needs the package onnxruntime; pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that share no base but Exception
        reason = f"onnxruntime cannot open it: {' '.join(str(error).split())}"
        raise ValueError(f"{path}: truncated, damaged or too new; {reason}") from None


def _onnx_run(path: Path, metadata: dict[str, Any], threads: int) -> Run:
    session = _onnx_session(path, threads)
    spec = session.get_inputs()[0]
    batched = not isinstance(spec.shape[0], int)

    def run(crops: np.ndarray) -> np.ndarray:
        if spec.type == "tensor(uint8)":
            x = crops.transpose(0, 3, 1, 2)
        else:
            x = normalise(crops, metadata).transpose(0, 3, 1, 2)
        x = np.ascontiguousarray(x)
        if batched:
            return session.run(None, {spec.name: x})[0]
        return np.concatenate([session.run(None, {spec.name: one[None]})[0] for one in x])

    return run


def tflite_interpreter(path: Path, threads: int) -> Any:
    """An allocated TFLite interpreter from whichever runtime is installed; ValueError when none is."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ValueError(
                f"{path}: a .tflite file needs ai-edge-litert or tflite-runtime; pip install ai-edge-litert"
            ) from None
    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path}: truncated, damaged or too new; the TFLite runtime cannot open it: {reason}"
        ) from None
    return interpreter


def _tflite_run(path: Path, metadata: dict[str, Any], threads: int) -> Run:
    interpreter = tflite_interpreter(path, threads)
    source = interpreter.get_input_details()[0]
    target = interpreter.get_output_details()[0]
    raw_input = source["dtype"] == np.uint8

    def run(crops: np.ndarray) -> np.ndarray:
        x = crops if raw_input else normalise(crops, metadata)
        outputs = []
        for one in x:
            interpreter.set_tensor(source["index"], np.ascontiguousarray(one[None]))
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(target["index"]))
        output = np.concatenate(outputs)
        return output.transpose(0, 3, 1, 2) if output.ndim == 4 else output  # TFLite is NHWC

    return run
