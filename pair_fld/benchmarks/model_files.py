"""What model files cost and give: size, arithmetic, latency, memory, accuracy, side by side; any .onnx or .tflite."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.errors import PairError
from pair_fld.evaluate.validate import Truth, open_model, validate_model
from pair_fld.export.model_cost import model_cost, stored_bytes
from pair_fld.export.needed_runtime import oldest_runtime
from pair_fld.io import atomic_path
from pair_fld.progress import Progress, no_progress

BLOCK, BLOCK_SECONDS = 10, 0.5  # calls before the next file has its turn, and the seconds they may take
DYNAMIC = 128  # size of a dynamic axis other than the first
_PATIENCE = 20  # seconds that a process may take to end


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call at batch 1. pinned: the process could be kept on `threads` cores."""

    threads: int
    median_ms: float
    p95_ms: float
    calls: int
    pinned: bool


@dataclass
class ModelRow:
    """One model file. What could not be measured is None (or missing), and `errors` says why.

    Attributes:
        size_mb: with the external data of an .onnx.
        ops: number of operators by name and data type, e.g. {"CONV_2D int8": 12}.
        runtime: see `oldest_runtime`.
        peak_mb: memory of a process that runs the file on one thread, Python and the runtime included.
        model_mb: the part of it that came with the file.
        nme_outer_corners_percent, faces: NME, and the number of faces that it was measured on.
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
    errors: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def at(self, threads: int) -> Latency | None:
        """The latency on so many threads."""
        return next((entry for entry in self.latency if entry.threads == threads), None)


def measure_models(
    paths: Sequence[Path],
    *,
    threads: Sequence[int] = (1, 2),
    runs: int = 200,
    dynamic: int = DYNAMIC,
    truth: Truth | None = None,
    progress: Progress = no_progress,
) -> list[ModelRow]:
    """Measure every file; an error of one file is an entry in its row, never an exception.

    Each file runs in its own processes, one per number of threads, pinned to that many cores. They are warmed up, then
    take turns of `BLOCK` calls, so that a disturbance of the machine meets all of them alike.

    Args:
        paths: .onnx and .tflite files.
        threads: numbers of threads to measure with.
        runs: calls per file and number of threads (fewer for a file that takes longer than 50 ms).
        dynamic: size of a dynamic axis other than the first, which is a batch of 1.
        truth: labelled faces to score this project's files on; None leaves accuracy out.
        progress: called after each turn.
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


def _describe(path: Path, dynamic: int) -> ModelRow:
    row = ModelRow(str(path))
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
    except PairError as error:
        row.errors.append(f"found {error.found}, expected {error.expected}")
    except FileNotFoundError:
        row.errors.append("no such file")
    except Exception as error:  # a foreign graph may break a reader in any way; its row says how
        row.errors.append(f"cannot be counted ({type(error).__name__}: {' '.join(str(error).split())[:200]})")
    return row


class _Worker:
    """A process of `benchmarks.worker` that fills a row."""

    def __init__(self, row: ModelRow, path: Path, threads: int, dynamic: int) -> None:
        self.row, self.threads, self.times, self.pinned = row, threads, list[float](), False
        call = [sys.executable, "-m", "pair_fld.benchmarks.worker", str(path), str(threads), str(dynamic)]
        self._process = subprocess.Popen(
            call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ask(self, line: str = "") -> dict[str, Any]:
        """Send a line, if any, and read the reply; {"error": ...} when the process died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if line:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
            reply = self._process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        while reply and not reply.startswith("{"):  # a runtime's own chatter
            reply = self._process.stdout.readline()
        return json.loads(reply) if reply else {"error": self._last_words()}

    def _last_words(self) -> str:
        code = self._process.wait(_PATIENCE)
        assert self._process.stderr is not None
        lines = [line for line in self._process.stderr.read().splitlines() if line.strip()]
        last = f": {lines[-1].strip()[:200]}" if lines else ""
        return f"its process ended with code {code}{last}"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _started(row: ModelRow, path: Path, threads: Sequence[int], dynamic: int) -> list[_Worker]:
    """Warm workers of a file, one for each number of threads; a failure is noted in the row."""
    workers = []
    for n in threads:
        worker = _Worker(row, path, n, dynamic)
        reply = worker.ask()
        if "error" in reply:
            _note(row, f"cannot be run ({reply['error']})")
            worker.close()
            continue
        worker.pinned = reply["pinned"]
        if row.peak_mb is None:
            row.peak_mb, row.model_mb = reply["peak_mb"] or None, reply["model_mb"]
        workers.append(worker)
    return workers


def _take_turns(workers: Sequence[_Worker], runs: int, progress: Progress) -> None:
    alive, rounds = list(workers), math.ceil(runs / BLOCK)
    for turn in range(rounds):
        for worker in list(alive):
            reply = worker.ask(f"{min(BLOCK, runs - turn * BLOCK)} {BLOCK_SECONDS}")
            if "error" in reply:
                _note(worker.row, f"stopped while running ({reply['error']})")
                alive.remove(worker)
            worker.times += reply.get("ms", [])
        progress(turn + 1, rounds)
    for worker in alive:
        median, p95 = np.percentile(worker.times, [50, 95])
        entry = Latency(worker.threads, float(median), float(p95), len(worker.times), worker.pinned)
        worker.row.latency.append(entry)


def _note(row: ModelRow, error: str) -> None:
    if error not in row.errors:
        row.errors.append(error)


def _score(row: ModelRow, path: Path, truth: Truth) -> None:
    try:
        result, _ = validate_model(open_model(path), truth)
    except (PairError, ValueError) as error:
        row.errors.append(f"not scored: {error}")
        return
    row.nme_outer_corners_percent = result.overall["outer_corners"].nme_percent
    row.faces = result.overall["outer_corners"].faces


def plot_models(rows: Sequence[ModelRow], path: Path) -> None:
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
