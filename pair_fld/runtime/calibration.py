"""From a detection to a face frame: where a detector's key points lie in the mean face, learnt on training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .detection import Detection
from .frame import Frame, fit_frame, frame_from_box, move_frame

# Size of the frame fitted to 51 labelled points over the longer side of their box, median of training faces
# (lfpw 1.05, helen 1.02, afw 1.03, aflw 1.06): faces that are turned a little are narrower than the mean face.
FRAME_PER_BOX = 1.04


@dataclass(frozen=True)
class DetectorCalibration:
    """How one detector's detections relate to the frames that people's 51 points give.

    Attributes:
        detector: its name.
        key_points: names of its K key points, in their order; none for a detector of boxes only.
        reference: (K, 2) places of the key points in the mean face's coordinates.
        weights: (K,) what each counts in the fit: the inverse variance of its place.
        bias: (4,) mean residual of the fitted frame, see `frame.frame_residual`; it is taken away.
        covariance: (4, 4) of the residual that remains; training draws its disturbed frames from it.
        faces: number of training faces that it was learnt on.
    """

    detector: str
    key_points: tuple[str, ...]
    reference: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    covariance: np.ndarray
    faces: int = 0

    def frame(self, detection: Detection) -> Frame:
        """The face frame that a detection stands for.

        Raises:
            ValueError: its key points or box span nothing.
        """
        return move_frame(self._raw(detection), self.bias)

    def roll(self, detection: Detection) -> float:
        """Degrees by which the face is turned; that of its view where the key points tell nothing."""
        try:
            return self._raw(detection).roll
        except ValueError:
            return detection.roll

    def _raw(self, detection: Detection) -> Frame:
        if len(self.reference):
            return fit_frame(detection.key_points, self.reference, self.weights)
        return frame_from_box(detection.box, detection.roll)

    def to_json(self) -> dict[str, Any]:
        """For a model's metadata."""
        return {
            "detector": self.detector,
            "key_points": list(self.key_points),
            "reference": _rounded(self.reference),
            "weights": _rounded(self.weights),
            "bias": _rounded(self.bias),
            "covariance": _rounded(self.covariance),
            "faces": self.faces,
        }


def _rounded(values: np.ndarray) -> Any:
    return np.vectorize(lambda v: float(f"{v:.5g}"), otypes=[float])(values).tolist() if values.size else []


def calibration_from_json(tree: dict[str, Any]) -> DetectorCalibration:
    """A calibration out of a model's metadata; ValueError when its arrays do not fit together."""
    names = tuple(tree["key_points"])
    made = DetectorCalibration(
        str(tree["detector"]),
        names,
        np.asarray(tree["reference"], np.float64).reshape(-1, 2),
        np.asarray(tree["weights"], np.float64).reshape(-1),
        np.asarray(tree["bias"], np.float64),
        np.asarray(tree["covariance"], np.float64),
        int(tree.get("faces", 0)),
    )
    shapes = (made.reference.shape, made.weights.shape, made.bias.shape, made.covariance.shape)
    if shapes != ((len(names), 2), (len(names),), (4,), (4, 4)):
        raise ValueError(f"expected a detector calibration of {len(names)} key points, found arrays of {shapes}")
    if not all(np.isfinite(a).all() for a in (made.reference, made.weights, made.bias, made.covariance)):
        raise ValueError("expected a detector calibration of finite numbers, found others")
    return made


def calibration_from_box_policy(policy: dict[str, Any]) -> DetectorCalibration:
    """What a format-1 model knows of its detector: the mean shift and size of 51-point boxes, and no roll.

    Args:
        policy: `offset` (x, y) in detector-box sides, `scale` (x, y), and their spreads.
    """
    spread = [*policy.get("offset_std", (0.0, 0.0)), policy.get("log_scale_std", 0.0), 0.0]
    bias = [*policy["offset"], np.log(np.max(policy["scale"]) * FRAME_PER_BOX), 0.0]
    return DetectorCalibration(
        str(policy.get("detector", "")), (), np.zeros((0, 2)), np.zeros(0),
        np.array(bias), np.diag(np.square(spread)), int(policy.get("faces", 0)),
    )  # fmt: skip
