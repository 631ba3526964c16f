"""Opening the face detector that a file holds: the file itself says which kind it is."""

from __future__ import annotations

from pathlib import Path
from typing import Union

from .blazeface import BlazeFace
from .centre_detector import CentreDetector
from .session import has_metadata

FaceDetector = Union[BlazeFace, CentreDetector]  # noqa: UP007 (Python 3.9)
FILES = ("detector.tflite", "detector.onnx")


def open_detector(path: str | Path, threads: int = 1) -> FaceDetector:
    """The project's own detector where the file carries its metadata, else BlazeFace. Raises as these."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such face detector file")
    return CentreDetector(path, threads) if has_metadata(path) else BlazeFace(path, threads)


def load_detector(folder: str | Path, threads: int = 1) -> FaceDetector:
    """The face detector of an unpacked archive, in whatever runtime is installed; ValueError when none opens it."""
    present = [p for p in (Path(folder) / name for name in FILES) if p.is_file()]
    if not present:
        raise ValueError(f"{folder}: expected {' or '.join(FILES)}, found neither")
    errors = []
    for path in present:
        try:
            return open_detector(path, threads)
        except ValueError as error:
            errors.append(str(error))
    raise ValueError("; ".join(errors))
