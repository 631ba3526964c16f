"""What this machine has and lacks for pair_fld, with the command that mends each thing."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from pair_fld.errors import PairError
from pair_fld.face_detector.files import DISTRIBUTION, PIP
from pair_fld.runs import installed_version

State = Literal["good", "missing", "optional", "note"]
LEAST_DISK_GB = 2.0  # packed faces, checkpoints and the environments of archives
_RUNTIMES = {
    "ai-edge-litert": ("ai_edge_litert.interpreter", ".tflite files"),
    "tflite-runtime": ("tflite_runtime.interpreter", ".tflite files, where ai-edge-litert is not"),
    "onnxruntime": ("onnxruntime", ".onnx files"),
}
_OPTIONAL = {
    DISTRIBUTION: ("the face detector of an archive", PIP),
    "tensorboard": ("training curves in TensorBoard", "pip install tensorboard"),
    "scipy": ("data sources of the kind aflw2000", "pip install scipy"),
    "litert-torch": ("TFLite files of other architectures (mobilevitv2)", "pip install litert-torch==0.10.0"),
}
_PROGRAMS = {"git": "commits in the records", "make": "make all, make test"}


@dataclass(frozen=True)
class Finding:
    """One line of `pairfld doctor`.

    Attributes:
        subject: what was looked at.
        state: "missing" is needed, "optional" is not there but not needed either.
        found: a version, a number, or why it is missing.
        remedy: a command or a sentence; empty where all is well.
    """

    subject: str
    state: State
    found: str
    remedy: str = ""
    package: bool = False  # one of those that pair_fld needs


def examine() -> list[Finding]:
    """Look at everything; nothing is changed or downloaded."""
    parts = (_python, _packages, _runtimes, _opencv, _model, _devices, _threads, _memory, _disk, _optional, _programs)
    return [finding for part in parts for finding in part()]


def _python() -> Iterator[Finding]:
    yield Finding("system", "note", f"{platform.system()} {platform.release()}, {platform.machine()}")
    good = sys.version_info >= (3, 11)
    remedy = "" if good else "Install Python 3.11 or newer, then make setup PYTHON=python3.11."
    yield Finding("Python", "good" if good else "missing", platform.python_version(), remedy)


def _packages() -> Iterator[Finding]:
    try:
        entries = [Requirement(line) for line in requires("pair_fld") or ()]
    except PackageNotFoundError:
        yield Finding("pair_fld", "missing", "not installed", "make setup, or pip install -e . in its folder")
        return
    yield Finding("pair_fld", "good", version("pair_fld"))
    for entry in entries:
        if entry.marker is not None and not entry.marker.evaluate({"extra": ""}):
            continue
        found = installed_version(entry.name)
        if found is None and entry.name == "opencv-python-headless":
            found = installed_version("opencv-python")  # serves as well
        if found is None:
            yield Finding(entry.name, "missing", "not installed", f'pip install "{entry}"', True)
        elif not entry.specifier.contains(found, prereleases=True):
            yield Finding(entry.name, "missing", f"{found}, needed {entry.specifier}", f'pip install "{entry}"', True)
        else:
            yield Finding(entry.name, "good", found, package=True)


def _runtimes() -> Iterator[Finding]:
    for name, (module, use) in _RUNTIMES.items():
        if (found := installed_version(name)) is None:
            if name != "tflite-runtime":
                yield Finding(f"{name}, runs {use}", "missing", "not installed", f"pip install {name}")
            continue
        error = _error(lambda module=module: importlib.import_module(module))
        state: State = "missing" if error else "good"
        remedy = f"pip install --force-reinstall {name}" if error else ""
        yield Finding(f"{name}, runs {use}", state, error or found, remedy)


def _opencv() -> Iterator[Finding]:
    if installed_version("opencv-python") and installed_version("opencv-python-headless"):
        remedy = "pip uninstall -y opencv-python opencv-python-headless, then pip install opencv-python-headless"
        yield Finding("OpenCV", "missing", "two packages that overwrite each other", remedy)


def _model() -> Iterator[Finding]:
    from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked

    def load() -> None:
        archive = shipped_archive()
        with unpacked(archive) as folder:
            open_pipelines(folder, archive, 1)

    error = _error(load)
    remedy = "Reinstall pair_fld, or give an archive with --archive." if error else ""
    yield Finding("shipped model", "missing" if error else "good", error or "opens", remedy)


def _devices() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            yield Finding(f"device cuda:{number}", "good", torch.cuda.get_device_name(number))
    elif torch.version.cuda is None and shutil.which("nvidia-smi"):
        remedy = "make distclean, then make setup TORCH_INDEX= (a build of PyTorch with CUDA)"
        yield Finding("device cuda", "optional", "a GPU that this build of PyTorch cannot use", remedy)
    if torch.backends.mps.is_available():
        yield Finding("device mps", "good", "Apple's GPU")
    yield Finding("device cpu", "good", platform.processor() or platform.machine())


def _threads() -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    many = threads > cores
    remedy = f"export OMP_NUM_THREADS={cores}" if many else ""
    yield Finding("threads", "optional" if many else "note", f"{threads} of PyTorch on {cores} cores", remedy)


def _memory() -> Iterator[Finding]:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return
    free = next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("MemAvailable")), None)
    if free is not None:
        remedy = "Use num_workers=1 and smaller batches." if free < 2 else ""
        yield Finding("memory", "optional" if remedy else "note", f"{free:.1f} GB free", remedy)


def _disk() -> Iterator[Finding]:
    for subject, folder in (("disk, this folder", Path.cwd()), ("disk, temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / 1e9
        short, writable = free < LEAST_DISK_GB, os.access(folder, os.W_OK)
        remedy = "" if not short else "Free some space, or set TMPDIR to a folder with space."
        remedy = remedy if writable else "Choose a folder that you may write to."
        found = f"{free:.1f} GB free" + ("" if writable else ", not writable")
        yield Finding(subject, "optional" if remedy else "note", found, remedy)


def _optional() -> Iterator[Finding]:
    for name, (use, remedy) in _OPTIONAL.items():
        found = installed_version(name)
        state: State = "good" if found else "optional"
        yield Finding(f"{name}, for {use}", state, found or "not installed", "" if found else remedy)


def _programs() -> Iterator[Finding]:
    for name, use in _PROGRAMS.items():
        there = shutil.which(name) is not None
        remedy = "" if there else f"Install {name} with your system's packages."
        yield Finding(f"{name}, for {use}", "good" if there else "optional", "there" if there else "not found", remedy)


def _error(call: Callable[[], Any]) -> str:
    """Why a call fails, in one line; empty when it does not."""
    try:
        call()
    except (ImportError, OSError, ValueError, RuntimeError, PairError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return ""
