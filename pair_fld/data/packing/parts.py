"""The resumable half of `prepare`: faces are loaded in parts of `PART`, each written whole by one process.

A part is `part-NNNNN.npy` (crops) and, written after it, `part-NNNNN.npz` (rows and what was left out): a
part whose .npz is there is finished, whatever killed the run. Parts do not depend on the number of processes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, fields
from multiprocessing.connection import wait as wait_handles
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pair_fld.config import SourceConfig
from pair_fld.data.load_face import load_crop
from pair_fld.data.packing.duplicates import THUMB, difference_hash, thumbnail
from pair_fld.data.sample import Crop, Excluded, Sample, SkipSample
from pair_fld.data.second_opinion import Consultation
from pair_fld.errors import PairError
from pair_fld.io import atomic_path
from pair_fld.processes import cores, spawn_context
from pair_fld.runtime.file_kind import known_error
from pair_fld.runtime.scheme import NUM_POINTS

PART = 128


@dataclass(frozen=True)
class PartJob:
    """One part: `samples` are numbers first, first + 1, ... of the whole list. sources, consultations: of all."""

    folder: Path
    number: int
    first: int
    samples: list[Sample]
    sources: list[SourceConfig]
    size: int
    margin: float
    consultations: list[Consultation | None]

    @property
    def crops(self) -> Path:
        return self.folder / f"part-{self.number:05d}.npy"

    @property
    def rows(self) -> Path:
        return self.folder / f"part-{self.number:05d}.npz"


def make_jobs(
    folder: Path,
    samples: list[Sample],
    sources: list[SourceConfig],
    consultations: list[Consultation | None],
    size: int,
    margin: float,
) -> list[PartJob]:
    """Cut the list of samples into parts."""
    return [
        PartJob(folder, number, first, samples[first : first + PART], sources, size, margin, consultations)
        for number, first in enumerate(range(0, len(samples), PART))
    ]


def run_parts(jobs: list[PartJob], workers: int) -> Iterator[int]:
    """Do the parts that are not finished.

    Yields first the number of samples that were finished before, then that of each part as it is finished.
    """
    open_jobs = [job for job in jobs if not job.rows.is_file()]
    yield sum(len(job.samples) for job in jobs if job.rows.is_file())
    workers = min(workers or cores(), len(open_jobs))
    context = spawn_context() if workers > 1 else None
    if context is None:
        for job in open_jobs:
            _do_part(job)
            yield len(job.samples)
        return
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        try:
            yield from _keep_busy(pool, open_jobs, workers)
        except BaseException:  # an interrupt must not wait for parts that nobody needs
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _keep_busy(pool: ProcessPoolExecutor, jobs: list[PartJob], workers: int) -> Iterator[int]:
    """Hand out jobs, two per process, so that a long list is not pickled at once."""
    waiting = iter(jobs)
    running: dict[Future[None], PartJob] = {}
    while True:
        while len(running) < 2 * workers and (job := next(waiting, None)) is not None:
            running[pool.submit(_do_part, job)] = job
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
            yield len(running.pop(future).samples)


def _start_worker() -> None:
    """One OpenCV thread per process, which ends when its parent is killed."""
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_handles([sentinel])
    os._exit(1)


def _do_part(job: PartJob) -> None:
    crops: list[Crop] = []
    index: list[int] = []
    left_out: list[Excluded] = []
    for offset, sample in enumerate(job.samples):
        try:
            source, consultation = job.sources[sample.source], job.consultations[sample.source]
            crops.append(load_crop(sample, source, job.size, job.margin, consultation))
            index.append(job.first + offset)
        except SkipSample as skip:
            left_out.append(Excluded(sample.key, sample.source, skip.reason, str(skip)))
    images = np.stack([c.image for c in crops]) if crops else np.zeros((0, job.size, job.size, 3), np.uint8)
    with atomic_path(job.crops) as temporary:
        np.save(temporary, images)
    with atomic_path(job.rows) as temporary:
        table = vars(LoadedFaces.of_crops(crops, index, job.number))
        excluded = np.array(json.dumps([asdict(o) for o in left_out]))
        np.savez(temporary, allow_pickle=False, **table, left_out=excluded)


@dataclass(frozen=True)
class LoadedFaces:
    """The loaded faces of some parts, one row per face, in the order of the samples.

    Attributes:
        index: (n,) int64, number of the face's sample.
        points: (n, 51, 2) float32 _pack.
        point_mask: (n, 51) bool, True = labelled.
        frame: (n, 4) float32, see `Crop`.
        box_img: (n, 4) float64 _img.
        matrix: (n, 2, 3) float64, image -> pack.
        label: (n,) uint8, a `LabelSource`.
        image_hash: (n,) str, sha256 of the decoded image's pixels.
        visibility: (n, 51) uint8.
        tags: (n,) str, separated by commas.
        warning: (n,) str, see `Crop`.
        turned: (n,) bool, see `Crop`.
        averaged, filled: (n,) uint8, relabelled: (n,) bool, see `Crop`.
        hash: (n,) str, sha256 of the crop's bytes.
        near_hash: (n,) uint64, difference hash of the crop.
        thumb: (n, THUMB * THUMB) uint8, thumbnail of the crop.
        part: (n,) number of the part that holds the crop.
        place: (n,) the crop's index there.
    """

    index: np.ndarray
    points: np.ndarray
    point_mask: np.ndarray
    frame: np.ndarray
    box_img: np.ndarray
    matrix: np.ndarray
    label: np.ndarray
    image_hash: np.ndarray
    visibility: np.ndarray
    tags: np.ndarray
    warning: np.ndarray
    turned: np.ndarray
    averaged: np.ndarray
    filled: np.ndarray
    relabelled: np.ndarray
    hash: np.ndarray
    near_hash: np.ndarray
    thumb: np.ndarray
    part: np.ndarray
    place: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: np.ndarray) -> LoadedFaces:
        """The faces of some rows, by their numbers or a mask."""
        return LoadedFaces(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def of_crops(cls, crops: list[Crop], index: list[int], part: int) -> LoadedFaces:
        """The rows of a part's crops."""

        def column(values: list[Any], shape: tuple[int, ...], kind: type | str) -> np.ndarray:
            return np.array(values, kind).reshape(len(crops), *shape)

        return cls(
            index=column(index, (), np.int64),
            points=column([c.points for c in crops], (NUM_POINTS, 2), np.float32),
            point_mask=column([c.point_mask for c in crops], (NUM_POINTS,), bool),
            frame=column([c.frame for c in crops], (4,), np.float32),
            box_img=column([c.box_img for c in crops], (4,), np.float64),
            matrix=column([c.matrix for c in crops], (2, 3), np.float64),
            label=column([c.label for c in crops], (), np.uint8),
            image_hash=column([c.image_hash for c in crops], (), "U64"),
            visibility=column([c.visibility for c in crops], (NUM_POINTS,), np.uint8),
            tags=column([",".join(c.tags) for c in crops], (), str),
            warning=column([c.warning for c in crops], (), str),
            turned=column([c.turned for c in crops], (), bool),
            averaged=column([c.averaged for c in crops], (), np.uint8),
            filled=column([c.filled for c in crops], (), np.uint8),
            relabelled=column([c.relabelled for c in crops], (), bool),
            hash=column([c.hash for c in crops], (), "U64"),
            near_hash=column([difference_hash(c.image) for c in crops], (), np.uint64),
            thumb=column([thumbnail(c.image) for c in crops], (THUMB * THUMB,), np.uint8),
            part=np.full(len(crops), part),
            place=np.arange(len(crops)),
        )


