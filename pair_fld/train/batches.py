"""Training batches: which faces a step has and how they are augmented, as a pure function of seed and step.

Nothing is remembered between steps, so a resumed run has exactly the batches that it would have had. All random numbers
of a step are drawn before a process takes its part, so several processes together have the batches of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch

from pair_fld.config import DistillConfig, StageConfig
from pair_fld.data.augment.geometric import (
    ViewTransforms,
    covariance_to_view,
    mirror_order,
    points_to_view,
    sample_images,
    sample_views,
    warp_crops,
)
from pair_fld.data.augment.photometric import PhotometricParams, apply_cv2, apply_torch, sample_photometric
from pair_fld.data.dataset import FaceDataset, FaceTable, LabelSource, Split, stored_covariance
from pair_fld.data.sample import SEEN
from pair_fld.runtime.frame import fit_frames
from pair_fld.train.distributed import SINGLE_PROCESS, Distributed
from pair_fld.train.loss_terms import Batch
from pair_fld.train.predict_dataset import LandmarkPredictions

_READ_AHEAD = 2  # steps that are read while one is computed
_PREFETCH = 4  # steps between the one that is read and the one that the disk is asked for
B = TypeVar("B")


class StepData(NamedTuple, Generic[B]):
    """This process's part of a step: images (n, 3, S, S) float32 normalised BGR, and their targets."""

    step: int
    images: torch.Tensor
    batch: B


class Source(Protocol):
    """Where the trainer takes its batches from. Every step's batch must depend on nothing but the step.

    Attributes:
        steps_per_epoch: steps between two rows of metrics.csv.
        step_size: samples per step in this process.
    """

    @property
    def steps_per_epoch(self) -> int: ...

    @property
    def step_size(self) -> int: ...

    def batches(self, first: int, last: int) -> Iterator[StepData[Any]]:
        """The batches of the steps first to last - 1."""
        ...

    def draw(self, step: int) -> StepData[Any]:
        """The batch of one step."""
        ...

    def sample_names(self, step: int) -> list[str]:
        """What the samples of a step are called in an error report."""
        ...


def epoch_order(indices: np.ndarray, weights: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The faces of an epoch in order: each floor(weight) times, and once more with probability weight - floor."""
    rng = np.random.default_rng((seed, epoch))
    repeats = np.floor(weights + rng.random(len(weights))).astype(int)
    return rng.permutation(np.repeat(indices, repeats))


def steps_per_epoch(weights: np.ndarray, step_size: int) -> int:
    """Full steps in an epoch of average length, at least one.

    Args:
        weights: (n,) expected number of draws of each face per epoch.
        step_size: faces per step, over all processes.
    """
    return max(1, int(weights.sum()) // step_size)


@dataclass(frozen=True)
class TeacherTargets:
    """A teacher's predictions as targets: points (N, 51, 2) _pack, weight (N, 51), covariance (N, 51, 2, 2)."""

    points: np.ndarray
    weight: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True)
class FusedLabels:
    """What N faces are trained on: labels, with a teacher's predictions beside or in place of them.

    Attributes:
        points: (N, 51, 2) float32 _pack.
        weight: (N, 51) float32, 0 where there is no label.
        frame: (N, 4) float32, to crop by, see `FaceTable`.
        teacher: None without a teacher.
    """

    points: np.ndarray
    weight: np.ndarray
    frame: np.ndarray
    teacher: TeacherTargets | None


def fuse_labels(
    faces: FaceTable, predictions: LandmarkPredictions | None, config: DistillConfig, hidden_points: float = 1.0
) -> FusedLabels:
    """Labels as they are, or fused with a teacher's predictions.

    Labels of points that are hidden have the weight `hidden_points`.

    With a teacher, machine-made labels are down-weighted; missing labels are filled where the teacher's standard
    deviation is below `fill_max_sigma`; unlabelled faces are cropped by the frame of the teacher's points, since their
    own is a guess; and a prediction with standard deviation s has weight 1 / (1 + (s / half_weight_sigma)^2).
    """
    frame, weight = faces.frame.astype(np.float32), faces.point_mask.astype(np.float32)
    weight[faces.visibility > SEEN] *= hidden_points
    if predictions is None:
        return FusedLabels(faces.points, weight, frame, None)
    sigma, unlabelled = predictions.sigma, faces.label == LabelSource.NONE
    weight[faces.label == LabelSource.MACHINE] *= config.machine_labels
    gaps = ~faces.point_mask & ~unlabelled[:, None] & (sigma < config.fill_max_sigma)
    points = np.where(gaps[..., None], predictions.points, faces.points)
    weight[gaps] = config.machine_labels
    frame[unlabelled] = fit_frames(predictions.points[unlabelled], frame[unlabelled])
    teacher_weight = 1 / (1 + (sigma / np.float32(config.half_weight_sigma)) ** 2)
    targets = TeacherTargets(predictions.points, teacher_weight, predictions.covariance)
    return FusedLabels(points, weight, frame, targets)


@dataclass(frozen=True)
class _Read:
    """A process's part of a step from the reading thread: finished images on a CPU, else raw crops."""

    step: int
    images: torch.Tensor
    views: ViewTransforms
    photometric: PhotometricParams
    batch: Batch


