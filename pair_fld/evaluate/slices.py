"""What a model makes of faces made harder in one way each: disturbed copies of images, cropped by their labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from pair_fld.evaluate.disturbances import occlude, turn
from pair_fld.evaluate.disturbed_frames import LOOSE
from pair_fld.evaluate.metrics import nme
from pair_fld.evaluate.validate import Predictor, Truth, load_crops
from pair_fld.runtime.frame import Frame, frame_matrix
from pair_fld.runtime.geometry import transform_points, warp

DARK_GAIN, DARK_NOISE = 0.12, 3.0  # of the grey levels; standard deviation of the noise, grey levels
SOFT_SIGMA = 0.04  # of the blur, share of the face's size
SMALL_FACE = 24  # size of the face in pixels before it is enlarged again


@dataclass(frozen=True)
class LooseCrop:
    """A loose crop around a face: (S, S, 3) uint8 BGR, its points (51, 2) _crop, and the face's frame in it."""

    image: np.ndarray
    points: np.ndarray
    frame: Frame


Disturbance = Callable[[LooseCrop, np.ndarray, np.random.Generator], LooseCrop]


@dataclass(frozen=True)
class SliceScore:
    """NME (outer corners) of one slice, percent, over the faces that have both corners."""

    name: str
    faces: int
    nme_outer_corners_percent: float

    def __str__(self) -> str:
        return f"slice {self.name}: NME (outer corners) {self.nme_outer_corners_percent:.2f} % of {self.faces} faces"


def dark(loose: LooseCrop, mask: np.ndarray, rng: np.random.Generator) -> LooseCrop:
    """An eighth of the light, and a sensor's noise."""
    levels = loose.image * DARK_GAIN + rng.normal(0, DARK_NOISE, loose.image.shape)
    return LooseCrop(np.rint(levels).clip(0, 255).astype(np.uint8), loose.points, loose.frame)


def soft(loose: LooseCrop, mask: np.ndarray, rng: np.random.Generator) -> LooseCrop:
    """Out of focus."""
    return LooseCrop(cv2.GaussianBlur(loose.image, (0, 0), SOFT_SIGMA * loose.frame.size), loose.points, loose.frame)


def occluded(loose: LooseCrop, mask: np.ndarray, rng: np.random.Generator) -> LooseCrop:
    """One or two patches over the face, see `disturbances.occlude`."""
    labelled = np.where(mask[:, None], loose.points, np.nan)
    return LooseCrop(occlude(loose.image, labelled, rng), loose.points, loose.frame)


def turned(loose: LooseCrop, mask: np.ndarray, rng: np.random.Generator) -> LooseCrop:
    """Turned in the image by any angle; the frame follows."""
    degrees = float(rng.uniform(-180, 180))
    centres = np.vstack([loose.points, [loose.frame.centre]])
    image, moved = turn(loose.image, centres, degrees)
    return LooseCrop(
        image, moved[:-1], Frame((moved[-1, 0], moved[-1, 1]), loose.frame.size, loose.frame.roll + degrees)
    )


def small(loose: LooseCrop, mask: np.ndarray, rng: np.random.Generator) -> LooseCrop:
    """A face of 24 pixels; the model's crop enlarges it."""
    side = max(8, round(len(loose.image) * SMALL_FACE / loose.frame.size))
    image = cv2.resize(loose.image, (side, side), interpolation=cv2.INTER_AREA)
    scale = side / len(loose.image)

    def place(points: np.ndarray) -> np.ndarray:  # a pixel's centre, not its corner, is its coordinate
        return (points + 0.5) * scale - 0.5

    x, y = place(np.array(loose.frame.centre))
    return LooseCrop(image, place(loose.points), Frame((x, y), loose.frame.size * scale, loose.frame.roll))


SLICES: dict[str, Disturbance] = {"dark": dark, "soft": soft, "occluded": occluded, "turned": turned, "small": small}


def slice_scores(model: Predictor, truth: Truth, seed: int = 0) -> tuple[SliceScore, ...]:
    """Score a model on each of SLICES; every slice has the same faces.

    Args:
        seed: of what is drawn: noise, patches, angles.
    """
    generators = {name: np.random.default_rng([seed, number]) for number, name in enumerate(SLICES)}
    errors: dict[str, list[float]] = {name: [] for name in SLICES}
    size = model.input_size
    for _, loaded in load_crops(truth, round(LOOSE * size), LOOSE * model.margin, []):
        masks = np.stack([crop.point_mask for crop in loaded])
        for name, disturbance in SLICES.items():
            crops, labels = list[np.ndarray](), list[np.ndarray]()
            for crop in loaded:
                x, y, side, roll = (float(v) for v in crop.frame)
                loose = LooseCrop(crop.image, crop.points.astype(np.float64), Frame((x, y), side, roll))
                loose = disturbance(loose, crop.point_mask, generators[name])
                matrix = frame_matrix(loose.frame, size, model.margin)
                crops.append(warp(loose.image, matrix, size))
                labels.append(transform_points(matrix, loose.points))
            errors[name] += nme(model.predict(np.stack(crops)), np.stack(labels), masks).tolist()
    return tuple(_score(name, np.array(values)) for name, values in errors.items())


def _score(name: str, errors: np.ndarray) -> SliceScore:
    scored = np.isfinite(errors)
    return SliceScore(name, int(scored.sum()), float(errors[scored].mean()) * 100 if scored.any() else float("nan"))
