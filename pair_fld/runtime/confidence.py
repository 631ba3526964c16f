"""How much a face's points can be trusted, from what the detector and the landmark model say of it.

The landmark model is the second opinion on every detection: on what is no face its heatmaps spread, its points do not
resemble a face, and they do not lie where the detector saw one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .frame import Frame, fit_frame, frame_residual, place

FEATURES = ("spread", "worst_spread", "shape", "shift", "growth", "turn", "detector")
_LEAST = 1e-4  # under logarithms


@dataclass(frozen=True)
class Confidence:
    """A logistic regression on `face_features`, and the gain from a heatmap's spread to a deviation.

    Attributes:
        weights: (7,) of FEATURES. bias: the intercept.
        gain, power: a point's deviation is gain * spread ** power, both over the face's size.
        faces: number of training faces (and faceless crops) that it was learnt on.
    """

    weights: np.ndarray
    bias: float
    gain: float
    power: float
    faces: int = 0

    def score(self, features: np.ndarray) -> float:
        """Probability that a face's NME (outer corners) is below 0.08."""
        return float(1 / (1 + np.exp(-np.clip(features @ self.weights + self.bias, -50, 50))))

    def deviations(self, spreads_img: np.ndarray, size: float) -> np.ndarray:
        """Deviations (51,) in image pixels of points whose heatmaps spread by `spreads_img` (51,)."""
        return self.gain * (np.maximum(spreads_img, _LEAST * size) / size) ** self.power * size

    def to_json(self) -> dict[str, Any]:
        """For a model's metadata."""
        return {
            "features": list(FEATURES),
            "weights": [float(f"{w:.5g}") for w in self.weights],
            "bias": float(f"{self.bias:.5g}"),
            "gain": float(f"{self.gain:.5g}"),
            "power": float(f"{self.power:.5g}"),
            "faces": self.faces,
        }


def confidence_from_json(tree: dict[str, Any]) -> Confidence:
    """A `Confidence` out of a model's metadata; ValueError when it was learnt on other features."""
    if tuple(tree["features"]) != FEATURES or len(tree["weights"]) != len(FEATURES):
        raise ValueError(f"expected a confidence on the features {', '.join(FEATURES)}, found {tree['features']}")
    weights = np.asarray(tree["weights"], np.float64)
    return Confidence(weights, float(tree["bias"]), float(tree["gain"]), float(tree["power"]), int(tree["faces"]))


def face_features(
    points_img: np.ndarray, spreads_img: np.ndarray, crop_frame: Frame, detector_score: float
) -> np.ndarray:
    """What tells a good face from a bad one or from none: (7,) in the order of FEATURES.

    Args:
        points_img: (51, 2) points. spreads_img: (51,) spread of each point's heatmap, image pixels.
        crop_frame: the frame that the points were predicted in. detector_score: of the detection behind it.

    Raises:
        ValueError: the points span no face.
    """
    frame = fit_frame(points_img)
    shape = np.sqrt(np.square(points_img - place(frame)).sum(axis=1).mean()) / frame.size
    dx, dy, growth, turn = frame_residual(crop_frame, frame)
    spread = spreads_img / frame.size
    odds = np.clip(detector_score, 1e-6, 1 - 1e-6)
    return np.array(
        [
            np.log(max(float(spread.mean()), _LEAST)),
            np.log(max(float(np.quantile(spread, 0.9)), _LEAST)),
            np.log(max(float(shape), _LEAST)),
            np.hypot(dx, dy),
            abs(growth),
            abs(turn) / 45,
            np.log(odds / (1 - odds)),
        ]
    )
