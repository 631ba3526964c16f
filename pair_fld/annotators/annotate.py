"""`pairfld annotate`: run an annotator over the faces of data sources, on both flips, and keep its points.

The annotator never sees whole images where a box is known: it gets the upright square of MARGINS[0] times the face,
and of the faces that it finds there the nearest to the middle counts. A face that it misses is shown again at the other
margins. What is finished stays finished: an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pair_fld.annotators.annotator import Annotator
from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.annotations import STAGE, annotation_path, is_done, write_annotation
from pair_fld.data.load_face import read_face
from pair_fld.data.sample import Labels, Sample, SkipSample
from pair_fld.data.sources.listing import list_samples
from pair_fld.errors import PairError
from pair_fld.io import read_json, write_json
from pair_fld.progress import Progress, no_progress
from pair_fld.runs import MARKER, RECORD, claim_folder, provenance
from pair_fld.runtime.frame import Frame, fit_frame, frame_from_box, frame_matrix
from pair_fld.runtime.geometry import invert, points_box, transform_points, warp
from pair_fld.runtime.mean_face import MEAN_FACE

CHUNK = 64  # faces per call: a call costs seconds of start
MARGINS = (3.0, 2.2, 4.0)  # side of the shown square over the face's size; the first one that gives a face counts
MIN_SIDE, MAX_SIDE = 256, 640  # pixels of that square
MAX_OFF_CENTRE = 0.6  # of the face's size: a face further from the middle is another one
WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)  # `box` of a source whose images are shown as they are


@dataclass(frozen=True)
class _Shown:
    """What the annotator sees of one face. matrix: (2, 3) image -> shown pixels. radius: pixels from the middle within
    which the face's centre must lie; None: the largest face counts."""

    image: np.ndarray
    matrix: np.ndarray
    radius: float | None


@dataclass(frozen=True)
class AnnotateReport:
    """Counts by source name: faces listed, those found on the image, on both flips, and those that were not read.

    passed_over: how many files and folders of the sources were no data, by reason.
    """

    annotator: str
    sources: dict[str, dict[str, int]]
    unreadable: list[str]
    passed_over: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        return {
            "annotator": self.annotator,
            "sources": self.sources,
            "unreadable": self.unreadable,
            "passed_over": dict(self.passed_over),
        }


