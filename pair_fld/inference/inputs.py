"""What a person names on the command line, as pictures with a name for each one's results."""

from __future__ import annotations

import glob
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pair_fld.data.sources.files import file_reason, list_files, passed_over_sentence
from pair_fld.errors import PairError
from pair_fld.runtime.main import read_list

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
_WILD = "*?["


@dataclass(frozen=True)
class Collected:
    """pictures: each with the name of its results, a relative path without suffix. videos: files and camera indices.
    passed_over: how many files and folders below the folders given are no pictures, by reason."""

    pictures: tuple[tuple[Path, str], ...]
    videos: tuple[Path | int, ...]
    passed_over: Counter[str] = field(default_factory=Counter)


def collect(inputs: Sequence[str]) -> Collected:
    """Pictures, folders (searched through), globs, lists (.txt), videos and camera indices, in the order given.

    A picture that is named but not there is kept: its reader says so, and the others are still done.

    Results are named after their pictures: those below a folder or a glob's fixed part keep their sub-folders.
    Where two would still share a name, both get the path below the folder that they have in common, and two that
    differ by suffix only keep it.

    Raises:
        PairError: a folder or a pattern without pictures, an empty or unreadable list.
    """
    found: dict[str, tuple[Path, Path]] = {}  # by absolute path: a picture named twice is done once
    videos: dict[Path | int, None] = {}
    passed_over: Counter[str] = Counter()
    for text in inputs:
        path = Path(text)
        if text.isdecimal() and not path.exists():
            videos[int(text)] = None
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            videos[path] = None
        else:
            for picture, base in _expand(text, path, passed_over):
                found.setdefault(os.path.abspath(picture), (picture, base))
    names = result_names(list(found.values()))
    pictures = tuple(zip((picture for picture, _ in found.values()), names, strict=True))
    return Collected(pictures, tuple(videos), passed_over)


def _expand(text: str, path: Path, passed_over: Counter[str]) -> list[tuple[Path, Path]]:
    """(picture, the folder that its name counts from) of one input."""
    if path.is_dir():
        inside = list_files(path)
        passed_over.update(inside.passed_over)
        if not inside.files:
            sentence = passed_over_sentence(inside.passed_over)
            found = f"none ({sentence})" if sentence else "none"
            raise PairError(path, "pictures in it", found, "Name a folder with pictures.")
        return [(p, path) for p in inside.files]
    if path.suffix.lower() == ".txt":
        try:
            return [(p, p.parent) for p in read_list(path)]
        except (ValueError, OSError) as fault:
            raise PairError(path, "a list with one picture path a line", _reason(path, fault), "Correct it.") from None
    if any(c in text for c in _WILD) and not path.exists():
        matches = sorted(Path(p) for p in glob.glob(text, recursive=True))
        reasons = {p: file_reason(p) for p in matches if not p.is_dir()}
        passed_over.update(reason for reason in reasons.values() if reason is not None)
        pictures = [p for p, reason in reasons.items() if reason is None]
        if not pictures:
            raise PairError(text, "a pattern that pictures match", "no match", "Check the pattern.")
        fixed = Path(*_fixed_parts(path))
        return [(p, fixed) for p in pictures]
    return [(path, path.parent)]


def _fixed_parts(pattern: Path) -> list[str]:
    """The folders before a pattern's first wildcard."""
    parts: list[str] = []
    for part in pattern.parts[:-1]:
        if any(c in part for c in _WILD):
            break
        parts.append(part)
    return parts or ["."]


def _reason(path: Path, fault: Exception) -> str:
    if isinstance(fault, OSError):
        return fault.strerror or str(fault)
    return str(fault).rpartition("found ")[2]


def result_names(pictures: Sequence[tuple[Path, Path]]) -> list[str]:
    """A different name for each (picture, base folder); see `collect`."""
    plain = [p.relative_to(base).with_suffix("").as_posix() for p, base in pictures]
    by_name: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(plain):
        by_name[name.lower()].append(i)  # one file on systems that do not tell case apart
    names = list(plain)
    for group in (g for g in by_name.values() if len(g) > 1):
        absolute = [Path(os.path.abspath(pictures[i][0])) for i in group]
        common = Path(os.path.commonpath([p.parent for p in absolute]))
        below = [p.relative_to(common) for p in absolute]
        stems = [b.with_suffix("").as_posix().lower() for b in below]
        for i, b, stem in zip(group, below, stems, strict=True):
            names[i] = b.as_posix() if stems.count(stem) > 1 else b.with_suffix("").as_posix()
    twice = next((i for i, name in enumerate(names) if names.index(name) != i), None)
    if twice is not None:
        first, second = pictures[names.index(names[twice])][0], pictures[twice][0]
        remedy = "Rename one of them, or make two runs."
        raise PairError(second, "a name of its own for its results", f"that of {first}", remedy)
    return names


def frames(video: Path | int, every: int = 1, limit: int | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """(name, (H, W, 3) uint8 BGR) of every `every`-th frame of a video file or camera, `limit` at most.

    Raises:
        PairError: the video cannot be opened, or holds no frame.
    """
    if isinstance(video, Path) and not video.is_file():
        raise PairError(video, "a video", "no such file", "Check the path.")
    title = f"camera{video}" if isinstance(video, int) else video.stem
    capture = _open_video(video)
    number = given = 0
    try:
        while limit is None or given < limit:
            good = capture.grab()
            if not good:
                break
            if number % every == 0:
                good, frame = capture.retrieve()
                if good and frame is not None:
                    given += 1
                    yield f"{title}_{number:06d}", frame
            number += 1
    finally:
        capture.release()
    if given == 0:
        what = f"camera {video}" if isinstance(video, int) else str(video)
        raise PairError(what, "frames that OpenCV can decode", "none", "Check the file, or the camera's index.")


def frame_count(video: Path | int, every: int, limit: int | None) -> int:
    """How many frames `frames` will give, as far as the file says; `limit` or 0 for a camera."""
    if isinstance(video, int):
        return limit or 0
    capture = _open_video(video)
    count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    capture.release()
    count = -(-count // every)
    return count if limit is None else min(count, limit)


def _open_video(video: Path | int) -> cv2.VideoCapture:
    """A capture, open or not, without OpenCV's own lines about it on stderr."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(video) if isinstance(video, int) else cv2.VideoCapture(str(video))
    finally:
        cv2.utils.logging.setLogLevel(level)
