"""Prove an archive: unpack it, install its requirements in a fresh environment, run it, read its results."""

from __future__ import annotations

import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pair_fld.annotators.environment import CallError, cached_environment, make_environment, run_program
from pair_fld.data.load_face import read_face
from pair_fld.data.sample import SkipSample, evenly_spread
from pair_fld.data.schemes import to_51
from pair_fld.data.synthetic import render_scene
from pair_fld.errors import GateError, PairError
from pair_fld.evaluate.matching import match_faces
from pair_fld.evaluate.report import Result, evaluate
from pair_fld.evaluate.validate import Truth
from pair_fld.runtime.landmark_files import order_right_to_left, read_faces
from pair_fld.runtime.scheme import NUM_POINTS

SCENES = 12  # rendered images to run on where a recipe has no photographs


@dataclass(frozen=True)
class VerifyReport:
    """What a clean run of the archive did.

    Attributes:
        images: number of images that it ran on.
        faces: detected faces by image stem.
        setup_s: seconds to make the environment.
        run_s: seconds of run_model.py, start included.
        labelled: faces with a label; 0 without labels.
        missed: labelled faces that were not detected.
        unmatched: detected faces without a label; nobody may have labelled them.
        result: errors of the detected faces with a label, end to end; None without such faces.
    """

    images: int
    faces: Mapping[str, int]
    setup_s: float
    run_s: float
    labelled: int = 0
    missed: int = 0
    unmatched: int = 0
    result: Result | None = None

    @property
    def recall_percent(self) -> float | None:
        """Labelled faces that were detected; None without labels."""
        return 100 * (self.labelled - self.missed) / self.labelled if self.labelled else None

    def to_json(self) -> dict[str, Any]:
        tree: dict[str, Any] = {
            "images": self.images,
            "faces": sum(self.faces.values()),
            "faces_by_image": dict(self.faces),
            "setup_seconds": round(self.setup_s, 1),
            "run_seconds": round(self.run_s, 2),
        }
        if self.labelled:
            tree |= {
                "labelled_faces": self.labelled,
                "missed_faces": self.missed,
                "unmatched_faces": self.unmatched,
            }
        if self.result is not None:
            tree["end_to_end"] = self.result.to_json()
        return tree


def verify(
    archive: Path,
    images: Sequence[Path],
    truth: Mapping[str, Sequence[np.ndarray]] | None = None,
    *,
    python: str = sys.executable,
    install: bool = True,
    cached: bool = False,
) -> VerifyReport:
    """Run an archive as a grader would.

    Args:
        archive: a zip of pairfld package.
        images: image files to run on.
        truth: labelled faces (N, 2) _img in any supported scheme, by image stem.
        python: the interpreter to build the environment with.
        install: False runs in `python` as it stands: quick, and no proof of requirements.txt.
        cached: take an environment with these requirements that an earlier run made, where there is one.

    Raises:
        PairError: no archive or no images.
        GateError: the installation or the run failed, or the results are not what the contest asks for; the message
            says which.
    """
    if not zipfile.is_zipfile(archive):
        raise PairError(archive, "a submission archive (zip)", "no such file or no zip", "Run pairfld package first.")
    if not images:
        raise PairError("images", "at least one to run the archive on", "none", "Name some.")
    with tempfile.TemporaryDirectory(prefix="pairfld-verify-") as scratch:
        folder = Path(scratch) / "archive"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        listing, out = Path(scratch) / "list.txt", Path(scratch) / "out"
        listing.write_text("".join(f"{path.resolve()}\n" for path in images), encoding="utf-8")
        try:
            started = time.perf_counter()
            interpreter = python
            if install:
                make = cached_environment if cached else partial(make_environment, Path(scratch) / "venv")
                interpreter = make(folder / "requirements.txt", python)
            setup_s = time.perf_counter() - started
            started = time.perf_counter()
            run_program([interpreter, "run_model.py", str(listing), str(out)], folder, "run_model.py")
            run_s = time.perf_counter() - started
        except CallError as error:
            raise GateError(str(error)) from None
        predictions = {path.stem: _read_prediction(out / f"{path.stem}.txt") for path in images}
    counts = {stem: len(faces) for stem, faces in predictions.items()}
    report = VerifyReport(len(images), counts, setup_s, run_s)
    return _score(predictions, truth, report) if truth else report


