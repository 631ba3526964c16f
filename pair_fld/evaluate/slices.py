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
class View:
    """A loose crop around a face: (S, S, 3) uint8 BGR, its points (51, 2) _crop, and the face's frame in it."""

    image: np.ndarray
    points: np.ndarray
    frame: Frame


Disturbance = Callable[[View, np.ndarray, np.random.Generator], View]


@dataclass(frozen=True)
class SliceScore:
    """NME (outer corners) of one slice, percent, over the faces that have both corners."""

    name: str
    faces: int
    nme_outer_corners_percent: float

    def __str__(self) -> str:
        return f"slice {self.name}: NME (outer corners) {self.nme_outer_corners_percent:.2f} % of {self.faces} faces"


def dark(view: View, mask: np.ndarray, rng: np.random.Generator) -> View:
    """An eighth of the light, and a sensor's noise."""
    levels = view.image * DARK_GAIN + rng.normal(0, DARK_NOISE, view.image.shape)
    return View(np.rint(levels).clip(0, 255).astype(np.uint8), view.points, view.frame)


def soft(view: View, mask: np.ndarray, rng: np.random.Generator) -> View:
    """Out of focus."""
    return View(cv2.GaussianBlur(view.image, (0, 0), SOFT_SIGMA * view.frame.size), view.points, view.frame)


def occluded(view: View, mask: np.ndarray, rng: np.random.Generator) -> View:
    """One or two patches over the face, see `disturbances.occlude`."""
    labelled = np.where(mask[:, None], view.points, np.nan)
    return View(occlude(view.image, labelled, rng), view.points, view.frame)


def turned(view: View, mask: np.ndarray, rng: np.random.Generator) -> View:
    """Turned in the image by any angle; the frame follows."""
    degrees = float(rng.uniform(-180, 180))
    centres = np.vstack([view.points, [view.frame.centre]])
    image, moved = turn(view.image, centres, degrees)
    return View(image, moved[:-1], Frame((moved[-1, 0], moved[-1, 1]), view.frame.size, view.frame.roll + degrees))


def small(view: View, mask: np.ndarray, rng: np.random.Generator) -> View:
    """A face of 24 pixels; the model's crop enlarges it."""
    side = max(8, round(len(view.image) * SMALL_FACE / view.frame.size))
    image = cv2.resize(view.image, (side, side), interpolation=cv2.INTER_AREA)
    scale = side / len(view.image)

    def place(points: np.ndarray) -> np.ndarray:  # a pixel's centre, not its corner, is its coordinate
        return (points + 0.5) * scale - 0.5

    x, y = place(np.array(view.frame.centre))
    return View(image, place(view.points), Frame((x, y), view.frame.size * scale, view.frame.roll))


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
                view = View(crop.image, crop.points.astype(np.float64), Frame((x, y), side, roll))
                view = disturbance(view, crop.point_mask, generators[name])
                matrix = frame_matrix(view.frame, size, model.margin)
                crops.append(warp(view.image, matrix, size))
                labels.append(transform_points(matrix, view.points))
            errors[name] += nme(model.predict(np.stack(crops)), np.stack(labels), masks).tolist()
    return tuple(_score(name, np.array(values)) for name, values in errors.items())


def _score(name: str, errors: np.ndarray) -> SliceScore:
    scored = np.isfinite(errors)
    return SliceScore(name, int(scored.sum()), float(errors[scored].mean()) * 100 if scored.any() else float("nan"))
