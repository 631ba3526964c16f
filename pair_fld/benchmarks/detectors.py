"""Face finders side by side: what they find, what they take for a face, and what that does to the landmarks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.data.dataset import Pack
from pair_fld.data.load_face import read_face
from pair_fld.data.sample import SkipSample
from pair_fld.data.synthetic import render_scene
from pair_fld.evaluate.matching import match_faces
from pair_fld.evaluate.metrics import nme
from pair_fld.evaluate.validate import Truth
from pair_fld.export.model_cost import model_cost
from pair_fld.face_detector.train import scrambled
from pair_fld.runtime.detector import FaceDetector, open_detector
from pair_fld.runtime.frame import fit_frame
from pair_fld.runtime.image import read_image
from pair_fld.runtime.pipeline import Pipeline
from pair_fld.runtime.search import search_steps
from pair_fld.runtime.session import Model
from pair_fld.submit.budget import IMAGE_SIDE
from pair_fld.submit.build import detector_calibration

FACELESS_SEED = 2024  # no training and no tuning draws from it
FACELESS = 200

# (set, picture, labelled points (51, 2) _img with nan where a point is missing, or None: nobody labelled it)
Case = tuple[str, np.ndarray, "np.ndarray | None"]


@dataclass(frozen=True)
class SetRow:
    """One finder on one set. end_to_end, labelled_boxes: NME (outer corners, %) of the same found faces with the
    finder's boxes and with the labelled ones. false_alarms: faces found in faceless pictures; extra: found beside the
    label, real faces that nobody labelled among them."""

    finder: str
    set: str
    pictures: int
    faces: int
    found: int
    extra: int
    nme_end_to_end_outer_corners_percent: float | None
    nme_labelled_boxes_outer_corners_percent: float | None


@dataclass(frozen=True)
class CostRow:
    """One finder's cost: its file, one view, and the search of a IMAGE_SIDE x IMAGE_SIDE picture with one candidate.

    looks_a_picture: network runs that the measured pictures took on average, second looks included; small pictures
    have no tiles.
    """

    finder: str
    file_mb: float
    gflops_a_view: float
    views: int
    gflops_a_picture: float
    with_model_mb: float
    with_model_gflops: float
    looks_a_picture: float


def compare(
    finders: Sequence[Path],
    model: Model,
    pack: Pack,
    truth: Truth,
    unlabelled: Sequence[Path],
    cache: Path,
    say: Callable[[str], None],
    faceless: int = FACELESS,
) -> tuple[list[SetRow], list[CostRow]]:
    """Measure each finder file with one landmark model.

    Args:
        pack: training pictures, to calibrate each detector on. truth: labelled pictures to measure on.
        unlabelled: pictures of which only the number of faces found is given, one set each. cache: folder for the
            calibrations.
    """
    rows, costs = [], []
    landmarks = model_cost(model.path)
    for path in finders:
        finder = open_detector(path)
        calibration = detector_calibration(pack, path, cache / f"calibration-{finder.name}.json", say)
        model.metadata["crop"]["detector_calibration"] = calibration.to_json()
        pipeline = Pipeline(finder, model)
        say(f"measuring {finder.name}")
        with _counted(finder) as looks:
            mine = _measure(pipeline, _cases(truth, unlabelled, faceless))
        rows += mine
        cost, views = model_cost(path), len(next(search_steps(IMAGE_SIDE, IMAGE_SIDE, finder)).views)
        searched = (views + 1) * cost.gflops
        looks_a_picture = looks[0] / max(sum(row.pictures for row in mine), 1)
        costs.append(
            CostRow(finder.name, cost.size_mb, cost.gflops, views, searched,
                    cost.size_mb + landmarks.size_mb, searched + landmarks.gflops, looks_a_picture)
        )  # fmt: skip
    return rows, costs


@contextmanager
def _counted(finder: FaceDetector) -> Generator[list[int]]:
    """A list whose only entry counts the network's runs while the block lasts."""
    runs, look = [0], finder.look

    def counting(view: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        runs[0] += 1
        return look(view)

    setattr(finder, "look", counting)  # noqa: B010 (on this object, not on its class)
    try:
        yield runs
    finally:
        delattr(finder, "look")


def _cases(truth: Truth, unlabelled: Sequence[Path], faceless: int) -> Iterator[Case]:
    photographs = []
    for sample in truth.samples:
        source = truth.config.sources[sample.source]
        try:
            image, labels = read_face(sample, source)
        except SkipSample:
            continue
        if labels is None:
            continue
        yield source.name, image, labels.with_gaps()
        if len(photographs) < faceless // 2:
            photographs.append(image)
    for path in unlabelled:
        yield path.name, read_image(path), None
    for k in range(faceless):
        yield "faceless, rendered", render_scene(FACELESS_SEED, k, 512, faces=0).image, np.zeros((0, 2))
    rng = np.random.default_rng(FACELESS_SEED)
    for image in photographs:
        yield "faceless, scrambled photographs", scrambled(image, rng), np.zeros((0, 2))


def _measure(pipeline: Pipeline, cases: Iterator[Case]) -> list[SetRow]:
    tallies: dict[str, dict[str, Any]] = {}
    for name, image, label in cases:
        tally = tallies.setdefault(
            name, {"pictures": 0, "faces": 0, "found": 0, "extra": 0, "own": [], "boxed": [], "truth": []}
        )
        faces = [face.points for face in pipeline.faces(image)]
        labelled = [] if label is None or len(label) == 0 else [label]
        pairs = match_faces(faces, labelled).pairs
        tally["pictures"] += 1
        tally["faces"] += len(labelled)
        tally["found"] += len(pairs)
        tally["extra"] += len(faces) - len(pairs)
        for i, j in pairs:
            frame = fit_frame(labelled[j], weights=np.asarray(np.isfinite(labelled[j]).all(axis=1)))
            tally["own"].append(faces[i])
            tally["boxed"].append(pipeline.landmarks(image, [frame])[0])
            tally["truth"].append(labelled[j])
    return [
        SetRow(
            pipeline.detector.name,
            name,
            t["pictures"],
            t["faces"],
            t["found"],
            t["extra"],
            _nme(t["own"], t["truth"]),
            _nme(t["boxed"], t["truth"]),
        )
        for name, t in tallies.items()
    ]


def _nme(points: list[np.ndarray], truth: list[np.ndarray]) -> float | None:
    if not points:
        return None
    labels = np.stack(truth)
    valid = np.asarray(np.isfinite(labels).all(axis=-1))
    return float(np.nanmean(nme(np.stack(points), np.nan_to_num(labels), valid)) * 100)


def to_json(rows: Sequence[SetRow], costs: Sequence[CostRow]) -> dict[str, Any]:
    """Plain values."""
    return {"sets": [asdict(row) for row in rows], "costs": [asdict(row) for row in costs]}
