"""Training batches: which faces a step sees, and how they look. A pure function of (seed, step).

Because nothing is remembered between steps, a run that is resumed sees exactly what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from pair_fld.config import StageConfig
from pair_fld.data.augment import mirror_order, photometrics, plan_views, view_images, view_points
from pair_fld.data.pack import MACHINE, NONE, TRAIN, Pack
from pair_fld.train.losses import Batch


@dataclass(frozen=True)
class TeacherLabels:
    """A teacher's answers on N faces.

    points: (N, 51, 2) float32 _pack. sigma: (N, 51) float32, the standard deviation of its heatmap in crop percent:
    its own uncertainty.
    """

    points: np.ndarray
    sigma: np.ndarray


def epoch_rows(rows: np.ndarray, weights: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The faces of an epoch in order: each floor(weight) times, plus once with the probability of the rest."""
    rng = np.random.default_rng((seed, epoch))
    repeats = np.floor(weights + rng.random(len(weights))).astype(int)
    return rng.permutation(np.repeat(rows, repeats))


def steps_per_epoch(pack: Pack, rows: np.ndarray, batch_size: int) -> int:
    """Full batches in an epoch of average length, at least one."""
    return max(1, int(pack.weights()[rows].sum()) // batch_size)


class BatchSource:
    """Draws the training batches of a run.

    Args:
        teacher: its answers on the whole pack; without it faces that have no labels are left out.
    """

    def __init__(
        self, pack: Pack, stage: StageConfig, device: torch.device, teacher: TeacherLabels | None = None
    ) -> None:
        self.pack, self.model, self.train, self.device, self.teacher = pack, stage.model, stage.train, device, teacher
        self.rows = pack.rows(TRAIN, labelled=teacher is None)
        self.steps = steps_per_epoch(pack, self.rows, stage.train.batch_size)
        self._order = (-1, np.zeros(0, int))
        faces, boxes = pack.faces, pack.faces.box.astype(np.float32)
        weight = faces.valid.astype(np.float32)
        if teacher is not None:
            weight[faces.label == MACHINE] *= stage.distill.machine_labels
            # the configured box of an unlabelled face is a guess: the teacher's points give a better one
            blank = faces.label == NONE
            boxes[blank] = np.concatenate([teacher.points.min(axis=1), teacher.points.max(axis=1)], axis=1)[blank]
            self._teacher_points = torch.from_numpy(teacher.points).to(device)
            sigma = torch.from_numpy(teacher.sigma).to(device)
            self._teacher_weight = 1 / (1 + (sigma / stage.distill.certainty) ** 2)
        self._points = torch.from_numpy(faces.points).to(device)
        self._boxes = torch.from_numpy(boxes).to(device)
        self._weight = torch.from_numpy(weight).to(device)

    def rows_of(self, step: int) -> np.ndarray:
        """The faces of a step: (B,) rows of the pack."""
        epoch, index = divmod(step, self.steps)
        if self._order[0] != epoch:
            weights = self.pack.weights()[self.rows]
            self._order = epoch, epoch_rows(self.rows, weights, self.train.seed, epoch)
        size = self.train.batch_size
        return np.take(self._order[1], np.arange(index * size, (index + 1) * size), mode="wrap")

    def batches(self, first: int, last: int) -> Iterator[tuple[int, torch.Tensor, Batch]]:
        """(step, images (B, 3, S, S) normalised, targets) for the steps first..last-1; pictures are read ahead."""
        if first >= last:
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._read, first)
            for step in range(first, last):
                rows, images = ahead.result()
                if step + 1 < last:
                    ahead = reader.submit(self._read, step + 1)
                yield step, *self._draw(step, rows, images)

    def _read(self, step: int) -> tuple[np.ndarray, torch.Tensor]:
        rows = self.rows_of(step)
        return rows, torch.from_numpy(self.pack.images(rows))

    def _draw(self, step: int, rows: np.ndarray, images: torch.Tensor) -> tuple[torch.Tensor, Batch]:
        generator = torch.Generator(self.device).manual_seed((self.train.seed << 32) + step)
        index = torch.from_numpy(rows).to(self.device)
        config, size = self.train.augment, self.pack.size
        views = plan_views(self._boxes[index], size, self.model.margin, config, generator)
        pixels = view_images(images.to(self.device, non_blocking=True), views, self.model.input_size)
        pixels = photometrics(pixels, config, generator).sub_(127.5).div_(127.5)
        points = view_points(self._points[index], views, size)
        weight = mirror_order(self._weight[index], views.flipped)
        if self.teacher is None:
            return pixels, Batch(points, weight)
        teacher_points = view_points(self._teacher_points[index], views, size)
        teacher_weight = mirror_order(self._teacher_weight[index], views.flipped)
        return pixels, Batch(points, weight, teacher_points, teacher_weight)
