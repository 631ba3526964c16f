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
from pair_fld.data.augment.geometric import (
    Views,
    mirror_order,
    plan_views,
    sample_images,
    view_covariance,
    view_points,
    warp_crops,
)
from pair_fld.data.augment.photometric import Looks, paint, paint_tensor, plan_looks
from pair_fld.data.dataset import MACHINE, NONE, TRAIN, Pack
from pair_fld.train.distributed import ALONE, Team
from pair_fld.train.loss_terms import Batch


@dataclass(frozen=True)
class TeacherLabels:
    """A teacher's answers on N faces.

    points: (N, 51, 2) float32 _pack. covariance: (N, 51, 2, 2) float32 in squared _pack pixels, its own uncertainty.
    side: (N,) float32, of the crop that it looked at, in _pack pixels.
    """

    points: np.ndarray
    covariance: np.ndarray
    side: np.ndarray

    @property
    def sigma(self) -> np.ndarray:
        """(N, 51): the standard deviations of its answers in crop percent."""
        variance = np.trace(self.covariance, axis1=-2, axis2=-1)
        return np.sqrt(np.maximum(variance, 0)) / self.side[:, None] * 100


def epoch_rows(rows: np.ndarray, weights: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The faces of an epoch in order: each floor(weight) times, plus once with the probability of the rest."""
    rng = np.random.default_rng((seed, epoch))
    repeats = np.floor(weights + rng.random(len(weights))).astype(int)
    return rng.permutation(np.repeat(rows, repeats))


def steps_per_epoch(weights: np.ndarray, batch_size: int) -> int:
    """Full batches in an epoch of average length, at least one; weights: how often each face is drawn in it."""
    return max(1, int(weights.sum()) // batch_size)


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
        teacher: its answers on the whole pack; without it, or where `distill` says so, faces that have no labels are
            left out.
        team: shares each step's faces between processes.

    Attributes:
        rows, weights: the faces drawn from, and how often in an epoch. steps: in an epoch.
        size: faces of a step in this process, train.batch_size x train.grad_accumulation.
    """

    def __init__(
        self, pack: Pack, stage: StageConfig, device: torch.device, teacher: TeacherLabels | None = None,
        team: Team = ALONE,
    ) -> None:  # fmt: skip
        self.pack, self.model, self.train, self.device = pack, stage.model, stage.train, device
        self.rows = pack.rows(TRAIN, labelled=teacher is None or not stage.distill.unlabelled)
        self.size = stage.train.batch_size * stage.train.grad_accumulation
        self._all, self._part = self.size * team.size, slice(team.rank * self.size, (team.rank + 1) * self.size)
        self.weights = pack.weights(stage.train.source_weights)[self.rows]
        self.steps = stage.train.steps_per_epoch or steps_per_epoch(self.weights, self._all)
        self._order = (-1, np.zeros(0, int))
        self.streams = pack.streams
        faces, self._boxes = pack.faces, pack.faces.box.astype(np.float32)
        self._points, self._weight = faces.points, faces.valid.astype(np.float32)
        self._teacher: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        if teacher is not None:
            self._weight[faces.label == MACHINE] *= stage.distill.machine_labels
            sigma = teacher.sigma
            # points that a labelled face lacks, where the teacher is sure of them
            gaps = ~faces.valid & (faces.label != NONE)[:, None] & (sigma < stage.distill.fill_max_sigma)
            self._points = np.where(gaps[..., None], teacher.points, faces.points)
            self._weight[gaps] = stage.distill.machine_labels
            # the configured box of an unlabelled face is a guess: the teacher's points give a better one
            blank = faces.label == NONE
            self._boxes[blank] = np.concatenate([teacher.points.min(axis=1), teacher.points.max(axis=1)], axis=1)[blank]
            certainty = 1 / (1 + (sigma / np.float32(stage.distill.half_weight_sigma)) ** 2)
            self._teacher = teacher.points, certainty, teacher.covariance

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
            order = self._order = epoch, epoch_rows(self.rows, self.weights, self.train.seed, epoch)
        return np.take(order[1], np.arange(index * self._all, (index + 1) * self._all), mode="wrap")

    def _read(self, step: int) -> _Read:
        if self.streams and step % self.steps + _PREFETCH < self.steps:
            self.pack.prefetch(self.rows_of(step + _PREFETCH))
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
        points, weight = self._targets(self._points[rows], self._weight[rows], views)
        if self._teacher is None:
            return _Read(step, images, views, looks, Batch(points, weight))
        taught = self._targets(self._teacher[0][rows], self._teacher[1][rows], views)
        covariance = view_covariance(torch.from_numpy(self._teacher[2][rows]), views, self.pack.size)
        return _Read(step, images, views, looks, Batch(points, weight, *taught, covariance))

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
    return Batch(*(None if v is None else v.to(device, non_blocking=True) for v in vars(batch).values()))  # type: ignore


_AHEAD = 2  # steps that are read while one is computed
_PREFETCH = 4  # steps from one that is read to the one that the disk is asked for
