"""What model files cost and give: size, arithmetic, latency, memory, accuracy, side by side; any .onnx or .tflite."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.errors import PairError
from pair_fld.evaluate.validate import Truth, open_model, validate_model
from pair_fld.export.model_cost import model_cost, oldest_runtime, stored_bytes
from pair_fld.io import atomic_path

BLOCK, BLOCK_SECONDS = 10, 0.5  # calls before the next file has its turn, and the seconds they may take
DYNAMIC = 128  # what an unknown axis other than the first is taken for
_PATIENCE = 20  # seconds that a process may take to end

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call at batch 1. pinned: the process could be kept on `threads` cores."""

    threads: int
    median_ms: float
    p95_ms: float
    calls: int
    pinned: bool


@dataclass
class Row:
    """One file. What could not be measured is None (or missing), and `faults` says why.

    size_mb: with the external data of an .onnx. peak_mb: memory of a process that runs the file on one thread, Python
    and the runtime included; model_mb: what of it came with the file. runtime: see `oldest_runtime`. ops: "CONV_2D
    int8" -> how many.
    """

    file: str
    size_mb: float | None = None
    params: int | None = None
    gflops: float | None = None
    ops: dict[str, int] = field(default_factory=dict)
    heavy_not_int8: int | None = None
    runtime: str | None = None
    latency: list[Latency] = field(default_factory=list)
    peak_mb: float | None = None
    model_mb: float | None = None
    nme_outer_corners_percent: float | None = None
    faces: int | None = None
    faults: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def at(self, threads: int) -> Latency | None:
        """The latency on so many threads."""
        return next((entry for entry in self.latency if entry.threads == threads), None)


