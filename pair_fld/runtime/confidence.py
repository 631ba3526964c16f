"""How much a face's points can be trusted, from what the detector and the landmark model say of it.

The landmark model is the second opinion on every detection: on what is no face its heatmaps spread, its points do not
resemble a face, and they do not lie where the detector saw one. Where that leaves doubt, it is asked again in another
crop: on a face the points stay, on anything else they move with the crop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .detection import sigmoid
from .frame import Frame, fit_frame, frame_residual, move_frame, place

FEATURES = ("spread", "worst_spread", "shape", "shift", "growth", "turn", "detector")
# A followed face, and one whose frame somebody gave, has no detection behind it; this stands in its place.
TRACKED_DETECTOR_SCORE = 0.9
_LEAST = 1e-4  # under logarithms


@dataclass(frozen=True)
class FaceBounds:
    """What a detection must reach to count as a face.

    Attributes:
        presence: see `Confidence.presence`.
        detector: the detector's score, 0 ... 1, which decides alone for a model without a confidence.
    """

    presence: float
    detector: float


# In the first views, and in the many further ones, turned and fine, each of which is one more chance to take something
# for a face. Higher bounds of presence leave fewer false faces, and lose more faces that are hidden in part or blurred.
# BlazeFace alone, on 160 training images of
# lfpw, aflw and helen and on drawn ones: upright faces have scores from 0.7 up, turned ones from 0.8 up; drawn images
# without a face reach 0.75 upright and 0.79 in further views.
FIRST_BOUNDS = FaceBounds(presence=0.2, detector=0.6)
FURTHER_BOUNDS = FaceBounds(presence=0.6, detector=0.8)
# Presence between which the model is asked again, and the residual (`frame.frame_residual`) of that crop's frame from
# the points': far enough for points that follow the crop to show it.
DOUBTFUL = (0.05, 0.98)
SECOND_CROP = (0.12, 0.08, 0.12, 12.0)


@dataclass(frozen=True)
class Confidence:
    """Two logistic regressions on `face_features`, and the gain from a heatmap's spread to a deviation.

    Attributes:
        weights: (7,) of FEATURES, for the score. bias: the intercept.
        presence_weights, presence_bias: the same for whether there is a face at all. A blurred face is one, though its
            score is low.
        again_weights, again_bias: presence once more, of the features and `moved`; (8,) or, for a model of an earlier
            version, which is not asked again, (0,).
        gain, power: a point's deviation is gain * spread ** power, both over the face's size.
        faces: number of training faces (and faceless crops) that it was learnt on.
    """

    weights: np.ndarray
    bias: float
    presence_weights: np.ndarray
    presence_bias: float
    gain: float
    power: float
    faces: int = 0
    again_weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    again_bias: float = 0.0

    def score(self, features: np.ndarray) -> float:
        """Probability that a face's NME (outer corners) is below 0.08."""
        return float(sigmoid(features @ self.weights + self.bias))

    def presence(self, features: np.ndarray) -> float:
        """Probability that there is a face, and the crop is not turned the wrong way."""
        return float(sigmoid(features @ self.presence_weights + self.presence_bias))

    def doubts(self, presence: float) -> bool:
        """Whether the model should be asked again."""
        return len(self.again_weights) > 0 and DOUBTFUL[0] < presence < DOUBTFUL[1]

    def presence_again(self, features: np.ndarray, moved: float) -> float:
        """`presence`, knowing how far the points moved in a second crop."""
        return float(sigmoid(np.append(features, moved) @ self.again_weights + self.again_bias))

    def deviations(self, spreads_img: np.ndarray, size: float) -> np.ndarray:
        """Deviations (51,) in image pixels of points whose heatmaps spread by `spreads_img` (51,)."""
        return self.gain * (np.maximum(spreads_img, _LEAST * size) / size) ** self.power * size

    def to_json(self) -> dict[str, Any]:
        """For a model's metadata."""
        return {
            "features": list(FEATURES),
            "weights": [float(f"{w:.5g}") for w in self.weights],
            "bias": float(f"{self.bias:.5g}"),
            "presence_weights": [float(f"{w:.5g}") for w in self.presence_weights],
            "presence_bias": float(f"{self.presence_bias:.5g}"),
            "again_weights": [float(f"{w:.5g}") for w in self.again_weights],
            "again_bias": float(f"{self.again_bias:.5g}"),
            "gain": float(f"{self.gain:.5g}"),
            "power": float(f"{self.power:.5g}"),
            "faces": self.faces,
        }


def confidence_from_json(tree: dict[str, Any]) -> Confidence:
    """A `Confidence` out of a model's metadata; ValueError when it was learnt on other features."""
    weights = [np.asarray(tree[name], np.float64) for name in ("weights", "presence_weights")]
    if tuple(tree["features"]) != FEATURES or any(w.shape != (len(FEATURES),) for w in weights):
        raise ValueError(f"expected a confidence on the features {', '.join(FEATURES)}, found {tree['features']}")
    again = np.asarray(tree.get("again_weights", ()), np.float64)
    if again.shape not in ((0,), (len(FEATURES) + 1,)):
        raise ValueError(f"expected {len(FEATURES) + 1} weights of a second crop, found {again.shape}")
    return Confidence(
        weights[0], float(tree["bias"]), weights[1], float(tree["presence_bias"]), float(tree["gain"]),
        float(tree["power"]), int(tree["faces"]), again, float(tree.get("again_bias", 0.0)),
    )  # fmt: skip


def second_crop(frame: Frame) -> Frame:
    """The frame of the crop in which a doubtful face is looked at again; `frame`: fitted to its points."""
    return move_frame(frame, np.array(SECOND_CROP))


def moved(points_img: np.ndarray, again_img: np.ndarray, size: float) -> float:
    """Logarithm of the root mean square distance of the points (51, 2) of two crops, over the face's size."""
    return float(np.log(max(np.sqrt(np.square(points_img - again_img).sum(axis=1).mean()) / size, _LEAST)))


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