def verification_images(truth: Truth, folder: Path, limit: int) -> tuple[list[Path], dict[str, list[np.ndarray]]]:
    """Images to run an archive on, and their labelled faces by stem: photographs, or rendered scenes.

    Args:
        truth: the test sources. Where all of them are photographs on disk, these are taken.
        folder: where rendered scenes are written.
        limit: photographs at most, evenly spread over each source.
    """
    if not {source.kind for source in truth.config.sources} & {"synthetic", "ytf"}:  # those have no image files
        return _photographs(truth, limit)
    folder.mkdir(parents=True, exist_ok=True)
    images, faces = [], {}
    seed = 1 + max(source.seed for source in truth.config.sources)
    for k in range(SCENES):
        scene = render_scene(seed, k, faces=(1, 1, 2, 0)[k % 4])
        images.append(folder / f"scene{k:03d}.png")
        cv2.imwrite(str(images[-1]), scene.image)
        faces[images[-1].stem] = [np.asarray(points) for points in scene.faces]
    return images, faces


def _photographs(truth: Truth, limit: int) -> tuple[list[Path], dict[str, list[np.ndarray]]]:
    images: list[Path] = []
    faces: dict[str, list[np.ndarray]] = {}
    share = max(1, limit // len(truth.config.sources))
    for number, source in enumerate(truth.config.sources):
        samples = [sample for sample in truth.samples if sample.source == number]
        for k in evenly_spread(len(samples), share):
            path = samples[k].path
            if path.stem in faces:
                continue  # a second image of that name would overwrite the first one's results
            try:
                labels = read_face(samples[k], source)[1]
            except SkipSample:
                continue
            images.append(path)
            faces[path.stem] = [] if labels is None else [labels.with_gaps()]
    return images, faces


def _read_prediction(path: Path) -> list[np.ndarray]:
    if not path.is_file():
        raise GateError(f"run_model.py wrote no {path.name}")
    try:
        faces = read_faces(path)
    except ValueError as error:
        raise GateError(f"run_model.py wrote a file that cannot be read: {error}") from None
    for face in faces:
        if face.shape != (NUM_POINTS, 2) or not np.isfinite(face).all():
            raise GateError(f"{path.name}: expected {NUM_POINTS} finite points per face, found an array {face.shape}")
    ordered = order_right_to_left(faces)
    if any(a is not b for a, b in zip(faces, ordered, strict=True)):
        raise GateError(f"{path.name}: expected the faces from the image's right to its left, found another order")
    return faces


def _score(
    predictions: Mapping[str, Sequence[np.ndarray]],
    truth: Mapping[str, Sequence[np.ndarray]],
    report: VerifyReport,
) -> VerifyReport:
    """Pair predicted with labelled faces by box overlap and measure the pairs."""
    predicted, labels, masks, names = [], [], [], []
    labelled = missed = unmatched = 0
    for stem, raw in truth.items():
        if stem not in predictions:
            continue
        known = [to_51(face) for face in raw]
        matches = match_faces(predictions[stem], [np.where(valid[:, None], p, np.nan) for p, valid in known])
        labelled, missed = labelled + len(known), missed + len(matches.missed)
        unmatched += len(matches.unmatched)
        for i, j in matches.pairs:
            predicted.append(predictions[stem][i])
            labels.append(known[j][0])
            masks.append(known[j][1])
            names.append(stem)
    result = None
    if predicted:
        sources = ["end to end"] * len(names)
        result = evaluate(np.stack(predicted), np.stack(labels), np.stack(masks), sources, names)
    return replace(report, labelled=labelled, missed=missed, unmatched=unmatched, result=result)
