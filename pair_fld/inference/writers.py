"""The results of many images for programs: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.inference.outputs import STDOUT
from pair_fld.io import atomic_path
from pair_fld.outputs import printable
from pair_fld.runtime.geometry import points_box
from pair_fld.runtime.scheme import NUM_POINTS


@dataclass(frozen=True)
class ImageResult:
    """What was found in one image or video frame.

    name: of its files. image: the path as given, or the name of a frame. faces: (51, 2) _img each, right to left.
    error: one sentence where the image could not be read or its files not be written.
    """

    name: str
    image: str
    faces: tuple[np.ndarray, ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Per face its box (x0, y0, x1, y1) and 51 points, image pixels; or the error."""
        entry: dict[str, Any] = {"name": printable(self.name), "image": printable(self.image)}
        if self.error is not None:
            return entry | {"error": printable(self.error)}
        faces = [{"box": _rounded(points_box(face)), "points": [_rounded(p) for p in face]} for face in self.faces]
        return entry | {"faces": faces}


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(v), 3) for v in values]


def json_text(results: Iterable[ImageResult], *, ascii_only: bool = False) -> str:
    """A JSON list with one image per line."""
    lines = [json.dumps(result.to_json(), ensure_ascii=ascii_only) for result in results]
    return "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"


def csv_text(results: Iterable[ImageResult]) -> str:
    """One line per face: name, image, number of the face from the right, x0 y0 ... x50 y50.

    An image without faces has no line.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["name", "image", "face", *(f"{axis}{k}" for k in range(NUM_POINTS) for axis in "xy")])
    for result in results:
        for number, face in enumerate(result.faces):
            values = [v for point in face for v in _rounded(point)]
            writer.writerow([printable(result.name), printable(result.image), number, *values])
    return stream.getvalue()


def write_json(path: Path, results: Iterable[ImageResult]) -> None:
    """`json_text` to a file, whole or not at all, or to stdout."""
    # a terminal that knows no Unicode would get escapes that JSON does not have
    ascii_only = path == STDOUT and not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    _write(path, json_text(results, ascii_only=ascii_only))


def write_csv(path: Path, results: Iterable[ImageResult]) -> None:
    """`csv_text` to a file, whole or not at all, or to stdout."""
    _write(path, csv_text(results))


def _write(path: Path, text: str) -> None:
    if path == STDOUT:
        sys.stdout.write(text)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))
