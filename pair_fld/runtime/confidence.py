"""How much a face's points can be trusted, from what the detector and the landmark model say of it.

The landmark model is the second opinion on every detection: on what is no face its heatmaps spread, its points do not
resemble a face, and they do not lie where the detector saw one. Where that leaves doubt, it is asked again in another
crop: on a face the points stay and the heatmaps are narrow once more, on anything else the points move with the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .detection import sigmoid
from .frame import Frame, fit_frame, frame_residual, move_frame, place
from .scheme import OUTER_EYE_CORNERS, REGIONS

FEATURES = (
    "spread", "worst_spread", "shape", "shift", "growth", "turn", "detector", "eyes", "signed_growth", "unevenness",
    "brow_spread", "nose_spread", "eye_spread", "lip_spread",
)  # fmt: skip
# The points of each part of the face that has a spread of its own, in the order of FEATURES.
PARTS = tuple(
    tuple(k for name, points in REGIONS.items() if name.startswith(part) for k in points)
    for part in ("brow", "nose", "eye", "lip")
)
SECOND_FEATURES = ("moved", "spread")  # of a second crop
# A followed face, and one whose frame somebody gave, has no detection behind it; this stands in its place.
TRACKED_DETECTOR_SCORE = 0.9
_LEAST = 1e-4  # under logarithms
_NEARLY_WORST = 45  # of 51 in order: their 0.9 quantile, which numpy.quantile finds at twenty times the time
_LEAST_EYES = 0.02  # of a face's size, between the outer corners: a full profile's


@dataclass(frozen=True)
class FaceBounds:
    """What a detection must reach to count as a face.

    Attributes:
        presence: see `Confidence.presence`.
        detector: the detector's score, 0 ... 1, which decides alone for a model without a confidence.
    """

    presence: float
    detector: float


# In the first views, in the further upright ones, and in the turned ones, each of which is one more chance to take
# something for a face. Higher bounds of presence leave fewer false faces, and lose more faces that are hidden in part
# or blurred. Cross-validated on 213 held-back training images, disturbed in each way and made small, and on 370 drawn
# and scrambled ones, of which 5 have a false face: a first bound of 0.4 keeps 8 faces more than one of 0.5 and no more
# false ones. Upright bounds of 0.7, 0.8 and 0.9 keep 144, 139 and 124 of 188 small blurred faces, without a false one
# in 205 drawn images, but in 1, 0 and 0 of 205 that are blurred besides.
# BlazeFace alone, on 160 training images of lfpw, aflw and helen and on drawn ones: upright faces have scores from 0.7
# up, turned ones from 0.8 up; drawn images without a face reach 0.75 upright and 0.79 in further views.
FIRST_BOUNDS = FaceBounds(presence=0.4, detector=0.6)
FURTHER_BOUNDS = FaceBounds(presence=0.8, detector=0.8)
TURNED_BOUNDS = FaceBounds(presence=0.9, detector=0.8)
# Presence between which the model is asked again, and the residual (`frame.frame_residual`) of that crop's frame from
# the points': far enough for points that follow the crop to show it.
DOUBTFUL = (0.05, 0.98)
SECOND_CROP = (0.12, 0.08, 0.12, 12.0)


@dataclass(frozen=True)
class Confidence:
    """Logistic regressions on `face_features`, and the gain from a heatmap's spread to a deviation.

    Attributes:
        weights: (F,) of FEATURES, for the score.
        bias: the intercept.
        presence_weights, presence_bias: the same for whether there is a face at all. A blurred face is one, though its
            score is low.
        again_weights, again_bias: presence once more, of FEATURES and SECOND_FEATURES; (F + 2,) or, for a model of an
            earlier version, which is not asked again, (0,).
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
        """Probability that a face's NME (outer corners) is below 0.08, if it is a face."""
        return float(sigmoid(features @ self.weights + self.bias))

    def presence(self, features: np.ndarray) -> float:
        """Probability that there is a face, and the crop is not turned the wrong way."""
        return float(sigmoid(features @ self.presence_weights + self.presence_bias))

    def doubts(self, presence: float) -> bool:
        """Whether the model should be asked again."""
        return len(self.again_weights) > 0 and DOUBTFUL[0] < presence < DOUBTFUL[1]

    def presence_again(self, features: np.ndarray, second: np.ndarray) -> float:
        """`presence`, knowing what a second crop showed: (2,), see `second_features`."""
        return float(sigmoid(np.append(features, second) @ self.again_weights + self.again_bias))

    def deviations(self, spreads_img: np.ndarray, size: float) -> np.ndarray:
        """Deviations (51,) in image pixels of points whose heatmaps spread by `spreads_img` (51,)."""
        return self.gain * (np.maximum(spreads_img, _LEAST * size) / size) ** self.power * size

    def to_json(self) -> dict[str, Any]:
        """For a model's metadata."""
        return {
            "features": list(FEATURES),
            "second_features": list(SECOND_FEATURES),
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
    """A `Confidence` out of a model's metadata; ValueError when it was learnt on features that are not known here.

    An earlier version knew fewer features; those that are not among a model's count nothing in it.
    """
    names, second = tuple(tree["features"]), tuple(tree.get("second_features", SECOND_FEATURES[:1]))
    if not set(names) <= set(FEATURES) or not set(second) <= set(SECOND_FEATURES):
        raise ValueError(f"expected a confidence on the features {', '.join(FEATURES)}, found {list(names + second)}")
    places = [FEATURES.index(name) for name in names]
    weights = [_placed(tree[name], places, len(FEATURES)) for name in ("weights", "presence_weights")]
    again = tree.get("again_weights", ())
    if len(again):
        places += [len(FEATURES) + SECOND_FEATURES.index(name) for name in second]
        again = _placed(again, places, len(FEATURES) + len(SECOND_FEATURES))
    return Confidence(
        weights[0], float(tree["bias"]), weights[1], float(tree["presence_bias"]), float(tree["gain"]),
        float(tree["power"]), int(tree["faces"]), np.asarray(again, np.float64), float(tree.get("again_bias", 0.0)),
    )  # fmt: skip


def _placed(weights: Sequence[float], places: Sequence[int], count: int) -> np.ndarray:
    """(count,) weights, 0 where none is given."""
    if len(weights) != len(places):
        raise ValueError(f"expected {len(places)} weights of a confidence, found {len(weights)}")
    placed = np.zeros(count)
    placed[list(places)] = weights
    return placed


def second_crop(frame: Frame) -> Frame:
    """The frame of the crop in which a doubtful face is looked at again; `frame`: fitted to its points."""
    return move_frame(frame, np.array(SECOND_CROP))


def second_features(points_img: np.ndarray, again_img: np.ndarray, spreads_img: np.ndarray, size: float) -> np.ndarray:
    """What a second crop shows: (2,) in the order of SECOND_FEATURES.

    Args:
        points_img, again_img: (51, 2) points of the first and of the second crop.
        spreads_img: (51,) spread of each heatmap of the second.
        size: the face's.
    """
    distance = np.sqrt(np.square(points_img - again_img).sum(axis=1).mean())
    return np.array([_log(distance / size), _log(spreads_img.mean() / size)])


def face_features(
    points_img: np.ndarray, spreads_img: np.ndarray, crop_frame: Frame, detector_score: float
) -> np.ndarray:
    """What tells a good face from a bad one or from none: (F,) in the order of FEATURES.

    Args:
        points_img: (51, 2) points.
        spreads_img: (51,) spread of each point's heatmap, image pixels.
        crop_frame: the frame that the points were predicted in.
        detector_score: of the detection behind it.

    Raises:
        ValueError: the points span no face.
    """
    frame = fit_frame(points_img)
    shape = np.sqrt(np.square(points_img - place(frame)).sum(axis=1).mean()) / frame.size
    dx, dy, growth, turn = frame_residual(crop_frame, frame)
    spread = np.maximum(spreads_img / frame.size, _LEAST)
    odds = np.clip(detector_score, 1e-6, 1 - 1e-6)
    left, right = (points_img[corner] for corner in OUTER_EYE_CORNERS)
    eyes = np.hypot(*(left - right)) / frame.size
    return np.array(
        [
            _log(spread.mean()),
            _log(np.sort(spread)[_NEARLY_WORST]),
            _log(shape),
            np.hypot(dx, dy),
            abs(growth),
            abs(turn) / 45,
            np.log(odds / (1 - odds)),
            # errors are measured in distances of the eyes, which a turned head shows short
            np.log(max(float(eyes), _LEAST_EYES)),
            growth,  # points that draw together tell of blur, points that move apart of something in front of the face
            np.log(spread).std(),  # a face that is hidden in part is sure of the rest
            *(_log(spread[list(part)].mean()) for part in PARTS),
        ]
    )


def _log(value: float) -> float:
    return float(np.log(max(float(value), _LEAST)))
