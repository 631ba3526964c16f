"""Run folders: every output says where it came from (config, git commit, versions, seed, data hash)."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pair_fld
from pair_fld.errors import GateError, PairError
from pair_fld.io import read_json
from pair_fld.outputs import refuse_inputs_inside

RECORD = "run.json"
MARKER = ".pairfld"  # in every output folder: the stage that made it
_PACKAGES = (
    "torch",
    "timm",
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "onnx",
    "onnxruntime",
    "ai-edge-litert",
)


def provenance(config: dict[str, Any], *, seed: int | None = None, data_hash: str | None = None) -> dict[str, Any]:
    """The record that outputs carry."""
    return {
        "pair_fld": pair_fld.__version__,
        "commit": _git_commit(),
        "python": platform.python_version(),
        "packages": {name: v for name in _PACKAGES if (v := installed_version(name))},
        "seed": seed,
        "data_hash": data_hash,
        "config": config,
    }


def installed_version(package: str) -> str | None:
    """The version of an installed distribution, None where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The checkout's commit, with '+changes' when it differs; None where this package is not a checkout's own."""
    folder = Path(__file__).parent
    if not (folder.parent / ".git").exists():  # git would climb to a user's repository around an installed copy
        return None
    try:
        call = ("git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*")
        return subprocess.run(call, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def claim_folder(
    folder: Path, stage: str, *, overwrite: bool = False, inputs: Iterable[str | Path] = (), resumes: bool = True
) -> None:
    """Make the output folder of a stage; a non-empty one is refused unless `overwrite` (then it is emptied).

    Only a folder that the same stage has made is ever emptied: each carries a marker that names its stage. One that
    holds an input of this call is not emptied either.

    Args:
        resumes: the verb has --resume, so that the error may advise it.

    Raises:
        PairError: the folder is in use, is another stage's or nobody's, holds an input, or cannot be made.
    """
    check_claim(folder, stage, overwrite, inputs, resumes=resumes)
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).write_text(stage + "\n", encoding="utf-8")
    except OSError as error:
        raise PairError(folder, "a folder that can be made", str(error), "Choose another output folder.") from None


def check_claim(
    folder: Path, stage: str, overwrite: bool, inputs: Iterable[str | Path] = (), *, resumes: bool = True
) -> None:
    """Whether `claim_folder` would do it: PairError if not, and nothing is touched."""
    if folder.exists() and not folder.is_dir():
        raise PairError(folder, "a folder", "a file", "Choose another output folder.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    marker = folder / MARKER
    owner = marker.read_text(encoding="utf-8", errors="replace").strip() if marker.is_file() else None
    if owner != stage:
        found = f"one of {owner}" if owner else "one with other files in it"
        remedy = "Choose another folder, or empty it by hand if that is what you want."
        raise PairError(folder, f"a new or empty output folder for {stage}", found, remedy)
    if not overwrite:
        resume = "--resume to continue that run as it was, " if resumes else ""
        remedy = f"Choose another folder, {resume}or --overwrite to replace it."
        raise PairError(folder, "a new or empty output folder", f"an earlier run of {stage}", remedy)
    refuse_inputs_inside(folder, inputs)


@contextmanager
def fresh_folder(
    folder: Path, stage: str, *, overwrite: bool = False, inputs: Iterable[str | Path] = (), resumes: bool = True
) -> Generator[Path]:
    """A new folder to write a stage's results into; it takes the place of `folder` when the block ends well.

    An earlier result stays whole until then. A broken gate counts as an end: what was written is there to look at.
    Raises as `claim_folder`.
    """
    check_claim(folder, stage, overwrite, inputs, resumes=resumes)
    draft = folder.with_name(f".{folder.name[:64]}.{os.getpid()}.tmp")  # cut: a name may be as long as can be
    claim_folder(draft, stage, overwrite=True)
    try:
        yield draft
    except GateError:
        _swap(draft, folder)
        raise
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _swap(draft, folder)


def _swap(draft: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name[:64]}.{os.getpid()}.old")
    if folder.is_dir():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def finished(folder: Path, key: dict[str, Any]) -> bool:
    """Whether `folder` holds a run record with these values: the stage was done, with the same settings and inputs."""
    if not (folder / RECORD).is_file():
        return False
    record = read_json(folder / RECORD, "a run record")
    return all(record.get(name) == value for name, value in key.items())