class BatchSource:
    """Draws the training batches of a landmark stage.

    Args:
        predictions: a teacher's on the whole dataset. Faces without labels are left out without them, or when
            `distill.unlabelled` is false.
        distributed: divides each step's faces among processes.

    Attributes:
        indices: (n,) the faces drawn from.
        weights: (n,) expected number of draws per epoch.
        steps_per_epoch: see `Source`.
        step_size: train.batch_size x train.grad_accumulation.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        stage: StageConfig,
        device: torch.device,
        predictions: LandmarkPredictions | None = None,
        distributed: Distributed = SINGLE_PROCESS,
    ) -> None:
        self.dataset, self.model, self.train, self.device = dataset, stage.model, stage.train, device
        self.indices = dataset.indices(Split.TRAIN, labelled=predictions is None or not stage.distill.unlabelled)
        self.step_size = stage.train.batch_size * stage.train.grad_accumulation
        self._total = self.step_size * distributed.size
        self._part = slice(distributed.rank * self.step_size, (distributed.rank + 1) * self.step_size)
        self.weights = dataset.weights(stage.train.source_weights)[self.indices]
        self.steps_per_epoch = stage.train.steps_per_epoch or steps_per_epoch(self.weights, self._total)
        self._order = (-1, np.zeros(0, int))
        self.streams = dataset.streams
        self._residual = stored_covariance(dataset.folder)
        self._labels = fuse_labels(dataset.faces, predictions, stage.distill, stage.train.hidden_points)

    def indices_of(self, step: int) -> np.ndarray:
        """(step_size,) this process's faces of a step."""
        return self._all_indices_of(step)[self._part]

    def sample_names(self, step: int) -> list[str]:
        """The paths of a step's faces."""
        return self.dataset.faces.path[self.indices_of(step)].tolist()

    def batches(self, first: int, last: int) -> Iterator[StepData[Batch]]:
        """The batches of the steps first to last - 1, read ahead in a thread."""
        if first >= last:
            return
        waiting: deque[Future[_Read]] = deque()
        with ThreadPoolExecutor(1) as reader:
            for step in range(first, last):
                while len(waiting) <= _READ_AHEAD and step + len(waiting) < last:
                    waiting.append(reader.submit(self._read, step + len(waiting)))
                yield self._finish(waiting.popleft().result())

    def draw(self, step: int) -> StepData[Batch]:
        """The batch of one step, read now."""
        return self._finish(self._read(step))

    def _all_indices_of(self, step: int) -> np.ndarray:
        epoch, index = divmod(step, self.steps_per_epoch)
        order = self._order  # the reading thread replaces it
        if order[0] != epoch:
            order = self._order = epoch, epoch_order(self.indices, self.weights, self.train.seed, epoch)
        return np.take(order[1], np.arange(index * self._total, (index + 1) * self._total), mode="wrap")

    def _read(self, step: int) -> _Read:
        if self.streams and step % self.steps_per_epoch + _PREFETCH < self.steps_per_epoch:
            self.dataset.prefetch(self.indices_of(step + _PREFETCH))
        every, config, labels = self._all_indices_of(step), self.train.augment, self._labels
        rng = np.random.default_rng((self.train.seed, step, 1))
        frames = torch.from_numpy(labels.frame[every])
        every_view = sample_views(frames, self.dataset.size, self.model.margin, config, rng, self._residual)
        views = every_view[self._part]
        photometric = sample_photometric(len(every), config, rng)[self._part]
        indices = every[self._part]
        if self.device.type == "cpu":
            images = apply_cv2(warp_crops(self.dataset.crops(indices), views, self.model.input_size), photometric)
        else:
            images = torch.from_numpy(self.dataset.images(indices))
            images = images.pin_memory() if self.device.type == "cuda" else images
        points, weight = self._targets(labels.points[indices], labels.weight[indices], views)
        if (teacher := labels.teacher) is None:
            return _Read(step, images, views, photometric, Batch(points, weight))
        teacher_points, teacher_weight = self._targets(teacher.points[indices], teacher.weight[indices], views)
        covariance = covariance_to_view(torch.from_numpy(teacher.covariance[indices]), views, self.dataset.size)
        return _Read(
            step, images, views, photometric, Batch(points, weight, teacher_points, teacher_weight, covariance)
        )

    def _targets(
        self, points: np.ndarray, weight: np.ndarray, views: ViewTransforms
    ) -> tuple[torch.Tensor, torch.Tensor]:
        in_view = points_to_view(torch.from_numpy(points), views, self.dataset.size)
        return in_view, mirror_order(torch.from_numpy(weight), views.flipped)

    def _finish(self, read: _Read) -> StepData[Batch]:
        if self.device.type == "cpu":
            return StepData(read.step, read.images, read.batch)
        crops = read.images.to(self.device, non_blocking=True)
        pixels = sample_images(crops, read.views.to(self.device), self.model.input_size)
        return StepData(read.step, apply_torch(pixels, read.photometric), read.batch.to(self.device))
