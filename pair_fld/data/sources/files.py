"""The one rule by which files below a folder are listed, for every verb alike.

Linked folders are followed, each real folder once; hidden files and folders are no data (macOS leaves `._name.jpg`
behind). What has none of the wanted suffixes is passed over, and everything passed over is counted.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pair_fld.runtime.image import SUFFIXES

IMAGE_SUFFIXES = SUFFIXES
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")

HIDDEN = "hidden"
ARCHIVE = "archive not unpacked"
LISTED_BEFORE = "folder listed under another name"
BROKEN = "link that leads nowhere"
UNREADABLE = "folder that cannot be opened"
_PLURAL = {
    HIDDEN: HIDDEN,
    ARCHIVE: "archives not unpacked",
    LISTED_BEFORE: "folders listed under another name",
    BROKEN: "links that lead nowhere",
    UNREADABLE: "folders that cannot be opened",
}
_MOST_KINDS = 5  # suffixes that the sentence names


@dataclass
class FileList:
    """files: sorted by path. passed_over: how many files and folders were left out, by reason or suffix."""

    files: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def of(self, suffixes: Iterable[str]) -> list[Path]:
        """The files with one of these suffixes, in any case."""
        wanted = tuple(suffixes)
        return [path for path in self.files if path.suffix.lower() in wanted]


def list_files(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> FileList:
    """All files below a folder that have one of the suffixes, in any case.

    The folder itself may be hidden or a link: it was named. A folder that is reached a second time, through a link
    beside or above it, is passed over.
    """
    found = FileList()
    _walk(folder, tuple(suffixes), {os.path.realpath(folder)}, found)
    found.files.sort()
    return found


def _walk(folder: Path, suffixes: tuple[str, ...], seen: set[str], found: FileList) -> None:
    try:
        # real folders before links: a folder is listed under its own name where it has one below this folder
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError:
        found.passed_over[UNREADABLE] += 1
        return
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith("."):
            found.passed_over[HIDDEN] += 1
        elif entry.is_dir():
            real = os.path.realpath(path)
            if real in seen:
                found.passed_over[LISTED_BEFORE] += 1
            else:
                seen.add(real)
                _walk(path, suffixes, seen, found)
        elif (reason := file_reason(path, suffixes)) is not None:
            found.passed_over[reason] += 1
        else:
            found.files.append(path)


def file_reason(path: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> str | None:
    """Why a file that was not named itself is passed over; None when it is to be listed."""
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        return HIDDEN
    if not path.is_file():
        return BROKEN
    if suffix in tuple(suffixes):
        return None
    return ARCHIVE if suffix in ARCHIVE_SUFFIXES else suffix or "without a suffix"


def passed_over_sentence(passed_over: Counter[str]) -> str | None:
    """One line for people; None when nothing was passed over."""
    if not passed_over.total():
        return None
    counts = {reason: passed_over[reason] for reason in _PLURAL if passed_over[reason]}
    parts = [f"{count} {reason if count == 1 else _PLURAL[reason]}" for reason, count in counts.items()]
    kinds = Counter({kind: count for kind, count in passed_over.items() if kind not in _PLURAL}).most_common()
    parts += [f"{count} {_printable(kind)}" for kind, count in kinds[:_MOST_KINDS]]
    if rest := sum(count for _, count in kinds[_MOST_KINDS:]):
        parts.append(f"{rest} of other kinds")
    return f"passed over: {', '.join(parts)}"


def _printable(text: str) -> str:
    return os.fsencode(text).decode("utf-8", errors="replace")