def bench(
    paths: Sequence[Path],
    *,
    threads: Sequence[int] = (1, 2),
    runs: int = 200,
    dynamic: int = DYNAMIC,
    truth: Truth | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Measure every file; a fault of one file is an entry in its row, never an exception.

    Every file runs in processes of its own, one for each number of threads, pinned to that many cores. They are warmed
    up, then take turns of `BLOCK` calls, so that a disturbance of the machine meets all of them alike.

    Args:
        runs: calls a file and number of threads (fewer for a file that takes longer than 50 ms).
        dynamic: what an unknown axis other than the first (the batch, 1) is taken for.
        truth: labelled faces to score those files on that are ours; None leaves accuracy out.
    """
    rows = [_describe(path, dynamic) for path in paths]
    workers: list[_Worker] = []
    try:
        for row, path in zip(rows, paths, strict=True):
            # one after the other, so that a machine of two cores is not asked to load all of them at once
            workers += _started(row, path, threads, dynamic) if row.size_mb else []
        _take_turns(workers, runs, progress)
    finally:
        for worker in workers:
            worker.close()
    for row, path in zip(rows, paths, strict=True):
        if truth is not None and row.latency:
            _score(row, path, truth)
    return rows


def _describe(path: Path, dynamic: int) -> Row:
    row = Row(str(path))
    try:
        if path.suffix.lower() not in (".onnx", ".tflite"):
            found, remedy = path.suffix or "no suffix", "Export the checkpoint first."
            raise PairError(path, "an .onnx or .tflite file", found, remedy)
        row.size_mb = path.stat().st_size / 1e6
        row.runtime = oldest_runtime(path)
        row.size_mb = stored_bytes(path) / 1e6
        cost = model_cost(path, dynamic)
        row.params, row.gflops, row.ops = cost.params, cost.gflops, cost.to_json()["ops"]
        row.heavy_not_int8 = sum(cost.heavy_not_int8().values())
    except PairError as fault:
        row.faults.append(f"found {fault.found}, expected {fault.expected}")
    except FileNotFoundError:
        row.faults.append("no such file")
    except Exception as fault:  # a foreign graph may break a reader in any way; that is its row's reason
        row.faults.append(f"cannot be counted ({type(fault).__name__}: {' '.join(str(fault).split())[:200]})")
    return row


class _Worker:
    """A process of `bench_worker` that fills a row."""

    def __init__(self, row: Row, path: Path, threads: int, dynamic: int) -> None:
        self.row, self.threads, self.times, self.pinned = row, threads, list[float](), False
        call = [sys.executable, "-m", "pair_fld.benchmarks.worker", str(path), str(threads), str(dynamic)]
        self._process = subprocess.Popen(
            call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ask(self, line: str = "") -> dict[str, Any]:
        """Send a line, if any, and read the answer; {"fault": ...} when the process died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if line:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        while answer and not answer.startswith("{"):  # a runtime's own chatter
            answer = self._process.stdout.readline()
        return json.loads(answer) if answer else {"fault": self._last_words()}

    def _last_words(self) -> str:
        code = self._process.wait(_PATIENCE)
        assert self._process.stderr is not None
        lines = [line for line in self._process.stderr.read().splitlines() if line.strip()]
        last = f": {lines[-1].strip()[:200]}" if lines else ""
        return f"its process ended with code {code}{last}"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _started(row: Row, path: Path, threads: Sequence[int], dynamic: int) -> list[_Worker]:
    """Warm workers of a file, one for each number of threads; a failure is noted in the row."""
    workers = []
    for n in threads:
        worker = _Worker(row, path, n, dynamic)
        answer = worker.ask()
        if "fault" in answer:
            _note(row, f"cannot be run ({answer['fault']})")
            worker.close()
            continue
        worker.pinned = answer["pinned"]
        if row.peak_mb is None:
            row.peak_mb, row.model_mb = answer["peak_mb"] or None, answer["model_mb"]
        workers.append(worker)
    return workers


def _take_turns(workers: Sequence[_Worker], runs: int, progress: Progress | None) -> None:
    alive, rounds = list(workers), math.ceil(runs / BLOCK)
    for turn in range(rounds):
        for worker in list(alive):
            answer = worker.ask(f"{min(BLOCK, runs - turn * BLOCK)} {BLOCK_SECONDS}")
            if "fault" in answer:
                _note(worker.row, f"stopped while running ({answer['fault']})")
                alive.remove(worker)
            worker.times += answer.get("ms", [])
        if progress is not None:
            progress(turn + 1, rounds, "")
    for worker in alive:
        median, p95 = np.percentile(worker.times, [50, 95])
        entry = Latency(worker.threads, float(median), float(p95), len(worker.times), worker.pinned)
        worker.row.latency.append(entry)


def _note(row: Row, fault: str) -> None:
    if fault not in row.faults:
        row.faults.append(fault)


def _score(row: Row, path: Path, truth: Truth) -> None:
    try:
        result, _ = validate_model(open_model(path), truth)
    except (PairError, ValueError) as fault:
        row.faults.append(f"not scored: {fault}")
        return
    row.nme_outer_corners_percent = result.overall["outer_corners"].nme_percent
    row.faces = result.overall["outer_corners"].faces


def plot(rows: Sequence[Row], path: Path) -> None:
    """Latency on the fewest threads across, NME (size, where no file has an NME) upwards, size as the disc's area.

    Raises:
        PairError: no file could be measured.
    """
    shown = [row for row in rows if row.latency and row.size_mb]
    if not shown:
        raise PairError(path, "at least one file that can be run", "none", "See the reasons in the table.")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    scored = [row for row in shown if row.nme_outer_corners_percent is not None]
    by_nme = bool(scored)
    shown = scored or shown
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for row in shown:
        size, nme = row.size_mb or 0.0, row.nme_outer_corners_percent
        x, y = row.latency[0].median_ms, size if nme is None else nme
        (dot,) = axes.plot(x, y, "o", ms=4, label=f"{Path(row.file).name}, {size:.2f} MB")
        axes.scatter(x, y, s=400 * size, alpha=0.4, color=dot.get_color())
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="x-small", frameon=False)
    label = "NME (outer corners) %" if by_nme else "size, MB"
    n = shown[0].latency[0].threads
    axes.set(xscale="log", xlabel=f"latency, ms (median, {n} thread{'s' * (n > 1)})", ylabel=label)
    axes.margins(0.25)
    axes.grid(alpha=0.3, which="both")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)
