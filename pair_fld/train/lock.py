"""One training process per run folder."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pair_fld.errors import PairError

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the folder's lock; the system releases it however the process ends.

    Raises:
        PairError: another process holds it.
    """
    lock = FileLock(folder / LOCK)
    try:
        held = _acquire(lock)
    except Timeout:
        message = f"{folder}: another process is training in this folder."
        remedy = "Wait for it, stop it, or choose another --out."
        raise PairError(folder, message=message, remedy=remedy) from None
    try:
        yield
    finally:
        if held:
            lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process is training in this folder now."""
    if not (folder / LOCK).is_file():
        return False
    lock = FileLock(folder / LOCK)
    try:
        if _acquire(lock):
            lock.release()
    except Timeout:
        return True
    return False


def _acquire(lock: FileLock) -> bool:
    """Take the lock; False where the file system has no locks or the folder may not be written: no check then."""
    try:
        lock.acquire(timeout=0)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, Timeout):
            raise
        return False
    return True
