"""The results of many images for programs: JSON, JSON Lines and CSV."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
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

    name: of its files. image: the path as given, or the name of a frame. faces: right to left. time: of a frame,
    seconds since the video's first.
    error: one sentence where the image could not be read or its files not be written.
    """

    name: str
    image: str
    faces: tuple[Face, ...] = ()
    error: str | None = None
    time: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Per face its identity, score, box (x0, y0, x1, y1), pose, openness, 51 points and their deviations, image
        pixels and degrees; or the error. Identity is null in images; it, score and deviations are null for a face that
        an earlier run found and only its text file knows."""
        entry: dict[str, Any] = {"name": printable(self.name), "image": printable(self.image)}
        if self.time is not None:
            entry["time"] = round(self.time, 4)
        if self.error is not None:
            return entry | {"error": printable(self.error)}
        return entry | {"faces": [_face_json(face) for face in self.faces]}


def _face_json(face: Face) -> dict[str, Any]:
    pose, openness = face.pose, face.openness
    return {
        "identity": face.identity,
        "score": None if face.score is None else round(face.score, 4),
        "box": _rounded(face.box),
        "pose": {
            "yaw": round(pose.yaw, 2),
            "pitch": round(pose.pitch, 2),
            "roll": round(pose.roll, 2),
            "matrix": [_rounded(row) for row in pose.matrix],
        },
        "openness": {name: round(share, 3) for name, share in vars(openness).items()},
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
    """One line per face: name, image, number of the face from the right, score, x0 y0 ... x50 y50, d0 ... d50, time,
    identity, yaw, pitch, roll, openness of eyes and mouth.

    d are the points' deviations in image pixels; what is not known is empty.

    An image without faces has no line.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    points, deviations = (
        [f"{axis}{k}" for k in range(NUM_POINTS) for axis in "xy"],
        [f"d{k}" for k in range(NUM_POINTS)],
    )
    more = ["time", "identity", "yaw", "pitch", "roll", "eye_left", "eye_right", "mouth"]
    writer.writerow(["name", "image", "face", "score", *points, *deviations, *more])
    for result in results:
        for number, face in enumerate(result.faces):
            score = "" if face.score is None else f"{face.score:.4f}"
            values = [v for point in face.points for v in _rounded(point)]
            spread = [""] * NUM_POINTS if face.deviations is None else _rounded(face.deviations)
            time = "" if result.time is None else f"{result.time:.4f}"
            pose = [f"{angle:.2f}" for angle in (face.pose.yaw, face.pose.pitch, face.pose.roll)]
            opened = [f"{share:.3f}" for share in vars(face.openness).values()]
            more = [time, "" if face.identity is None else face.identity, *pose, *opened]
            writer.writerow([printable(result.name), printable(result.image), number, score, *values, *spread, *more])
    return stream.getvalue()


def is_ascii_only() -> bool:
    """Whether stdout knows no Unicode: it would get escapes that JSON does not have."""
    return not (sys.stdout.encoding or "utf-8").lower().startswith("utf")


@contextmanager
def write_json_lines(path: Path) -> Generator[Callable[[ImageResult], None]]:
    """Writes one line of JSON per result at once: to stdout, or to a file that appears when the block ends well."""
    with ExitStack() as stack:
        if path == STDOUT:
            stream, ascii_only = sys.stdout, is_ascii_only()
        else:
            temporary = stack.enter_context(atomic_path(path))
            stream, ascii_only = stack.enter_context(temporary.open("w", encoding="utf-8", newline="\n")), False

        def write(result: ImageResult) -> None:
            stream.write(json.dumps(result.to_json(), ensure_ascii=ascii_only) + "\n")
            stream.flush()  # who reads a camera's faces wants them now

        yield write


def write_json(path: Path, results: Iterable[ImageResult]) -> None:
    """`json_text` to a file, whole or not at all, or to stdout."""
    _write(path, json_text(results, ascii_only=path == STDOUT and is_ascii_only()))


def write_csv(path: Path, results: Iterable[ImageResult]) -> None:
    """`csv_text` to a file, whole or not at all, or to stdout."""
    _write(path, csv_text(results))


def _write(path: Path, text: str) -> None:
    if path == STDOUT:
        sys.stdout.write(text)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))
