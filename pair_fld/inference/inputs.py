"""What a person names on the command line, as images and videos with a name for the results of each."""

from __future__ import annotations

import glob
import os
import time as clock
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pair_fld.data.sources.files import file_reason, list_files, passed_over_sentence
from pair_fld.errors import PairError
from pair_fld.inference.outputs import result_names, video_titles
from pair_fld.inference.video_file import VIDEO_SUFFIXES
from pair_fld.runtime.main import read_list

DEFAULT_FPS = 30.0  # where a video does not say
_WILD = "*?["


@dataclass(frozen=True)
class Video:
    """source: a file, or a camera's index. title: what the names of its frames begin with."""

    source: Path | int
    title: str

    def __str__(self) -> str:
        return f"camera {self.source}" if isinstance(self.source, int) else str(self.source)


@dataclass(frozen=True)
class Collected:
    """What a call works on.

    images: each with the name of its results, a relative path without suffix. videos: files and cameras. read: every
    file that is read, lists included. passed_over: how many files and folders below the folders given are no images,
    by reason.
    """

    images: tuple[tuple[Path, str], ...]
    videos: tuple[Video, ...]
    read: tuple[Path, ...]
    passed_over: Counter[str] = field(default_factory=Counter)


def collect(inputs: Sequence[str]) -> Collected:
    """Images, folders (searched through), globs, lists (.txt), videos and camera indices, in the order given.

    An image that is named but not there is kept: its reader says so, and the others are still done.

    Results are named after their images: those below a folder or a glob's fixed part keep their sub-folders. No two
    results share a name, see `pair_fld.inference.outputs`.

    Raises:
        PairError: a folder or a pattern without images, an empty or unreadable list.
    """
    found: dict[str, tuple[Path, Path]] = {}  # by absolute path: an image named twice is done once
    videos: dict[str, Path | int] = {}
    lists: list[Path] = []
    passed_over: Counter[str] = Counter()
    for text in inputs:
        path = Path(text)
        if text.isdecimal() and not os.path.exists(path):
            videos[text] = int(text)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            videos.setdefault(os.path.abspath(path), path)
        else:
            lists += [path] if os.path.isfile(path) else []
            for image, base in _expand(text, path, passed_over):
                found.setdefault(os.path.abspath(image), (image, base))
    paths = [image for image, _ in found.values()]
    names = result_names(list(found.values()))
    sources = list(videos.values())
    titles = video_titles(sources, names)
    return Collected(
        tuple(zip(paths, names, strict=True)),
        tuple(Video(source, title) for source, title in zip(sources, titles, strict=True)),
        (*paths, *(source for source in sources if isinstance(source, Path)), *lists),
        passed_over,
    )


def _expand(text: str, path: Path, passed_over: Counter[str]) -> list[tuple[Path, Path]]:
    """(image, the folder that its name counts from) of one input."""
    if os.path.isdir(path):
        inside = list_files(path)
        passed_over.update(inside.passed_over)
        if not inside.files:
            sentence = passed_over_sentence(inside.passed_over)
            found = f"none ({sentence})" if sentence else "none"
            raise PairError(path, "images in it", found, "Name a folder with images.")
        return [(p, path) for p in inside.files]
    if path.suffix.lower() == ".txt":
        try:
            return [(p, p.parent) for p in read_list(path)]
        except (ValueError, OSError) as error:
            raise PairError(path, "a list with one image path per line", _reason(path, error), "Correct it.") from None
    if any(c in text for c in _WILD) and not os.path.exists(path):
        matches = sorted(Path(p) for p in glob.glob(text, recursive=True))
        reasons = {p: file_reason(p) for p in matches if not p.is_dir()}
        passed_over.update(reason for reason in reasons.values() if reason is not None)
        images = [p for p, reason in reasons.items() if reason is None]
        if not images:
            raise PairError(text, message=f"No images match {text!r}.", remedy="Correct the pattern.")
        fixed = Path(*_fixed_parts(path))
        return [(p, fixed) for p in images]
    return [(path, path.parent)]


def _fixed_parts(pattern: Path) -> list[str]:
    """The folders before a pattern's first wildcard."""
    parts: list[str] = []
    for part in pattern.parts[:-1]:
        if any(c in part for c in _WILD):
            break
        parts.append(part)
    return parts or ["."]


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error).rpartition("found ")[2]


@dataclass(frozen=True)
class VideoFrame:
    """number: from 0, counted over all frames. time: seconds since the first, always growing. image: (H, W, 3) uint8
    BGR."""

    number: int
    time: float
    image: np.ndarray


def frames(video: Video, every: int = 1, limit: int | None = None) -> Iterator[VideoFrame]:
    """Every `every`-th frame of a video file or camera, `limit` at most, with its own time: frame rates may vary.

    Raises:
        PairError: the video cannot be opened, or holds no frame.
    """
    if isinstance(video.source, Path) and not os.path.isfile(video.source):
        raise PairError(video, "a video", "no such file", "Check the path.")
    if not _is_utf8(video.source):
        raise PairError(video, "a name in UTF-8, which OpenCV needs for videos", "another", "Rename the file.")
    capture = _open_video(video.source)
    number = given = 0
    start, last, step = clock.monotonic(), -1.0, 1 / _fps(capture)
    try:
        while limit is None or given < limit:
            good = capture.grab()
            if not good:
                break
            if number % every == 0:
                good, image = capture.retrieve()
                if good and image is not None:
                    given += 1
                    time = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
                    if isinstance(video.source, int):
                        time = clock.monotonic() - start
                    if not time > last:  # a file without time stamps, or with wrong ones
                        time = last + step if given > 1 else 0.0
                    last = time
                    yield VideoFrame(number, time, image)
            number += 1
    finally:
        capture.release()
    if given == 0:
        raise PairError(video, "frames that OpenCV can decode", "none", "Check the file, or the camera's index.")


def frame_rate(video: Video) -> float:
    """Frames per second, as far as the file says; a camera is not opened a second time for it."""
    if isinstance(video.source, int):
        return DEFAULT_FPS
    capture = _open_video(video.source)
    rate = _fps(capture)
    capture.release()
    return rate


def _fps(capture: cv2.VideoCapture) -> float:
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 1 <= rate <= 1000 else DEFAULT_FPS


def frame_count(video: Video, every: int, limit: int | None) -> int:
    """How many frames `frames` will give, as far as the file says; `limit` or 0 for a camera."""
    if isinstance(video.source, int):
        return limit or 0
    capture = _open_video(video.source)
    count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    capture.release()
    count = -(-count // every)
    return count if limit is None else min(count, limit)


def _is_utf8(video: Path | int) -> bool:
    return str(video).encode("utf-8", "replace") == str(video).encode("utf-8", "surrogateescape")


def _open_video(video: Path | int) -> cv2.VideoCapture:
    """A capture, open or not, without OpenCV's own lines about it on stderr."""
    if not _is_utf8(video):
        return cv2.VideoCapture()  # OpenCV ends the process over such a name
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(video) if isinstance(video, int) else cv2.VideoCapture(str(video))
    finally:
        cv2.utils.logging.setLogLevel(level)
