"""The project's own face detector: one small net, a map of centres and boxes at stride 8, no anchors.

The net gives (5, H, W) for a square view of side S: a score logit and, in the frame of the cell's centre, the
centre and size of the face's 51-point box. Every cell near the middle of a face predicts it, and their boxes are
averaged, as BlazeFace's anchors are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .calibration import calibration_from_json
from .detection import sigmoid
from .metadata import METADATA_TASK, metadata_errors
from .search import SearchConfig, SearchingDetector, search_from_json
from .session import open_run, read_metadata

TASK = "faces"
# The outputs as the net gives them, so that all five have about the range that one int8 scale serves well:
# centre in eighths of a cell, natural logarithm of the size over the view's side in quarters.
CENTRE_UNIT, SIZE_UNIT = 1 / 8, 1 / 4


class CentreDetector(SearchingDetector):
    """A face detector of `pairfld train-detector`, .tflite or .onnx; its metadata says where to look.

    Raises:
        ValueError: no runtime, or another kind of file. OSError: no such file.
    """

    def __init__(self, path: str | Path, threads: int = 1, search: SearchConfig | None = None) -> None:
        self.path = Path(path)
        metadata = read_metadata(self.path)
        if metadata.get(METADATA_TASK) != TASK:
            raise ValueError(f"{path}: expected a face detector of pairfld train-detector, found another model")
        self.metadata, self._run = metadata, open_run(self.path, metadata, threads)
        with metadata_errors():
            self.side, self.name = int(metadata["input"]["size"]), str(metadata["name"])
            self.search = search or search_from_json(metadata["search"])
            self.key_points = tuple(metadata.get("key_points", ()))
            calibration = metadata.get("calibration")
            self.calibration = None if calibration is None else calibration_from_json(calibration)
        try:
            self.look(np.zeros((self.side, self.side, 3), np.uint8))
        except Exception as error:  # each runtime raises classes of its own
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: its graph and its metadata do not fit ({reason})") from None

    def look(self, view: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `SearchingDetector.look`."""
        boxes, scores = decode_map(self._run(view[None])[0])
        kept = scores >= threshold
        return boxes[kept], np.zeros((int(kept.sum()), 0, 2)), scores[kept]


def decode_map(output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (H W, 4) x0 y0 x1 y1 as fractions of the view's side, and scores (H W,), of a (5, H, W) output."""
    _, height, width = output.shape
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    centre = np.stack([(x + output[1] * CENTRE_UNIT) / width, (y + output[2] * CENTRE_UNIT) / height], axis=-1)
    half = np.exp(np.clip(output[3:5] * SIZE_UNIT, -8, 2)).transpose(1, 2, 0) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=-1).reshape(-1, 4)
    return boxes.astype(np.float64), sigmoid(output[0].astype(np.float64)).ravel()
