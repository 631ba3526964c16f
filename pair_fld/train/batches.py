"""Training batches: which faces a step sees, and how they look. A pure function of (seed, step).

Because nothing is remembered between steps, a run that is resumed sees exactly what it would have seen; and because
choices are made for the whole step before a process takes its part, a team sees what one process would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from pair_fld.config import StageConfig
from pair_fld.data.augment import (
    Views,
    mirror_order,
    plan_views,
    sample_images,
    view_points,
    warp_crops,
)
from pair_fld.data.looks import Looks, paint, paint_tensor, plan_looks
from pair_fld.data.pack import MACHINE, NONE, TRAIN, Pack
from pair_fld.train.losses import Batch
from pair_fld.train.team import ALONE, Team


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


@dataclass(frozen=True)
class _Read:
    """A process's part of a step as the reading thread leaves it: `images` are finished on a CPU, else raw crops."""

    step: int
    images: torch.Tensor
    views: Views
    looks: Looks
    batch: Batch


class BatchSource:
    """Draws the training batches of a run.

    Args:
        teacher: its answers on the whole pack; without it faces that have no labels are left out.
        team: shares each step's faces between processes.

    Attributes:
        rows: the faces drawn from. steps: in an epoch.
        size: faces of a step in this process, train.batch_size x train.accumulate.
    """

    def __init__(
        self, pack: Pack, stage: StageConfig, device: torch.device, teacher: TeacherLabels | None = None,
        team: Team = ALONE,
    ) -> None:  # fmt: skip
        self.pack, self.model, self.train, self.device = pack, stage.model, stage.train, device
        self.rows = pack.rows(TRAIN, labelled=teacher is None)
        self.size = stage.train.batch_size * stage.train.accumulate
        self._all, self._part = self.size * team.size, slice(team.rank * self.size, (team.rank + 1) * self.size)
        self.steps = steps_per_epoch(pack, self.rows, self._all)
        self._order = (-1, np.zeros(0, int))
        faces, self._boxes = pack.faces, pack.faces.box.astype(np.float32)
        self._weight = faces.valid.astype(np.float32)
        self._teacher: tuple[np.ndarray, np.ndarray] | None = None
        if teacher is not None:
            self._weight[faces.label == MACHINE] *= stage.distill.machine_labels
            # the configured box of an unlabelled face is a guess: the teacher's points give a better one
            blank = faces.label == NONE
            self._boxes[blank] = np.concatenate([teacher.points.min(axis=1), teacher.points.max(axis=1)], axis=1)[blank]
            self._teacher = teacher.points, 1 / (1 + (teacher.sigma / np.float32(stage.distill.certainty)) ** 2)

    def rows_of(self, step: int) -> np.ndarray:
        """This process's faces of a step: (size,) rows of the pack."""
        return self._rows_of_all(step)[self._part]

    def batches(self, first: int, last: int) -> Iterator[tuple[int, torch.Tensor, Batch]]:
        """(step, images (size, 3, S, S) normalised, targets) for the steps first..last-1, read ahead."""
        if first >= last:
            return
        waiting: deque[Future[_Read]] = deque()
        with ThreadPoolExecutor(1) as reader:
            for step in range(first, last):
                while len(waiting) <= _AHEAD and step + len(waiting) < last:
                    waiting.append(reader.submit(self._read, step + len(waiting)))
                yield self._finish(waiting.popleft().result())

    def draw(self, step: int) -> tuple[int, torch.Tensor, Batch]:
        """One step of `batches`, drawn now."""
        return self._finish(self._read(step))

    def _rows_of_all(self, step: int) -> np.ndarray:
        epoch, index = divmod(step, self.steps)
        order = self._order  # the reading thread replaces it
        if order[0] != epoch:
            weights = self.pack.weights()[self.rows]
            order = self._order = epoch, epoch_rows(self.rows, weights, self.train.seed, epoch)
        return np.take(order[1], np.arange(index * self._all, (index + 1) * self._all), mode="wrap")

    def _read(self, step: int) -> _Read:
        every, part, config = self._rows_of_all(step), self._part, self.train.augment
        rng = np.random.default_rng((self.train.seed, step, 1))
        boxes = torch.from_numpy(self._boxes[every])
        views = plan_views(boxes, self.pack.size, self.model.margin, config, rng)[part]
        looks = plan_looks(len(every), config, rng)[part]
        rows = every[part]
        if self.device.type == "cpu":
            images = paint(warp_crops(self.pack.crops(rows), views, self.model.input_size), looks)
        else:
            images = torch.from_numpy(self.pack.images(rows))
            images = images.pin_memory() if self.device.type == "cuda" else images
        points, weight = self._targets(self.pack.faces.points[rows], self._weight[rows], views)
        if self._teacher is None:
            return _Read(step, images, views, looks, Batch(points, weight))
        taught = self._targets(self._teacher[0][rows], self._teacher[1][rows], views)
        return _Read(step, images, views, looks, Batch(points, weight, *taught))

    def _targets(self, points: np.ndarray, weight: np.ndarray, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
        seen = view_points(torch.from_numpy(points), views, self.pack.size)
        return seen, mirror_order(torch.from_numpy(weight), views.flipped)

    def _finish(self, read: _Read) -> tuple[int, torch.Tensor, Batch]:
        if self.device.type == "cpu":
            return read.step, read.images, read.batch
        crops = read.images.to(self.device, non_blocking=True)
        pixels = sample_images(crops, read.views.to(self.device), self.model.input_size)
        return read.step, paint_tensor(pixels, read.looks), _moved(read.batch, self.device)


def _moved(batch: Batch, device: torch.device) -> Batch:
    def move(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values.to(device, non_blocking=True)

    points, weight = (values.to(device, non_blocking=True) for values in (batch.points, batch.weight))
    return Batch(points, weight, move(batch.teacher_points), move(batch.teacher_weight))


_AHEAD = 2  # steps that are read while one is computed
