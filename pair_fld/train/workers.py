"""Several trainings in parallel, each in a process of its own that can be stopped in good order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from pair_fld.errors import PairError
from pair_fld.processes import spawn_context
from pair_fld.train.interrupts import StopSignals

T = TypeVar("T")
_POLL_SECONDS = 2


def run_in_workers(work: Callable[[T], None], jobs: Sequence[T], workers: int, tick: Callable[[], None]) -> None:
    """Call `work` with every job, in up to `workers` processes, or in this one where there can be no others.

    When one fails, or this process is stopped by Ctrl-C or SIGTERM, the others get SIGTERM, with which a training
    writes its checkpoint and ends.

    Args:
        work: a function of a module, so that a new process can import it.
        jobs: its arguments, in order.
        workers: number of processes.
        tick: called in this process every few seconds.

    Raises:
        PairError: a process was killed.
        KeyboardInterrupt: on SIGINT or SIGTERM.
        Exception: what `work` raised.
    """
    context = spawn_context()
    if context is None:
        for job in jobs:
            work(job)
            tick()
        return
    waiting = list(reversed(jobs))
    pool: dict[Connection, BaseProcess] = {}
    with StopSignals() as signals:
        try:
            for _ in range(min(workers, len(jobs))):
                connection, process = _start(context, work)
                pool[connection] = process
                connection.send(waiting.pop())
            while pool:
                for connection in wait(list(pool), timeout=_POLL_SECONDS):
                    assert isinstance(connection, Connection)
                    _raise_failure(connection, pool[connection])
                    if waiting:
                        connection.send(waiting.pop())
                    else:
                        connection.send(None)
                        pool.pop(connection).join()
                if signals.stop_requested:
                    raise KeyboardInterrupt
                tick()
        except BaseException:
            for process in pool.values():
                process.terminate()
            raise


def _start(context: SpawnContext, work: Callable[[Any], None]) -> tuple[Connection, BaseProcess]:
    connection, other = context.Pipe()
    process = context.Process(target=_serve, args=(work, other))
    process.start()
    other.close()
    return connection, process


def _serve(work: Callable[[Any], None], connection: Connection) -> None:
    """Do the jobs that arrive, until None does; answer each with None or with what it raised."""
    try:
        while (job := connection.recv()) is not None:
            try:
                work(job)
            except Exception as error:
                connection.send(error)
            else:
                connection.send(None)
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        pass  # stopped, or the main process is gone


def _raise_failure(connection: Connection, process: BaseProcess) -> None:
    try:
        failure = connection.recv()
    except EOFError:
        process.join()
        message = f"A training process was killed (exit code {process.exitcode}), probably for lack of memory."
        remedy = "Rerun with --resume and fewer --jobs."
        raise PairError("training process", message=message, remedy=remedy) from None
    if failure is not None:
        raise failure
