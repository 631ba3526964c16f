"""Faces of known shape, and an annotator of 20 points whose relation to the 51 is linear and known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pair_fld.data.annotations import write_annotation
from pair_fld.io import write_json
from pair_fld.runtime.frame import Frame, place
from pair_fld.runtime.landmark_files import write_faces
from pair_fld.runtime.mean_face import MEAN_FACE

COUNT = 20
_MODES = np.random.default_rng(7).normal(0, 0.02, (4, 51, 2))
# each of the 20 is a mean of five of the 51
_MIX = np.stack(
    [np.isin(np.arange(51), np.random.default_rng(k).choice(51, 5, replace=False)) / 5 for k in range(COUNT)]
)
# the annotator is off by other amounts on an image and on its mirror image
BIAS = (np.array([0.03, -0.01]), np.array([-0.04, 0.02]))


def local_shape(seed: int) -> np.ndarray:
    """(51, 2) in mean-face coordinates."""
    return MEAN_FACE + np.tensordot(np.random.default_rng(seed).normal(size=4), _MODES, axes=1)


def frame(seed: int) -> Frame:
    x, y, size, roll = np.random.default_rng(1000 + seed).uniform([90, 90, 40, -30], [150, 150, 90, 30]).tolist()
    return Frame((x, y), size, roll)


def labels_of(seed: int) -> np.ndarray:
    """(51, 2) _img."""
    return place(frame(seed), local_shape(seed))


def annotator_points(seed: int, flip: int) -> np.ndarray:
    """(20, 2) _img, as the annotator has them."""
    return place(frame(seed), _MIX @ local_shape(seed) + BIAS[flip])


def eye_distance(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[28] - points[19]))


def write_set(root: Path, name: str, seeds: range, shift: tuple[float, float] = (0.0, 0.0)) -> None:
    """A labelled folder root/name; shift: of its labels, percent of the eye distance."""
    for seed in seeds:
        image = np.random.default_rng(seed).integers(0, 255, (30, 30, 3), np.uint8)
        path = root / name / "images" / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", cv2.resize(image, (240, 240)))[1].tobytes())
        points = labels_of(seed)
        points = points + np.array(shift) / 100 * eye_distance(points)
        (root / name / "labels").mkdir(exist_ok=True)
        write_faces(root / name / "labels" / f"{seed}.pts", [points])


def write_annotations(folder: Path, root: Path, names: dict[str, range], flips: int = 2) -> None:
    """The annotator's labels of these sets, as `pairfld annotate` writes them."""
    for name, seeds in names.items():
        for seed in seeds:
            for flip in reversed(range(flips)):
                write_annotation(folder, flip, f"{name}/images/{seed}.png", annotator_points(seed, flip))
    write_json(folder / "run.json", {"root": str(root), "annotator": "twenty"})
