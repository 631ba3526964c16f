"""Run folders: every output says where it came from (config, git commit, versions, seed, data hash)."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pair_fld
from pair_fld.errors import PairError

RECORD = "run.json"
_PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless", "onnx", "onnxruntime", "ai-edge-litert")


def provenance(config: dict[str, Any], *, seed: int | None = None, data_hash: str | None = None) -> dict[str, Any]:
    """The record that outputs carry."""
    return {
        "pair_fld": pair_fld.__version__,
        "commit": _git_commit(),
        "python": platform.python_version(),
        "packages": {name: v for name in _PACKAGES if (v := _version(name))},
        "seed": seed,
        "data_hash": data_hash,
        "config": config,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The checkout's commit, with '+changes' when it differs; None outside a checkout."""
    folder = Path(__file__).parent
    try:
        call = ("git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*")
        return subprocess.run(call, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def write_json(path: Path, tree: Any) -> None:
    """Write JSON whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, what: str) -> Any:
    """Read JSON; PairError naming `what` was expected when the file is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PairError(path, what, "no such file", "Check the path, or run the stage that writes it.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as fault:
        raise PairError(path, what, f"damaged JSON ({fault})", "Run the stage that writes it again.") from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that is renamed onto it when the block ends well, and removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def claim_folder(folder: Path, *, overwrite: bool = False) -> None:
    """Make an output folder; a non-empty one is refused unless `overwrite` (then it is emptied).

    Only a folder that holds a run record of ours is ever emptied.
    """
    if folder.exists() and not folder.is_dir():
        raise PairError(folder, "a folder", "a file", "Choose another output folder.")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            remedy = "Choose another folder, --resume to continue, or --overwrite to replace it."
            raise PairError(folder, "a new or empty output folder", "one with files in it", remedy)
        if not (folder / RECORD).is_file():
            remedy = "Remove it by hand if that is what you want."
            raise PairError(folder, f"a folder of an earlier run (with {RECORD})", "some other folder", remedy)
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise PairError(folder, "a folder that can be made", str(fault), "Choose another output folder.") from None


def file_hash(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def finished(folder: Path, key: dict[str, Any]) -> bool:
    """Whether `folder` holds a run record with these values: the stage was done, with the same settings and inputs."""
    if not (folder / RECORD).is_file():
        return False
    record = read_json(folder / RECORD, "a run record")
    return all(record.get(name) == value for name, value in key.items())
