"""What a file is when it is not what it should be: told from its first bytes, in the user's words."""

from __future__ import annotations

import zipfile
from pathlib import Path

_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html")
_ZIP = b"PK\x03\x04"


def known_error(path: Path) -> str | None:
    """Why a file cannot hold a model, a dataset or a checkpoint, where that shows without reading it whole.

    Returns:
        A noun with its article ("an empty file", "a Git LFS pointer ..."); None when nothing is wrong at first sight.

    Raises:
        OSError: the file cannot be read.
    """
    if path.is_dir():
        return "a folder"
    with path.open("rb") as stream:
        head = stream.read(1024)
    if not head:
        return "an empty file"
    if head.startswith(_LFS):
        return "a Git LFS pointer instead of the file itself (`git lfs pull` fetches it)"
    if head.lstrip().lower().startswith(_PAGES):
        return "a web page instead of the file itself"
    if not head.strip(b"\0"):
        return "a file of zeros"
    if head.startswith(_ZIP) and not zipfile.is_zipfile(path):
        return "a truncated file"
    return None
