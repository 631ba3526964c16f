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
from pair_fld.runtime.face import Face
from pair_fld.runtime.scheme import NUM_POINTS


@dataclass(frozen=True)
class ImageResult:
    """What was found in one image or video frame.

    name: of its files. image: the path as given, or the name of a frame. faces: right to left.
    error: one sentence where the image could not be read or its files not be written.
    """

    name: str
    image: str
    faces: tuple[Face, ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Per face its score, box (x0, y0, x1, y1), roll in degrees, 51 points and their deviations, image pixels; or
        the error. Score and deviations are null for a face that an earlier run found and only its text file knows."""
        entry: dict[str, Any] = {"name": printable(self.name), "image": printable(self.image)}
        if self.error is not None:
            return entry | {"error": printable(self.error)}
        return entry | {"faces": [_face_json(face) for face in self.faces]}


def _face_json(face: Face) -> dict[str, Any]:
    return {
        "score": None if face.score is None else round(face.score, 4),
        "box": _rounded(face.box),
        "roll": round(face.frame.roll, 2),
        "points": [_rounded(point) for point in face.points],
        "deviations": None if face.deviations is None else _rounded(face.deviations),
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(v), 3) for v in values]


def json_text(results: Iterable[ImageResult], *, ascii_only: bool = False) -> str:
    """A JSON list with one image per line."""
    lines = [json.dumps(result.to_json(), ensure_ascii=ascii_only) for result in results]
    return "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"


def csv_text(results: Iterable[ImageResult]) -> str:
    """One line per face: name, image, number of the face from the right, score, x0 y0 ... x50 y50, d0 ... d50.

    d are the points' deviations in image pixels; score and deviations are empty where they are not known.

    An image without faces has no line.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    points, deviations = (
        [f"{axis}{k}" for k in range(NUM_POINTS) for axis in "xy"],
        [f"d{k}" for k in range(NUM_POINTS)],
    )
    writer.writerow(["name", "image", "face", "score", *points, *deviations])
    for result in results:
        for number, face in enumerate(result.faces):
            score = "" if face.score is None else f"{face.score:.4f}"
            values = [v for point in face.points for v in _rounded(point)]
            spread = [""] * NUM_POINTS if face.deviations is None else _rounded(face.deviations)
            writer.writerow([printable(result.name), printable(result.image), number, score, *values, *spread])
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
