"""Many images through several pipelines at once, predictions in order; one bad image never stops the others."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from .face import Face, face_from_points
from .image_file import ImageFile
from .pipeline import Pipeline
from .tracker import Tracker

LOOK_AHEAD = 2  # images per worker: enough that none waits, few enough to fit into memory


def cores() -> int:
    """Cores that this process may use; macOS and Windows only tell how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Request:
    """An image to predict: its file, or the image itself (H, W, 3) uint8 BGR (a frame of a video).

    key: the caller's own name for it. known: its faces where an earlier run found them. time: of a video's frame,
    seconds.
    """

    key: str
    image: Path | np.ndarray
    known: tuple[np.ndarray, ...] | None = None
    time: float | None = None


@dataclass(frozen=True)
class Response:
    """faces: right to left. image: the whole image if asked for. error: one sentence where there is no prediction."""

    request: Request
    faces: tuple[Face, ...] = ()
    image: np.ndarray | None = None
    error: str | None = None


def predict_many(
    requests: Iterable[Request], pipelines: Sequence[Pipeline], images: bool = False
) -> Iterator[Response]:
    """The response to every request, in order; as many run in parallel as there are pipelines.

    Decoding and both networks release Python's lock, so each image runs in one thread from file to points.

    Args:
        images: hand the images back too, in full size.
    """
    idle: SimpleQueue[Pipeline] = SimpleQueue()
    for pipeline in pipelines:
        idle.put(pipeline)

    def work(request: Request) -> Response:
        pipeline = idle.get()
        try:
            return _respond(request, pipeline.faces_of, images)
        finally:
            idle.put(pipeline)

    waiting: deque[Future[Response]] = deque()
    with ThreadPoolExecutor(len(pipelines)) as pool:
        try:
            for request in requests:
                waiting.append(pool.submit(work, request))
                if len(waiting) > LOOK_AHEAD * len(pipelines):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def follow(requests: Iterable[Request], tracker: Tracker, images: bool = False) -> Iterator[Response]:
    """`predict_many` for the frames of one video, in order and each with its time: faces are followed.

    The tracker does not see frames whose faces are known.
    """
    for request in requests:
        time = request.time or 0.0
        yield _respond(request, lambda file, time=time: tracker(file.whole, time), images)


def _respond(request: Request, find: Callable[[ImageFile], Sequence[Face]], images: bool) -> Response:
    try:
        known = None if request.known is None else [face_from_points(points) for points in request.known]
        if known is not None and not images:
            return Response(request, tuple(known))
        source = request.image
        file = ImageFile.of_array(source) if isinstance(source, np.ndarray) else ImageFile.open(source)
        faces = find(file) if known is None else known
        image = file.whole if images else None
    except FileNotFoundError:
        return Response(request, error=f"{request.image}: no such file")
    except (ValueError, OSError) as error:
        return Response(request, error=sentence(str(request.image), error))
    return Response(request, tuple(faces), image)


def sentence(subject: str, error: Exception) -> str:
    """An error in one line that begins with what it is about."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text if text.startswith(subject) else f"{subject}: {text}"
