"""The project's own face detector: one small net, a map of centres, boxes and key points at stride 8, no anchors.

The net gives (5 + 2 K, H, W) for a square view of side S: a score logit; from the cell's centre, the centre and size of
the face's 51-point box; from that box, its K key points. Every cell near the middle of a face predicts it, and their
boxes and key points are averaged, as BlazeFace's anchors are. Files of earlier versions have K = 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .calibration import DetectorCalibration, calibration_from_json
from .detection import sigmoid
from .mean_face import MEAN_FACE
from .metadata import METADATA_TASK, metadata_errors
from .scheme import EYE_LEFT, EYE_RIGHT
from .search import SearchConfig, SearchingDetector, search_from_json
from .session import open_run, read_metadata

TASK = "faces"
# The outputs as the net gives them, so that all have about the range that one int8 scale serves well: centre in eighths
# of a cell, natural logarithm of the size over the view's side in quarters, key points from the box's centre in 32nds
# of its longer side.
CENTRE_UNIT, SIZE_UNIT, KEY_POINT_UNIT = 1 / 8, 1 / 4, 1 / 32

# The key points, each the mean of some of the 51 points; "right" and "left" are the person's own, as in `blazeface`.
KEY_POINTS: dict[str, tuple[int, ...]] = {
    "right_eye": EYE_LEFT,
    "left_eye": EYE_RIGHT,
    "nose_tip": (13,),
    "right_mouth_corner": (31,),
    "left_mouth_corner": (37,),
}
MIRRORED = (1, 0, 2, 4, 3)  # the mirrored face's key point k is the original face's key point MIRRORED[k]


def key_points_of(points: np.ndarray) -> np.ndarray:
    """KEY_POINTS (..., 5, 2) of the 51 points (..., 51, 2), in their coordinates; nan where one of a mean's is nan."""
    return np.stack([points[..., list(group), :].mean(axis=-2) for group in KEY_POINTS.values()], axis=-2)


def mean_face_calibration(detector: str) -> DetectorCalibration:
    """That of KEY_POINTS with their places in the mean face, all weighed alike: what holds before one is learnt."""
    reference = key_points_of(MEAN_FACE)
    return DetectorCalibration(
        detector, tuple(KEY_POINTS), reference, np.ones(len(reference)), np.zeros(4), np.zeros((4, 4))
    )


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
            self.calibration = _calibration(metadata, self.name, self.key_points)
        try:
            channels = self._run(np.zeros((1, self.side, self.side, 3), np.uint8)).shape[1]
            if channels != 5 + 2 * len(self.key_points):
                raise ValueError(f"{len(self.key_points)} key points, {channels} output channels")
        except Exception as error:  # each runtime raises classes of its own
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: its graph and its metadata do not fit ({reason})") from None

    def infer(self, view: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `SearchingDetector.infer`."""
        boxes, key_points, scores = decode_map(self._run(view[None])[0])
        kept = scores >= threshold
        return boxes[kept], key_points[kept], scores[kept]


def _calibration(metadata: dict[str, Any], name: str, key_points: tuple[str, ...]) -> DetectorCalibration | None:
    """The stored one, else the mean face's, else (a file without key points) none."""
    if metadata.get("calibration") is not None:
        return calibration_from_json(metadata["calibration"])
    if not key_points:
        return None
    if key_points != tuple(KEY_POINTS):
        raise ValueError(f"expected the key points {', '.join(KEY_POINTS)}, found {', '.join(key_points)}")
    return mean_face_calibration(name)


def decode_map(output: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (H W, 4) x0 y0 x1 y1 and key points (H W, K, 2) as fractions of the view's side, and scores (H W,).

    Args:
        output: (5 + 2 K, H, W) of the net.
    """
    _, height, width = output.shape
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    centre = np.stack([(x + output[1] * CENTRE_UNIT) / width, (y + output[2] * CENTRE_UNIT) / height], axis=-1)
    half = np.exp(np.clip(output[3:5] * SIZE_UNIT, -8, 2)).transpose(1, 2, 0) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=-1).reshape(-1, 4)
    middle, side = centre.reshape(-1, 1, 2), 2 * half.max(axis=-1).reshape(-1, 1, 1)
    from_middle = output[5:].reshape(-1, 2, height * width).transpose(2, 0, 1)
    key_points = middle + from_middle * KEY_POINT_UNIT * side
    scores = sigmoid(output[0].astype(np.float64)).ravel()
    return boxes.astype(np.float64), key_points.astype(np.float64), scores
