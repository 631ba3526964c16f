"""What a call may write: an input never, an earlier result only when told to, no file twice."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from pair_fld.errors import PairError

Identity = tuple[int, int]
MAX_NAME_BYTES = 255  # of a file name, on all common file systems


def identity(path: str | Path) -> Identity | None:
    """(device, inode) of the file or folder that a path leads to; None when there is none.

    It is the same for every spelling of a path, through links, and in either case where the system does not tell
    upper from lower case.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a null byte
        return None
    return found.st_dev, found.st_ino


class OutputGuard:
    """Protects what a call reads, and what earlier calls wrote, from what it writes.

    Args:
        inputs: every file that the call reads.
        overwrite: earlier results may be replaced; inputs never.
    """

    def __init__(self, inputs: Iterable[str | Path], *, overwrite: bool = False) -> None:
        self.overwrite = overwrite
        self._inputs = {identity(path) for path in inputs} - {None}
        self._claimed: set[str] = set()

    def check(self, path: Path, *, kept: bool = False) -> None:
        """Whether `path` may be written; nothing is touched.

        Args:
            kept: a file that is already there is an earlier result that the caller will leave as it is.

        Raises:
            PairError: it is an input, a folder, or an earlier result without `overwrite`.
        """
        there = identity(path)
        if there is None:
            return
        if there in self._inputs:
            message = f"{path} is an input of this call and is never written over."
            raise PairError(path, message=message, remedy="Choose another place for the results.")
        if path.is_dir():
            raise PairError(path, "a file to write", "a folder", "Choose another name.")
        if not (kept or self.overwrite):
            remedy = "Choose another place, or --overwrite to replace it."
            raise PairError(path, "no earlier results", "a file of that name", remedy)

    def claim(self, path: Path, *, kept: bool = False) -> None:
        """`check`, and that nothing else of this call goes there. Raises as `check`."""
        self.check(path, kept=kept)
        key = _key(path)
        if key in self._claimed:
            message = f"Two results of this call would be written to {path}."
            raise PairError(path, message=message, remedy="Rename one of them.")
        self._claimed.add(key)


def refuse_inputs_inside(folder: Path, inputs: Iterable[str | Path]) -> None:
    """PairError when an input lies in a folder that is to be emptied; missing inputs are passed over."""
    inside = identity(folder)
    if inside is None:
        return
    for path in inputs:
        whole = Path(os.path.realpath(path))
        if whole.exists() and any(identity(place) == inside for place in (whole, *whole.parents)):
            message = f"{path} is an input of this call and lies in the output folder {folder}, which would be emptied."
            raise PairError(path, message=message, remedy="Choose another output folder.")


def is_plain_name(name: str) -> bool:
    """Whether a name stays in the folder in which it is used on every system."""
    return name not in ("", ".", "..") and not any(mark in name for mark in "/\\\0")


def shortened(name: str, limit: int = MAX_NAME_BYTES) -> str:
    """A name whose last part has at most `limit` bytes: a longer one is cut and told apart by a hash of the whole."""
    folder, slash, last = name.rpartition("/")
    raw = os.fsencode(last)
    if len(raw) <= limit:
        return name
    mark = "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return folder + slash + raw[: limit - len(mark)].decode("utf-8", errors="ignore") + mark


def printable(text: str) -> str:
    """A text that every encoder of Unicode takes: undecodable bytes of a file name become \\x escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _key(path: Path) -> str:
    """One for all paths that may be one file on some system: upper and lower case, composed and decomposed letters."""
    return unicodedata.normalize("NFC", os.path.join(_real(path.parent), path.name)).casefold()


@lru_cache(maxsize=4096)
def _real(folder: Path) -> str:
    return os.path.realpath(folder)
