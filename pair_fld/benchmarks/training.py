"""How fast training is: the data path alone, the step alone, both together, and a straightforward loader.

Times of a shared machine mean little by themselves. All measurements take turns in rounds, and what is worth quoting
are the ratios within one call: medians over the rounds. The straightforward loader always draws target maps; the data
path is measured with and without, since most losses need none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from statistics import median

import numpy as np
import torch

from pair_fld.benchmarks.naive_loader import NaiveLoader
from pair_fld.config import ModelConfig, StageConfig
from pair_fld.data.dataset import FaceDataset, LabelSource
from pair_fld.models import build_model
from pair_fld.progress import Progress, no_progress
from pair_fld.runtime.frame import frame_from_row, place
from pair_fld.train.batches import BatchSource
from pair_fld.train.builder import build_train_step, loss_names, needs_teacher_per_step
from pair_fld.train.distributed import pick_device
from pair_fld.train.loss_terms import TEACHER, Batch, needs_of
from pair_fld.train.predict_dataset import LandmarkPredictions
from pair_fld.train.target_maps import curve_maps, point_maps
from pair_fld.train.train_step import TrainStep

ROWS = {
    "data": "data path alone",
    "data_maps": "data path alone, drawing point and curve maps",
    "step": "step alone",
    "training": "training",
    "data_percent": "data, % of training's time",
    "naive": "straightforward loader, crops in memory",
    "naive_decoding": "straightforward loader, decoding JPEG crops",
    "ratio": "data path / straightforward, in memory",
    "ratio_maps": "data path with maps / straightforward, in memory",
    "ratio_decoding": "data path / straightforward, decoding",
}


@dataclass(frozen=True)
class Speed:
    """Medians over rounds, faces per second; `data_percent` and ratios are medians of the rounds' own ratios."""

    data: float
    data_maps: float
    step: float
    training: float
    naive: float
    naive_decoding: float
    data_percent: float
    ratio: float
    ratio_maps: float
    ratio_decoding: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def measure(
    stage: StageConfig, dataset: FaceDataset, *, teacher: ModelConfig | None = None, device: str = "auto",
    repeats: int = 5, seconds: float = 4.0, progress: Progress = no_progress,
) -> Speed:  # fmt: skip
    """Measure a stage on a dataset, `seconds` for each of the measurements in each of `repeats` rounds.

    teacher: predicts on every batch where the losses need that; untrained, its speed is the same.
    """
    where = pick_device(device)
    if stage.train.threads:
        torch.set_num_threads(stage.train.threads)
    source, step = _source(stage, dataset, where), _started(stage, teacher, where)
    naive = NaiveLoader(dataset, stage, source.indices)
    _, images, batch = next(source.batches(0, 1))
    for number in range(2):
        step(number, images, batch)  # first calls choose kernels and allocate
    rounds: list[dict[str, float]] = []
    for done in range(repeats):
        speeds = {
            "data": _rate(_data(source, done), seconds, where),
            "data_maps": _rate(_data(source, done, stage.model.input_size // 4), seconds, where),
            "step": _rate(_steps(step, images, batch), seconds, where),
            "training": _rate(_training(source, step, done), seconds, where),
            "naive": _rate(naive.samples(decode=False), seconds, where),
            "naive_decoding": _rate(naive.samples(decode=True), seconds, where),
        }
        # time per face, of the data path over that of training
        speeds["data_percent"] = 100 * speeds["training"] / speeds["data"]
        speeds["ratio"] = speeds["data"] / speeds["naive"]
        speeds["ratio_maps"] = speeds["data_maps"] / speeds["naive"]
        speeds["ratio_decoding"] = speeds["data"] / speeds["naive_decoding"]
        rounds.append(speeds)
        progress(done + 1, repeats)
    return Speed(**{name: median(speeds[name] for speeds in rounds) for name in rounds[0]})


def profile(
    stage: StageConfig, dataset: FaceDataset, *, teacher: ModelConfig | None = None, device: str = "auto",
    steps: int = 4, rows: int = 20,
) -> str:  # fmt: skip
    """torch's table of the operators that whole steps spend their own time in, the costliest first."""
    where = pick_device(device)
    source, step = _source(stage, dataset, where), _started(stage, teacher, where)
    batches = list(source.batches(0, steps + 1))
    step(*batches[0])
    with torch.profiler.profile() as watched:
        for batch in batches[1:]:
            step(*batch)
    by = "self_cpu_time_total" if where.type == "cpu" else "self_device_time_total"
    return watched.key_averages().table(sort_by=by, row_limit=rows, max_name_column_width=40)


def _source(stage: StageConfig, dataset: FaceDataset, device: torch.device) -> BatchSource:
    teacher = None
    if TEACHER in needs_of(loss_names(stage)):  # any predictions do: labels, or the mean face in the face's frame
        faces, points = dataset.faces, dataset.faces.points.copy()
        blank = faces.label == LabelSource.NONE
        points[blank] = [place(frame_from_row(row)) for row in faces.frame[blank]] or 0
        unsure = (~faces.point_mask)[..., None, None] * np.eye(2, dtype=np.float32)
        teacher = LandmarkPredictions(points, unsure, np.full(len(faces), dataset.size, np.float32))
    return BatchSource(dataset, stage, device, teacher)


def _started(stage: StageConfig, teacher: ModelConfig | None, device: torch.device) -> TrainStep:
    watching = build_model(teacher) if teacher is not None and needs_teacher_per_step(stage) else None
    step = build_train_step(stage, device, steps=1000, teacher=watching)
    step.state.model.train()
    return step


def _rate(work: Iterator[int], seconds: float, device: torch.device) -> float:
    """Faces per second of an endless iterator of numbers of faces; its first item is not timed."""
    next(work)
    _wait(device)
    begun, faces = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        faces += next(work)
    _wait(device)
    return faces / (time.perf_counter() - begun)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _data(source: BatchSource, epoch: int, map_side: int = 0) -> Iterator[int]:
    """One batch after the other in this thread: its full cost, none of it hidden by reading ahead.

    map_side: of the point and curve maps that the paper's losses compare, which the straightforward loader draws too.
    """
    for step in count(epoch * source.steps_per_epoch):
        _, images, batch = source.draw(step)
        if map_side:
            point_maps(batch.points, map_side, map_side, 1.0)
            curve_maps(batch.points, map_side, map_side, 1.0)
        yield len(images)


def _steps(step: TrainStep, images: torch.Tensor, batch: Batch) -> Iterator[int]:
    for number in count():
        step(number % 1000, images, batch)
        step.read_stats()
        yield len(images)


def _training(source: BatchSource, step: TrainStep, epoch: int) -> Iterator[int]:
    first = epoch * source.steps_per_epoch
    for number, images, batch in source.batches(first, first + 1_000_000):
        step(number % 1000, images, batch)
        step.read_stats()
        yield len(images)