def read_rows(jobs: list[PartJob]) -> tuple[LoadedFaces, list[Excluded]]:
    """The faces of all finished parts, joined in the order of the samples, and what was left out.

    Raises:
        PairError: a part is damaged, or one of an earlier version.
    """
    tables: list[dict[str, np.ndarray]] = []
    left_out: list[Excluded] = []
    names = [f.name for f in fields(LoadedFaces)]
    for job in jobs:
        try:
            with np.load(job.rows, allow_pickle=False) as stored:
                table = {name: stored[name] for name in names}
                left_out += [Excluded(**entry) for entry in json.loads(str(stored["left_out"]))]
            if {len(column) for column in table.values()} != {len(table["index"])}:
                raise ValueError("columns of different lengths")
        except Exception as error:  # of zip, zlib, numpy or memory: damaged bytes make the reader raise anything
            raise damaged_part(job, job.rows, error) from None
        tables.append(table)
    return LoadedFaces(**{name: np.concatenate([table[name] for table in tables]) for name in names}), left_out


def damaged_part(job: PartJob, path: Path, error: Exception) -> PairError:
    """What to say of a file of a finished part that cannot be read."""
    found = known_error(path) if path.exists() else "no such file"
    reason = " ".join(str(error).split()) or type(error).__name__
    removed = "it" if path == job.rows else f"{job.rows.name} beside it"
    remedy = f"Remove {removed}, and run again with --resume."
    return PairError(path, "a part of this run", found or f"a damaged file ({reason})", remedy)
