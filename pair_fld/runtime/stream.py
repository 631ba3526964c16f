"""Many pictures through several pipelines at once, answered in order; one bad picture never stops the others."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from .face import Face, face_from_points
from .image_file import ImageFile
from .pipeline import Pipeline

LOOK_AHEAD = 2  # pictures a worker: enough that none waits, few enough that they fit into memory


def cores() -> int:
    """Cores that this process may use; macOS and Windows only tell how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Job:
    """A picture to answer: its file, or the picture itself (H, W, 3) uint8 BGR (a frame of a video).

    key: the caller's own name for it. known: its faces where an earlier run found them.
    """

    key: str
    picture: Path | np.ndarray
    known: tuple[np.ndarray, ...] | None = None


@dataclass(frozen=True)
class Answer:
    """faces: right to left. image: the whole picture if it was asked for. fault: one sentence
    when the picture could not be answered."""

    job: Job
    faces: tuple[Face, ...] = ()
    image: np.ndarray | None = None
    fault: str | None = None


def answers(jobs: Iterable[Job], pipelines: Sequence[Pipeline], images: bool = False) -> Iterator[Answer]:
    """Answer every job, in order; as many at a time as there are pipelines.

    Decoding and both networks release Python's lock, so each picture runs in one thread from file to points.

    Args:
        images: hand the pictures back too, in full size.
    """
    idle: SimpleQueue[Pipeline] = SimpleQueue()
    for pipeline in pipelines:
        idle.put(pipeline)

    def work(job: Job) -> Answer:
        pipeline = idle.get()
        try:
            return _answer(pipeline, job, images)
        finally:
            idle.put(pipeline)

    waiting: deque[Future[Answer]] = deque()
    with ThreadPoolExecutor(len(pipelines)) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(work, job))
                if len(waiting) > LOOK_AHEAD * len(pipelines):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _answer(pipeline: Pipeline, job: Job, images: bool) -> Answer:
    try:
        known = None if job.known is None else [face_from_points(points) for points in job.known]
        if known is not None and not images:
            return Answer(job, tuple(known))
        source = job.picture
        file = ImageFile.of_array(source) if isinstance(source, np.ndarray) else ImageFile.open(source)
        faces = pipeline.faces_of(file) if known is None else known
        image = file.whole if images else None
    except FileNotFoundError:
        return Answer(job, fault=f"{job.picture}: no such file")
    except (ValueError, OSError) as fault:
        return Answer(job, fault=sentence(str(job.picture), fault))
    return Answer(job, tuple(faces), image)


def sentence(subject: str, fault: Exception) -> str:
    """A fault in one line that begins with what it is about."""
    text = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
    return text if text.startswith(subject) else f"{subject}: {text}"