def annotate(
    annotator: Annotator,
    config: DataConfig,
    out: Path,
    *,
    flips: int = 2,
    python: str = sys.executable,
    interpreter: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> AnnotateReport:
    """Label the faces of the configured sources into the folder `out` (see `data.annotations`).

    Args:
        flips: 2: on each image and on its mirror image; 1: on the image only.
        python: makes the annotator's environment.
        interpreter: runs it without making one (tests).

    Raises:
        PairError: sources, annotator or folder cannot be used; or there is no source but of the split test, which an
            annotator that may label training images only leaves out.
    """
    config = _without_test_sources(annotator, config)
    listed = list_samples(config)
    samples = listed.samples
    root = str(Path(config.root).resolve())
    plan = {"annotator": annotator.name, "hash": annotator.hash, "flips": flips, "root": root}
    inputs = [Path(config.root) / source.path for source in config.sources if source.path is not None]
    _open_folder(out, plan, inputs, resume=resume, overwrite=overwrite)
    interpreter = interpreter or annotator.interpreter(python)
    unreadable = []
    todo = [sample for sample in samples if not is_done(out, sample.key, flips)]
    for first in range(0, len(todo), CHUNK):
        progress(len(samples) - len(todo) + first, len(samples))
        unreadable += _do_chunk(annotator, interpreter, config, todo[first : first + CHUNK], out, flips)
    progress(len(samples), len(samples))
    passed_over = sum(listed.passed_over, Counter())
    report = AnnotateReport(annotator.name, _counts(config, samples, out), unreadable, passed_over)
    record = provenance(config.model_dump(mode="json")) | plan
    about = annotator.about.model_dump(mode="json")
    write_json(out / RECORD, record | {"about": about, "complete": True, "report": report.to_json()})
    return report


def _without_test_sources(annotator: Annotator, config: DataConfig) -> DataConfig:
    if not annotator.about.training_only:
        return config
    kept = [source for source in config.sources if source.split != "test"]
    if not kept:
        found = f"test images ({', '.join(source.name for source in config.sources)})"
        remedy = annotator.about.warning or "Give other sources."
        raise PairError(annotator.name, "training images only", found, remedy)
    return config.model_copy(update={"sources": kept})


def _open_folder(out: Path, plan: dict[str, Any], inputs: list[Path], *, resume: bool, overwrite: bool) -> None:
    if resume and (out / RECORD).is_file() and (out / MARKER).is_file():
        record = read_json(out / RECORD, "the record of pairfld annotate")
        other = [key for key in plan if record.get(key) != plan[key]]
        if other:
            found = ", ".join(f"{key} {record.get(key)}" for key in other)
            remedy = "Choose another folder, or --overwrite to start again."
            raise PairError(out, "a run of this annotator on this data to resume", found, remedy)
        return
    claim_folder(out, STAGE, overwrite=overwrite, inputs=inputs)
    write_json(out / RECORD, plan | {"complete": False})


def _do_chunk(
    annotator: Annotator, interpreter: str, config: DataConfig, samples: Sequence[Sample], out: Path, flips: int
) -> list[str]:
    """Answer a chunk; returns the sentences of what could not be read."""
    unreadable = []
    faces: list[tuple[Sample, np.ndarray, Frame | None]] = []
    for sample in samples:
        try:
            image, labels = read_face(sample, config.sources[sample.source])
        except SkipSample as skip:
            unreadable.append(str(skip))
            continue
        faces.append((sample, image, _frame(labels, config.sources[sample.source], image)))
    answers: dict[tuple[int, int], np.ndarray] = {}
    open_ = [(k, flip) for k in range(len(faces)) for flip in range(flips)]
    for margin in MARGINS:
        shown = {k: _show(faces[k][1], faces[k][2], margin) for k in dict.fromkeys(k for k, _ in open_)}
        answers |= _ask(annotator, interpreter, [(k, flip, shown[k]) for k, flip in open_])
        # the whole image looks the same at every margin
        open_ = [(k, flip) for k, flip in open_ if (k, flip) not in answers and faces[k][2] is not None]
        if not open_:
            break
    for k, (sample, _, _) in enumerate(faces):
        for flip in reversed(range(flips)):  # the unmirrored answer last: `Annotations` looks for it first
            write_annotation(out, flip, sample.key, answers.get((k, flip)))
    return unreadable


def _frame(labels: Labels | None, source: SourceConfig, image: np.ndarray) -> Frame | None:
    """Where the face is, by its label or by the source's box; None: nobody knows."""
    if labels is not None:
        points, mask = labels.points, labels.point_mask
        if mask.sum() >= 2:
            try:
                return fit_frame(points, MEAN_FACE, mask)
            except ValueError:  # points in one place: the label is wrong, the box is all it can give
                return frame_from_box(points_box(points, mask) + [-1, -1, 1, 1])
        return None
    if source.box is None or tuple(source.box) == WHOLE_IMAGE:
        return None
    height, width = image.shape[:2]
    return frame_from_box(np.array(source.box) * [width, height, width, height] - 0.5)


def _show(image: np.ndarray, frame: Frame | None, margin: float) -> _Shown:
    if frame is None:
        return _Shown(image, np.eye(2, 3), None)
    side = int(np.clip(frame.size * margin, MIN_SIDE, MAX_SIDE))
    matrix = frame_matrix(frame, side, margin)
    return _Shown(warp(image, matrix, side), matrix, MAX_OFF_CENTRE * side / margin)


def _ask(
    annotator: Annotator, interpreter: str, shown: Sequence[tuple[int, int, _Shown]]
) -> dict[tuple[int, int], np.ndarray]:
    """Answers (N, 2) _img by number and flip, for the faces that were found."""
    answers = {}
    with tempfile.TemporaryDirectory(prefix="pairfld-annotate-") as scratch:
        paths = []
        for k, flip, view in shown:
            paths.append(Path(scratch) / f"{k:06d}-{flip}.png")
            image = np.ascontiguousarray(view.image[:, ::-1]) if flip else view.image
            paths[-1].write_bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
        for (k, flip, view), faces in zip(shown, annotator.predict(interpreter, paths, Path(scratch)), strict=True):
            points = _choose(faces, view)
            if points is None:
                continue
            if flip:
                points = points * [-1, 1] + [view.image.shape[1] - 1, 0]
            answers[k, flip] = transform_points(invert(view.matrix), points)
    return answers


def _choose(faces: Sequence[np.ndarray], view: _Shown) -> np.ndarray | None:
    """The face nearest to the middle, if it is near enough; without a middle the largest one."""
    if not faces:
        return None
    boxes = np.array([points_box(face) for face in faces])
    if view.radius is None:
        return faces[int(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).argmax())]
    middle = (np.array(view.image.shape[1::-1]) - 1) / 2
    distance = np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) / 2 - middle, axis=1)
    nearest = int(distance.argmin())
    return faces[nearest] if distance[nearest] <= view.radius else None


def _counts(config: DataConfig, samples: Sequence[Sample], out: Path) -> dict[str, dict[str, int]]:
    counts = {source.name: {"faces": 0, "found": 0, "both_flips": 0} for source in config.sources}
    for sample in samples:
        mine = counts[config.sources[sample.source].name]
        paths = [annotation_path(out, flip, sample.key) for flip in (0, 1)]
        found = [path.is_file() and path.stat().st_size > 0 for path in paths]
        mine["faces"] += 1
        mine["found"] += any(found)
        mine["both_flips"] += all(found)
    return counts
