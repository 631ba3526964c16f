"""MediaPipe's BlazeFace detectors.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019; anchor layout and score
rule as in MediaPipe's published face-detection graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .blazeface_calibration import BUILT_IN
from .detection import sigmoid
from .search import SearchConfig, SearchingDetector
from .session import tflite_interpreter

# "right" and "left" are the person's own
KEY_POINTS: tuple[str, ...] = ("right_eye", "left_eye", "nose_tip", "mouth", "right_ear", "left_ear")


@dataclass(frozen=True)
class AnchorLayer:
    """One output grid: `side` x `side` cells with `per_cell` anchors each, all centred on the cell."""

    side: int
    per_cell: int


# (input side, number of anchors) -> grids, in the order of the output rows
_LAYOUTS: dict[tuple[int, int], tuple[AnchorLayer, ...]] = {
    (128, 896): (AnchorLayer(16, 2), AnchorLayer(8, 6)),  # short range
    (256, 896): (AnchorLayer(16, 2), AnchorLayer(8, 6)),  # back camera
    (192, 2304): (AnchorLayer(48, 1),),  # full range
}


def anchor_centres(layers: Sequence[AnchorLayer]) -> np.ndarray:
    """Anchor centres (n, 2) as fractions of the input's side, row by row, anchors of a cell together."""
    grids = []
    for layer in layers:
        line = (np.arange(layer.side) + 0.5) / layer.side
        y, x = np.meshgrid(line, line, indexing="ij")
        grids.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), layer.per_cell, axis=0))
    return np.concatenate(grids)


def decode_faces(regressors: np.ndarray, centres: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) x0, y0, x1, y1 and key points (n, 6, 2) as fractions of the input's side.

    The box has BlazeFace's size but is centred on the inner face. BlazeFace's own is centred on the head, and a turned
    head moves the inner face inside it: measured on training data, the centre of the 51-point box then varies by 13 %
    of its size (standard deviation), against 3.5 % around the middle of eyes, nose and mouth, which is taken here.

    Args:
        regressors: (n, 16), input pixels: x, y of the box centre from the anchor, width, height; then x, y from
            the anchor of KEY_POINTS.
        centres: (n, 2) anchor centres as fractions.
    """
    key_points = regressors[:, 4:].reshape(-1, len(KEY_POINTS), 2) / side + centres[:, None]
    inner = key_points[:, :4]
    centre = (inner.min(axis=1) + inner.max(axis=1)) / 2
    half = regressors[:, 2:4] / side / 2
    return np.concatenate([centre - half, centre + half], axis=1), key_points


class BlazeFace(SearchingDetector):
    """A MediaPipe BlazeFace .tflite file (short range, back camera or full range: its shapes tell which).

    Args:
        path: the .tflite file. threads: of the runtime. search: its views and thresholds.

    Raises:
        ValueError: no TFLite runtime, or not such a file. OSError: no such file.
    """

    def __init__(self, path: str | Path, threads: int = 1, search: SearchConfig | None = None) -> None:
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such face detector file")
        self.path, self.search = path, search or SearchConfig()
        self._run, self.side, count = _open(path, threads)
        layout = _LAYOUTS.get((self.side, count))
        if layout is None:
            raise ValueError(f"{path}: expected a BlazeFace file, found {count} anchors on {self.side} pixels")
        self.name = f"blazeface_{self.side}"
        self.key_points = KEY_POINTS
        self.calibration = BUILT_IN.get(self.name)
        self.layers = layout
        self._centres = anchor_centres(layout)

    def infer(self, view: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `SearchingDetector.infer`."""
        regressors, logits = self._run(view[:, :, ::-1].astype(np.float32) / np.float32(127.5) - 1)
        scores = sigmoid(logits)
        kept = scores >= threshold  # few: what is left out need not be decoded
        return (*decode_faces(regressors[kept], self._centres[kept], self.side), scores[kept])


def _open(path: Path, threads: int) -> tuple[Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], int, int]:
    """(run: (S, S, 3) float32 -> regressors (n, 16), logits (n,)), S, n of a detector file."""
    try:
        interpreter: Any = tflite_interpreter(path, threads)
    except ValueError as error:
        if "pip install" not in str(error):
            raise
        raise ValueError(
            f"{path.name}: this face detector runs in a TFLite runtime only, and none is installed "
            "(onnxruntime alone cannot open it); pip install ai-edge-litert"
        ) from None
    source = interpreter.get_input_details()[0]
    outputs = interpreter.get_output_details()
    by_width = {int(d["shape"][-1]): d["index"] for d in outputs}
    if set(by_width) != {1, 16} or len(source["shape"]) != 4:
        found = [tuple(int(n) for n in d["shape"]) for d in outputs]
        raise ValueError(f"{path}: expected a BlazeFace file with outputs (1, n, 16) and (1, n, 1), found {found}")

    def run(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        interpreter.set_tensor(source["index"], np.ascontiguousarray(x[None]))
        interpreter.invoke()
        return interpreter.get_tensor(by_width[16])[0], interpreter.get_tensor(by_width[1])[0, :, 0]

    return run, int(source["shape"][1]), int(outputs[0]["shape"][1])
