"""Landmark text files: .pts labels (one face) and contest output (any number of faces, none included).

version: 1            also seen: `version: 1(right one)`
n_points: 51
{
x y
...
}
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_HEADER = re.compile(r"^\s*n_points\s*:\s*(\d+)\s*$", re.IGNORECASE)
_VERSION = re.compile(r"^\s*version\s*:\s*\d+(?:\.\d+)?\s*(\(.*\))?\s*$", re.IGNORECASE)


def read_faces(path: str | Path) -> list[np.ndarray]:
    """Read every face of a .pts or contest text file.

    Returns:
        A list of (N, 2) float64 arrays in image pixels, in the file's order; empty for an empty file.
        Coordinates stand as written: nan is kept, no 1-based correction is made.

    Raises:
        ValueError: one sentence with the line that does not fit. OSError: the file cannot be read.
    """
    text = Path(path).read_bytes().decode("utf-8-sig", errors="replace")
    faces: list[np.ndarray] = []
    declared: int | None = None
    rows: list[tuple[float, float]] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or (rows is None and _VERSION.match(line)):
            continue
        if rows is None:
            header = _HEADER.match(line)
            if header:
                declared = int(header.group(1))
            elif line == "{":
                rows = []
            else:
                raise ValueError(f"{path}, line {number}: expected 'version:', 'n_points:' or '{{', found {line!r}")
        elif line == "}":
            if declared is not None and len(rows) != declared:
                raise ValueError(f"{path}: the header promises {declared} points, the block holds {len(rows)}")
            faces.append(np.array(rows, np.float64).reshape(-1, 2))
            declared, rows = None, None
        else:
            rows.append(_number_pair(path, number, line))
    if rows is not None:
        raise ValueError(f"{path}: the last block has no closing '}}', the file seems cut short")
    if declared is not None:
        raise ValueError(f"{path}: 'n_points: {declared}' is not followed by a block of points")
    return faces


def _number_pair(path: str | Path, number: int, line: str) -> tuple[float, float]:
    fields = line.replace(",", " ").split()
    try:
        x, y = (float(f) for f in fields)
    except ValueError:
        raise ValueError(f"{path}, line {number}: expected two numbers 'x y', found {line!r}") from None
    return x, y


def read_one_face(path: str | Path) -> np.ndarray:
    """Read a label file that must hold exactly one face; (N, 2). Raises as `read_faces`."""
    faces = read_faces(path)
    if len(faces) != 1:
        raise ValueError(f"{path}: expected one face, found {len(faces)}")
    return faces[0]


def order_right_to_left(faces: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The contest's order of several faces (each (N, 2)): box centre x descending."""
    return sorted(faces, key=lambda f: -(np.nanmin(f[:, 0]) + np.nanmax(f[:, 0])) / 2)


def format_faces(faces: Sequence[np.ndarray]) -> str:
    """Contest text of the faces in the given order; the empty string for none."""
    blocks = []
    for face in faces:
        lines = "\n".join(f"{x:.3f} {y:.3f}" for x, y in np.asarray(face, np.float64))
        blocks.append(f"version: 1\nn_points: {len(face)}\n{{\n{lines}\n}}\n")
    return "".join(blocks)


def write_faces(path: str | Path, faces: Sequence[np.ndarray]) -> None:
    """Write faces as contest text, whole or not at all (a temporary file is renamed into place)."""
    path = Path(path)
    # not made of the name: that may be as long as the system allows
    temporary = path.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
        temporary.write_text(format_faces(faces), encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
