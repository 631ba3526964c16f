"""Builders for data sets on disk: small images with 51 points that are visible as dots."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.point_map import PointMap
from pair_fld.runtime.landmark_files import write_faces
from pair_fld.runtime.mean_face import MEAN_FACE

SIDE = 120


def face_points(seed: int = 0) -> np.ndarray:
    """(51, 2) points _img within 30..90 of an image of side SIDE, three decimals as the label files hold."""
    return np.round(np.random.default_rng(seed).uniform(30, 90, (51, 2)), 3)


def face_image(seed: int = 0, points: np.ndarray | None = None) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 BGR: coarse noise, another one for each seed, with the points drawn."""
    coarse = np.random.default_rng(seed).integers(0, 200, (9, 9, 3), np.uint8)
    image = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    for x, y in np.rint(face_points(seed) if points is None else points).astype(int):
        cv2.circle(image, (int(x), int(y)), 1, (255, 255, 255), -1)
    return image


def identity_map() -> PointMap:
    """The map of an annotator that has the 51 points themselves."""
    same = np.zeros((2, 103, 51, 2), np.float32)
    for point in range(51):
        same[:, 2 * point, point, 0] = same[:, 2 * point + 1, point, 1] = 1
    reference = np.stack([MEAN_FACE, MEAN_FACE])
    return PointMap(reference, same, np.ones(51, bool), np.zeros(1), np.array(0.0), np.array(9))


def save_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def add_face(folder: Path, name: str, seed: int, points: np.ndarray | None = None) -> None:
    """images/NAME.png and labels/NAME.pts."""
    save_image(folder / "images" / f"{name}.png", face_image(seed))
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    write_faces(folder / "labels" / f"{name}.pts", [face_points(seed) if points is None else points])


def data_config(root: Path, *sources: SourceConfig, **more: object) -> DataConfig:
    """A configuration with small crops and one process."""
    settings = {"sources": list(sources), "root": str(root), "pack_size": 48, "num_workers": 1, **more}
    return DataConfig.model_validate(settings)
