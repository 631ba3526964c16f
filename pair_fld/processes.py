"""Processes beside this one, where the machine can have them."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import SpawnContext

from pair_fld.runtime.stream import cores

__all__ = ["cores", "spawn_context"]


def spawn_context() -> SpawnContext | None:
    """How to start processes: spawned, not forked, as threads of the caller (torch, OpenCV) may hold locks.

    Returns:
        None where processes cannot share a lock, as in a container without /dev/shm: work in this one then.
    """
    context = multiprocessing.get_context("spawn")
    try:
        context.Lock()
    except (OSError, ImportError):
        return None
    return context
