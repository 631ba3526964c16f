"""What keeps a run safe: signals that wait for the step to end, and one process at a time in a run folder."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from pair_fld.errors import PairError

LOCK = ".lock"


class StopRequest:
    """While open, Ctrl-C (SIGINT) and SIGTERM only set `asked`; a second Ctrl-C interrupts at once.

    Handlers can be set in the main thread only; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the folder's lock; PairError when another process does. The system frees it however the process ends."""
    lock = _take(folder / LOCK, "a")
    if lock is None:
        remedy = "Wait for it, stop it, or choose another --out."
        raise PairError(folder, "a run that nobody is training", "one that another process is training", remedy)
    try:
        yield
    finally:
        lock.close()


def is_locked(folder: Path) -> bool:
    """Whether a process is training in this folder now."""
    if not (folder / LOCK).is_file():
        return False
    lock = _take(folder / LOCK, "r")
    if lock is not None:
        lock.close()
    return lock is None


def _take(path: Path, mode: str) -> IO[str] | None:
    lock = path.open(mode)
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    except (ImportError, OSError):  # Windows, or a file system without locks: no check then
        pass
    return lock
