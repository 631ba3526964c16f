"""A list of pictures in, one landmark text file each out: what the archive's run_model.py calls.

    python run_model.py IMAGE_LIST OUTPUT_DIR

`Pipeline` is the core: find the faces, crop, run the landmark model, return to picture coordinates.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .detector import BlazeFace, Detector, box_iou, landmark_box
from .geometry import crop_matrix, invert, points_box, transform_points, warp
from .image import read_image
from .pts import order_right_to_left, write_faces
from .session import Model, load_model

# Re-cropping on the first result does not pay with boxes as steady as BlazeFace's (measured on training data: outer
# corner NME 3.86 -> 3.76 % on lfpw, 4.78 -> 4.86 % on ytf, at twice the cost); a model's metadata may say otherwise.
DEFAULT_REFINE = 0
# Two answers whose 51-point boxes overlap by more than this are one face that was found twice.
SAME_FACE_IOU = 0.5
LOOK_AHEAD = 4


class LandmarkModel(Protocol):
    """What the pipeline needs of `session.Model`."""

    metadata: dict[str, Any]
    input_size: int
    margin: float

    def predict(self, crops: np.ndarray) -> np.ndarray: ...


class Pipeline:
    """Faces of a picture as 51 points each.

    Args:
        detector: finds the faces. model: finds the points. refine: how often the crop is cut anew around the
            points just found; None: what the model's metadata says (crop.refine), else DEFAULT_REFINE.

    Raises:
        ValueError: the model does not know how this detector's boxes relate to landmark boxes.
    """

    def __init__(self, detector: Detector, model: LandmarkModel, refine: int | None = None) -> None:
        crop = model.metadata["crop"]
        policy = crop.get("from_detector")
        if policy is None:
            raise ValueError("the model carries no box policy (crop.from_detector); package it with pairfld again")
        if policy.get("detector", detector.name) != detector.name:
            raise ValueError(
                f"the model's box policy was learnt for the detector {policy['detector']!r}, found "
                f"{detector.name!r}; package it with the detector at hand"
            )
        self.detector, self.model, self.policy = detector, model, policy
        self.refine = int(crop.get("refine", DEFAULT_REFINE)) if refine is None else refine

    def faces(self, image_bgr: np.ndarray) -> list[np.ndarray]:
        """Every face of a (H, W, 3) uint8 BGR picture: (51, 2) float64 _img each, from the picture's right to
        left."""
        boxes, _ = self.detector.detect(image_bgr)
        if len(boxes) == 0:
            return []
        points = self.landmarks(image_bgr, landmark_box(boxes, self.policy))
        for _ in range(self.refine):
            points = self.landmarks(image_bgr, np.array([points_box(p) for p in points]))
        return order_right_to_left(_distinct(list(points)))

    def landmarks(self, image_bgr: np.ndarray, boxes_img: np.ndarray) -> np.ndarray:
        """Points (n, 51, 2) float64 _img of the faces whose 51-point boxes are `boxes_img` (n, 4)."""
        size = self.model.input_size
        matrices = [crop_matrix(box, size, self.model.margin) for box in boxes_img]
        crops = np.stack([warp(image_bgr, m, size) for m in matrices])
        points_crop = self.model.predict(crops)
        points_img = [transform_points(invert(m), p) for m, p in zip(matrices, points_crop)]  # noqa: B905 (Python 3.9)
        return np.stack(points_img)


def _distinct(faces: list[np.ndarray]) -> list[np.ndarray]:
    """Faces (best score first) without those that fell onto an earlier one."""
    kept: list[np.ndarray] = []
    for face in faces:
        others = np.array([points_box(k) for k in kept]).reshape(-1, 4)
        if not (box_iou(points_box(face), others) > SAME_FACE_IOU).any():
            kept.append(face)
    return kept


def read_list(path: str | Path) -> list[Path]:
    """Picture paths of a list file, one a line; blank lines, Windows line ends and a byte-order mark are
    tolerated.

    A relative path is looked up in the working directory, then beside the list; one found in neither is
    returned as it stands, so that the reader names it. A path listed twice is returned once.

    Raises:
        ValueError: no list, or nothing in it. OSError: it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: expected a text file with one picture path a line, found no such file")
    data = path.read_bytes()
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode("utf-16", errors="replace") if wide else data.decode("utf-8-sig", errors="surrogateescape")
    names = [line.strip() for line in text.split("\n")]
    pictures = [_locate(name, path.parent) for name in names if name]
    if not pictures:
        raise ValueError(f"{path}: expected one picture path a line, found an empty list")
    return list(dict.fromkeys(pictures))


def _locate(name: str, list_folder: Path) -> Path:
    candidates = [Path(name), list_folder / name]
    if "\\" in name:  # written on Windows
        candidates += [Path(name.replace("\\", "/")), list_folder / name.replace("\\", "/")]
    return next((c for c in candidates if c.is_file()), candidates[0])


