"""A straightforward loader for `benchmark training` to compare with: what training code usually does, sample by sample.

It has the same augmentation (the distributions of `sample_photometric`) and also draws what such code draws as targets:
a Gaussian map for each landmark and a blurred polyline for each facial curve, as boundary-aware heatmap nets want.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from pair_fld.config import StageConfig
from pair_fld.data.augment.geometric import points_to_view, sample_views
from pair_fld.data.augment.photometric import PARTNER, sample_photometric
from pair_fld.data.dataset import FaceDataset
from pair_fld.runtime.scheme import CURVES, NUM_POINTS


class NaiveLoader:
    """Endless batches of a stage, drawn in the plain way. `rows`: the faces drawn from."""

    def __init__(self, dataset: FaceDataset, stage: StageConfig, rows: np.ndarray, kept: int = 512) -> None:
        self.dataset, self.stage = dataset, stage
        self.rows = rows[np.linspace(0, len(rows) - 1, min(kept, len(rows))).astype(int)]
        self.files = [cv2.imencode(".jpg", crop)[1] for crop in dataset.crops(self.rows)]

    def samples(self, decode: bool) -> Iterator[int]:
        """Draw a batch, yield its size, and so on. decode: every crop from a JPEG in memory, else from the dataset."""
        rng, size = np.random.default_rng(0), self.stage.train.batch_size
        while True:
            chosen = rng.integers(len(self.rows), size=size)
            parts = [self.sample(int(index), rng, decode) for index in chosen]
            images, points, maps = (torch.from_numpy(np.stack(column)) for column in zip(*parts, strict=True))
            yield len(images) if len(points) == len(maps) else 0

    def sample(self, index: int, rng: np.random.Generator, decode: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image (3, S, S) float32 normalised, points (51, 2) normalised, target maps (51 + curves, S/4, S/4)."""
        crop, points, frame = self._face(index, decode)
        size, dataset, config = self.stage.model.input_size, self.dataset.size, self.stage.train.augment
        views = sample_views(torch.from_numpy(frame[None]), dataset, self.stage.model.margin, config, rng)
        seen = points_to_view(torch.from_numpy(points[None]), views, dataset)[0].numpy()
        to_pack = np.eye(3)
        to_pack[:2, :2], to_pack[:2, 2] = views.linear[0].numpy(), views.offset[0].numpy()
        matrix = _from_norm(dataset) @ to_pack @ np.linalg.inv(_from_norm(size))
        image = cv2.warpPerspective(crop, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        image = self._look(image.astype(np.float32), rng, decode)
        return np.ascontiguousarray(image.transpose(2, 0, 1)) / 127.5 - 1, seen, draw_targets(seen, size // 4)

    def _face(self, index: int, decode: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        row = self.rows[index]
        if decode:
            crop = cv2.imdecode(self.files[index], cv2.IMREAD_COLOR)
            assert crop is not None
        else:
            crop = self.dataset.crops(self.rows[index : index + 1])[0]
        return crop, self.dataset.faces.points[row], self.dataset.faces.frame[row].astype(np.float32)

    def _look(self, image: np.ndarray, rng: np.random.Generator, decode: bool) -> np.ndarray:
        """Occluder, blur, grey, light, noise on (S, S, 3) float32 0..255."""
        size, params = len(image), sample_photometric(1, self.stage.train.augment, rng)
        if params.occluder[0]:
            line = (np.arange(size) * 2 + 1) / size - 1
            x, y = np.meshgrid(line, line)
            dx, dy = (np.abs(v - c) / e for v, c, e in zip((x, y), params.centre[0], params.extent[0], strict=True))
            inside = dx**2 + dy**2 < 1 if params.elliptical[0] else (dx < 1) & (dy < 1)
            if params.occluder[0] == PARTNER:
                other, _, _ = self._face(int(rng.integers(len(self.rows))), decode)
                image[inside] = cv2.resize(other, (size, size))[inside]
            else:
                image[inside] = params.colour[0]
        if params.blur[0] > 0:
            image = cv2.GaussianBlur(image, (9, 9), float(params.blur[0]))
        if params.grey[0]:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        if params.gamma[0] != 1:
            light = np.clip(image / 255, 0, 1) ** params.gamma[0] * params.gain[0] + params.bias[0]
            image = np.clip(light * 255, 0, 255).astype(np.float32)
        if params.noise[0] > 0:
            image = np.clip(image + rng.normal(0, params.noise[0], image.shape), 0, 255).astype(np.float32)
        return image


def draw_targets(points_norm: np.ndarray, side: int, sigma: float = 1.0) -> np.ndarray:
    """Maps (51 + curves, side, side) float32: a Gaussian a point, a blurred polyline a curve."""
    cells = ((points_norm + 1) * side - 1) / 2
    grid = np.arange(side, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    maps = np.zeros((NUM_POINTS + len(CURVES), side, side), np.float32)
    for i, (px, py) in enumerate(cells):
        maps[i] = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    for i, members in enumerate(CURVES.values()):
        line = np.rint(cells[list(members)] * 16).astype(np.int32)  # cv2 takes sixteenths of a pixel
        cv2.polylines(maps[NUM_POINTS + i], [line], False, (1.0,), 1, cv2.LINE_AA, 4)
        maps[NUM_POINTS + i] = cv2.GaussianBlur(maps[NUM_POINTS + i], (5, 5), sigma)
    return maps


def _from_norm(side: int) -> np.ndarray:
    """3x3 matrix from normalised coordinates to pixels of a crop: ((n + 1) side - 1) / 2."""
    half = side / 2
    return np.array([[half, 0, half - 0.5], [0, half, half - 0.5], [0, 0, 1]])
