"""The process that `model_files` measures one model file in: light imports, one file, one number of threads.

Run as a module with FILE THREADS DYNAMIC. It writes one line of JSON when the file is loaded and warm, then, for every
line "CALLS SECONDS" on stdin, one line with the times of so many calls in milliseconds (fewer when the seconds are up).
A file that crashes its runtime takes only this process down.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Any]
WARM_CALLS, WARM_SECONDS = 20, 1.0
_TYPES = {
    "float": np.float32, "float16": np.float16, "double": np.float64, "uint8": np.uint8, "int8": np.int8,
    "uint16": np.uint16, "int16": np.int16, "int32": np.int32, "int64": np.int64, "bool": np.bool_,
}  # fmt: skip


def main(path: Path, threads: int, dynamic: int) -> None:
    """Load, warm up, report, then measure on command."""
    pinned = _pin(threads)
    open_file = _open_onnx if path.suffix.lower() == ".onnx" else _open_tflite
    prepare = open_file(path, threads, dynamic)  # imports the runtime: its own memory is not the model's
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = memory("VmRSS")
    try:
        call = prepare()
        _measure(call, WARM_CALLS, WARM_SECONDS)
    except Exception as error:  # whatever a foreign file makes a runtime raise becomes its row's reason
        _print({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"})
        return
    peak = memory("VmHWM") or _peak_of_process()
    _print({"pinned": pinned, "peak_mb": peak, "model_mb": peak - before if before else None})
    for line in sys.stdin:
        calls, seconds = line.split()
        _print({"ms": _measure(call, int(calls), float(seconds))})


def _print(tree: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(tree) + "\n")
    sys.stdout.flush()


def _pin(threads: int) -> bool:
    """Keep this process and the threads it will start on as many cores as it may use."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return True


def memory(key: str) -> float:
    """A figure of /proc/self/status in MB, 0 where there is none.

    getrusage would do for the peak, but on Linux it survives exec: it would show the parent's.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{key}:")), 0.0)


def _peak_of_process() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _measure(call: Call, calls: int, seconds: float) -> list[float]:
    """Milliseconds of each call; stops early, but not before the first, when the time is up."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < calls and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def random_input(shape: list[int], dtype: Any, generator: np.random.Generator) -> np.ndarray:
    """Noise from -1 to 1, or over all codes of an 8-bit input; zeros for wider integers, which may be indices."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return generator.uniform(-1, 1, shape).astype(kind)
    if kind.itemsize == 1 and kind.kind in "iu":
        limits = np.iinfo(kind)
        return generator.integers(limits.min, limits.max + 1, shape).astype(kind)
    return np.zeros(shape, kind)


def fixed(shape: list[Any], dynamic: int) -> list[int]:
    """A shape whose unknown first axis is a batch of one and whose other unknown axes are `dynamic`."""
    return [
        size if isinstance(size, int) and size > 0 else (1 if axis == 0 else dynamic) for axis, size in enumerate(shape)
    ]


def _open_onnx(path: Path, threads: int, dynamic: int) -> Callable[[], Call]:
    import onnxruntime

    def prepare() -> Call:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
        # threads of this session must not spin while the next file is measured
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        generator = np.random.default_rng(0)
        feed = {}
        for entry in session.get_inputs():
            kind = entry.type.removeprefix("tensor(").removesuffix(")")
            if kind not in _TYPES:
                raise TypeError(f"input {entry.name!r} is {entry.type}, which cannot be made up")
            feed[entry.name] = random_input(fixed(list(entry.shape), dynamic), _TYPES[kind], generator)
        return lambda: session.run(None, feed)

    return prepare


def _open_tflite(path: Path, threads: int, dynamic: int) -> Callable[[], Call]:
    from pair_fld.runtime import session

    with contextlib.suppress(ImportError):
        importlib.import_module("ai_edge_litert.interpreter")  # now, so that its memory is not the model's

    def prepare() -> Call:
        interpreter = session.tflite_interpreter(path, threads)
        generator = np.random.default_rng(0)
        details = interpreter.get_input_details()
        for entry in details:
            shape = [int(size) for size in entry.get("shape_signature", entry["shape"])]
            if any(size <= 0 for size in shape):
                interpreter.resize_tensor_input(entry["index"], fixed(shape, dynamic))
        interpreter.allocate_tensors()
        for entry in interpreter.get_input_details():
            shape = [int(size) for size in entry["shape"]]
            interpreter.set_tensor(entry["index"], random_input(shape, entry["dtype"], generator))
        return interpreter.invoke

    return prepare


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