def output_paths(pictures: Sequence[Path], folder: Path) -> list[Path]:
    """The text file of each picture; ValueError naming every two pictures that would write the same one."""
    owner: dict[str, Path] = {}
    clashes = []
    for picture in pictures:
        first = owner.setdefault(picture.stem, picture)
        if first != picture:
            clashes.append(f"{first} and {picture} would both write {picture.stem}.txt")
    if clashes:
        raise ValueError("; ".join(clashes) + "; rename one of each pair or use two lists and two output folders")
    return [folder / f"{picture.stem}.txt" for picture in pictures]


def decode_ahead(
    pictures: Sequence[Path], read: Callable[[Path], np.ndarray] = read_image, threads: int = 2
) -> Iterator[tuple[Path, Future[np.ndarray]]]:
    """Each picture with its decoded array as a finished or running future, in order, a few read ahead."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Path, Future[np.ndarray]]] = deque()
        try:
            for picture in pictures:
                waiting.append((picture, pool.submit(read, picture)))
                if len(waiting) > LOOK_AHEAD:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, future in waiting:
                future.cancel()


def load_pipeline(folder: str | Path, threads: int = 1, refine: int | None = None) -> Pipeline:
    """The pipeline of an unpacked archive: its model.* and detector.*, in whatever runtime is installed.

    Raises:
        ValueError: files are missing or no installed runtime can open them.
    """
    folder = Path(folder)
    model = _first_that_opens([folder / "model.tflite", folder / "model.onnx"], threads)
    return Pipeline(load_detector(folder, threads), model, refine)


def _first_that_opens(paths: Sequence[Path], threads: int) -> Model:
    present = [p for p in paths if p.is_file()]
    if not present:
        raise ValueError(f"{paths[0].parent}: expected {' or '.join(p.name for p in paths)}, found neither")
    faults = []
    for path in present:
        try:
            return load_model(path, threads)
        except ValueError as fault:
            faults.append(str(fault))
    raise ValueError("; ".join(faults))


def load_detector(folder: str | Path, threads: int = 1) -> Detector:
    """The face finder of an unpacked archive. Raises as `BlazeFace`."""
    return BlazeFace(Path(folder) / "detector.tflite", threads)


def run(pipeline: Pipeline, pictures: Sequence[Path], folder: Path, *, skip_existing: bool = False) -> tuple[int, int]:
    """Write `folder`/<stem>.txt for each picture; a picture that fails gets a line on stderr and no file.

    Returns:
        (faces written, pictures failed).

    Raises:
        ValueError: see `output_paths`. OSError: the folder cannot be made or written to.
    """
    targets = dict(zip(pictures, output_paths(pictures, folder)))  # noqa: B905 (Python 3.9)
    _make_writable(folder)
    todo = [p for p in pictures if not (skip_existing and targets[p].is_file())]
    faces = failed = 0
    for picture, decoded in decode_ahead(todo):
        try:
            found = pipeline.faces(decoded.result())
        except FileNotFoundError:
            print(f"{picture}: no such file", file=sys.stderr)
            failed += 1
            continue
        except (ValueError, OSError) as fault:
            print(_sentence(picture, fault), file=sys.stderr)
            failed += 1
            continue
        write_faces(targets[picture], found)
        faces += len(found)
    return faces, failed


def _sentence(picture: Path, fault: Exception) -> str:
    text = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
    return text if text.startswith(str(picture)) else f"{picture}: {text}"


def _make_writable(folder: Path) -> None:
    probe = folder / f".{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as fault:
        raise OSError(f"{folder}: expected a folder that can be written to, found: {fault.strerror}") from None


def main(arguments: Sequence[str] | None = None, folder: str | Path = ".") -> int:
    """The command line of run_model.py; `folder` is the unpacked archive.

    Returns:
        0: every picture done. 2: wrong call, or some pictures could not be read. 130: interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="run_model.py",
        description="Find the 51 landmarks of every face: OUTPUT_DIR/<picture>.txt for each picture.",
    )
    parser.add_argument("image_list", metavar="IMAGE_LIST", help="text file with one picture path a line")
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", help="folder for the text files; made if missing")
    parser.add_argument("--threads", type=int, default=min(4, os.cpu_count() or 1), help="of the model runtime")
    parser.add_argument("--refine", type=int, default=None, help="times the crop is cut anew (default: the model's)")
    parser.add_argument("--continue", dest="resume", action="store_true", help="skip pictures that have their file")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    target = Path(options.output_dir)
    try:
        pictures = read_list(options.image_list)
        output_paths(pictures, target)  # before any model is loaded
        pipeline = load_pipeline(folder, options.threads, options.refine)
        faces, failed = run(pipeline, pictures, target, skip_existing=options.resume)
    except (ValueError, OSError) as fault:
        print(f"run_model.py: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("run_model.py: interrupted; finished files are whole, --continue does the rest", file=sys.stderr)
        return 130
    seconds = time.perf_counter() - started
    print(
        f"{len(pictures) - failed} of {len(pictures)} pictures, {faces} faces, {seconds:.1f} s",
        file=sys.stderr,
    )
    if failed:
        print(f"run_model.py: {failed} of {len(pictures)} pictures failed, see above", file=sys.stderr)
        return 2
    return 0
