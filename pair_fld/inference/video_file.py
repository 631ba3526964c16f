"""Writing a video: whole or not at all, every frame at its time."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from pair_fld.errors import PairError
from pair_fld.io import atomic_path

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")  # that are read
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}  # that are written
VIDEO_SUFFIX = ".mp4"  # where only a folder is named
MAX_GAP = 10.0  # seconds for which a frame stands at most: a stamp that is wrong must not fill the disk


def check_video_format(path: Path) -> None:
    """PairError when no video of the path's suffix is written here."""
    if path.suffix.lower() not in CODECS:
        raise PairError(path, "a video ending in .mp4 or .avi", path.suffix or "no suffix", "Use one of these.")


class VideoWriter:
    """A video of a constant frame rate. Where frames come at varying times, each stands until the next one's time; of
    several that fall into one place the first is kept.

    Args:
        path: of the file. fps: frames per second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._last, self._start, self._count = np.zeros((0, 0, 3), np.uint8), 0.0, 0

    def add(self, image_bgr: np.ndarray, time: float) -> None:
        """Append a frame (H, W, 3) uint8 at `time` (seconds); PairError when it cannot be encoded."""
        if self._writer is None:
            self._writer, self._start = self._open(image_bgr), time
        elif image_bgr.shape != self._last.shape:  # a camera that was turned
            height, width = self._last.shape[:2]
            image_bgr = cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_AREA)
        place = min(round((time - self._start) * self.fps), self._count + round(MAX_GAP * self.fps))
        for number in range(self._count, place + 1):
            self._writer.write(image_bgr if number == place else self._last)
        self._last, self._count = image_bgr, max(self._count, place + 1)

    def _open(self, image_bgr: np.ndarray) -> cv2.VideoWriter:
        height, width = image_bgr.shape[:2]
        code = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        writer = cv2.VideoWriter(str(self.path), code, self.fps, (width, height))
        if not writer.isOpened():
            raise PairError(self.path, "a size that OpenCV can encode", f"{width} x {height}", "Use another format.")
        return writer

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.release()


@contextmanager
def write_video(path: Path, fps: float) -> Generator[VideoWriter]:
    """A writer whose file appears at `path` when the block ends well. PairError: a name that OpenCV cannot write."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:  # OpenCV ends the process over it
        raise PairError(path, "a name in UTF-8, which OpenCV needs for videos", "another", "Rename it.") from None
    with atomic_path(path) as temporary:
        writer = VideoWriter(temporary, fps)
        try:
            yield writer
        finally:
            writer.close()
