"""Virtual environments for foreign programs: made once for a requirements.txt, kept, and used as separate processes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

TIMEOUT_S = 1800
LAST_LINES = 8  # of a program that failed, shown to the user
READY = ".pairfld-ready"  # written last: an environment without it was interrupted and is made anew


class CallError(Exception):
    """A program could not be run or ended with an error; the message holds its last lines."""


def run_program(
    command: Sequence[str], folder: Path, what: str, *, timeout_s: float = TIMEOUT_S, quiet: bool = True
) -> None:
    """Run a program in `folder` without the caller's packages, and wait for it.

    Args:
        what: its name for messages.
        quiet: keep its output; False passes it on.

    Raises:
        CallError: it cannot be started, runs too long, or ends with another exit code than 0.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=quiet, text=True, errors="replace", timeout=timeout_s, env=_environ()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CallError(f"{what} failed: {error}") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout or "").strip().splitlines()
        # of a Python program's traceback the last line says what happened
        last = "\n".join(lines[-1 if any(line.startswith("Traceback (") for line in lines) else -LAST_LINES :])
        raise CallError(f"{what} ended with exit code {done.returncode}:\n{last}")


def make_environment(venv: Path, requirements: Path, python: str = sys.executable) -> str:
    """A new virtual environment with the packages of a requirements.txt; returns its interpreter.

    Raises:
        CallError: as `run_program`.
    """
    venv, requirements = venv.absolute(), requirements.absolute()  # the programs run in another folder than the caller
    folder = requirements.parent
    python = os.path.abspath(python) if os.path.dirname(python) else python
    run_program([python, "-m", "venv", str(venv)], folder, "making a virtual environment")
    interpreter = str(venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))
    pip = [interpreter, "-m", "pip", "install", "--disable-pip-version-check", "-q", "-r", str(requirements)]
    run_program(pip, folder, "installing requirements.txt")
    return interpreter


def cached_environment(requirements: Path, python: str = sys.executable, cache: Path | None = None) -> str:
    """The interpreter of an environment with these requirements, made on first use and kept in `cache`.

    Its name is a hash of the requirements and of the interpreter, so that a change of either makes another one.

    Raises:
        CallError: as `run_program`.
    """
    if not requirements.is_file():
        raise CallError(f"there is no {requirements.name}")
    digest = hashlib.sha256(requirements.read_bytes() + b"\0" + python.encode() + sys.version.encode()).hexdigest()
    venv = (cache or cache_folder() / "environments").absolute() / digest[:16]
    interpreter = str(venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))
    if (venv / READY).is_file():
        return interpreter
    try:
        venv.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(venv.with_suffix(".lock")):  # two calls at once make it once
            if not (venv / READY).is_file():
                shutil.rmtree(venv, ignore_errors=True)
                make_environment(venv, requirements, python)
                (venv / READY).write_bytes(requirements.read_bytes())
    except OSError as error:
        raise CallError(f"the folder of environments cannot be written: {error}") from None
    return interpreter


def cache_folder() -> Path:
    """Where things are kept that can be made again: $PAIRFLD_CACHE, else pairfld in the user's cache folder."""
    if own := os.environ.get("PAIRFLD_CACHE"):
        return Path(own)
    base = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pairfld"


def _environ() -> dict[str, str]:
    """The environment variables without those that let the caller's packages in."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
