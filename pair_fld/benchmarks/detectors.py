"""Face detectors side by side: recall, false alarms, cost, and what each does to the landmarks.

Each detector has its own calibration and its own confidence, learnt as `pairfld package` learns them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.benchmarks.detector_rolls import RollRow, RollThresholdRow, measure_rolls, time_views
from pair_fld.data.dataset import FaceDataset
from pair_fld.data.load_face import read_face
from pair_fld.data.sample import Sample, SkipSample, evenly_spread
from pair_fld.data.synthetic.faceless import draw_faceless, scrambled
from pair_fld.evaluate.detector_calibration import measured_calibration
from pair_fld.evaluate.matching import match_faces
from pair_fld.evaluate.metrics import nme
from pair_fld.evaluate.validate import Truth
from pair_fld.export.model_cost import model_cost
from pair_fld.progress import Say, say_nothing
from pair_fld.runtime.calibration import DetectorCalibration
from pair_fld.runtime.confidence import Confidence
from pair_fld.runtime.detector import open_detector
from pair_fld.runtime.frame import fit_frame
from pair_fld.runtime.image import read_image
from pair_fld.runtime.pipeline import Pipeline
from pair_fld.runtime.scheme import NUM_POINTS
from pair_fld.runtime.search import SearchingDetector, search_steps
from pair_fld.runtime.session import Model
from pair_fld.submit.budget import IMAGE_SIDE
from pair_fld.submit.build import learned_confidence

NEGATIVE_SEED = 2024  # no training and no tuning draws from it
NEGATIVES = 200
ROLLED = 100


@dataclass(frozen=True)
class Case:
    """One image of a set.

    Attributes:
        set: its name.
        image: (H, W, 3) uint8 BGR.
        faces: (n, 51, 2) _img labelled points, nan where one is missing; None where nobody labelled the image.
    """

    set: str
    image: np.ndarray
    faces: np.ndarray | None


@dataclass(frozen=True)
class SetRow:
    """One detector on one set of images.

    Attributes:
        detected: labelled faces that were detected.
        without_label: detections beside the labels: false alarms, and real faces that nobody labelled.
        nme_end_to_end_outer_corners_percent: of the detected labelled faces; None without such faces.
        nme_labelled_boxes_outer_corners_percent: of the same faces, cropped by their labels.
    """

    detector: str
    set: str
    images: int
    faces: int
    detected: int
    without_label: int
    nme_end_to_end_outer_corners_percent: float | None
    nme_labelled_boxes_outer_corners_percent: float | None


@dataclass(frozen=True)
class CostRow:
    """What one detector costs.

    Attributes:
        file_mb: size of its file.
        gflops_per_view: of one run of its network.
        views: searched in an upright image of IMAGE_SIDE x IMAGE_SIDE pixels.
        gflops_per_image: of these views and the second pass over one detection.
        with_model_mb, with_model_gflops: the same with the landmark model and one face.
        runs_per_image: of its network, mean over the measured images; small images have no tiles.
    """

    detector: str
    file_mb: float
    gflops_per_view: float
    views: int
    gflops_per_image: float
    with_model_mb: float
    with_model_gflops: float
    runs_per_image: float


@dataclass(frozen=True)
class Comparison:
    """All that is measured.

    Attributes:
        sets: end to end, with the landmark model.
        costs: of each detector.
        rolls, thresholds: of the detectors alone, see `detector_rolls`.
        view_times: of a view, the first detector's as 1.
    """

    sets: list[SetRow]
    costs: list[CostRow]
    rolls: list[RollRow]
    thresholds: list[RollThresholdRow]
    view_times: list[float]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class CountingDetector(SearchingDetector):
    """A detector that counts the runs of its network."""

    def __init__(self, detector: SearchingDetector) -> None:
        self._detector, self.runs = detector, 0
        self.name, self.side, self.search = detector.name, detector.side, detector.search
        self.key_points, self.calibration = detector.key_points, detector.calibration

    def infer(self, view: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `SearchingDetector.infer`."""
        self.runs += 1
        return self._detector.infer(view, threshold)


@dataclass
class Tally:
    """What is counted of a set while its images pass; points are (51, 2) _img."""

    images: int = 0
    faces: int = 0
    without_label: int = 0
    end_to_end: list[np.ndarray] = field(default_factory=list)
    labelled_boxes: list[np.ndarray] = field(default_factory=list)
    truth: list[np.ndarray] = field(default_factory=list)

    def add(self, pipeline: Pipeline, case: Case) -> None:
        """Run the pipeline on an image and match its faces with the labels."""
        detected = [face.points for face in pipeline.faces(case.image)]
        labelled = [] if case.faces is None else list(case.faces)
        pairs = match_faces(detected, labelled).pairs
        self.images += 1
        self.faces += len(labelled)
        self.without_label += len(detected) - len(pairs)
        for i, j in pairs:
            frame = fit_frame(labelled[j], weights=np.asarray(np.isfinite(labelled[j]).all(axis=1)))
            self.end_to_end.append(detected[i])
            self.labelled_boxes.append(pipeline.landmarks(case.image, [frame])[0])
            self.truth.append(labelled[j])

    def row(self, detector: str, name: str) -> SetRow:
        """The figures of the set."""
        found = len(self.truth)
        return SetRow(detector, name, self.images, self.faces, found, self.without_label,
                      _nme(self.end_to_end, self.truth), _nme(self.labelled_boxes, self.truth))  # fmt: skip


def compare_detectors(
    files: Sequence[Path], model: Model, dataset: FaceDataset, cases: CaseSource, cache: Path,
    rolled: int = ROLLED, say: Say = say_nothing,
) -> Comparison:  # fmt: skip
    """Measure each detector with one landmark model.

    Args:
        files: of the detectors.
        model: the landmark model.
        dataset: the data set; each detector's calibration and confidence are learnt on its training images.
        cases: the images to measure on, gone through once per detector.
        cache: folder for the calibrations.
        rolled: labelled faces that are turned, at most.
        say: takes sentences on the progress.
    """
    rows, costs, rolls, thresholds = list[SetRow](), list[CostRow](), list[RollRow](), list[RollThresholdRow]()
    for path in files:
        detector = CountingDetector(open_detector(path))
        calibration = measured_calibration(dataset, path, cache / f"calibration-{detector.name}.json", say)
        confidence = learned_confidence(dataset, model.path, path, calibration, say)
        say(f"measuring {detector.name}")
        measured = measure_detector_sets(Pipeline(detector, _calibrated(model, calibration, confidence)), cases)
        rows += measured
        costs.append(_cost(path, detector, model, sum(row.images for row in measured)))
        by_roll, by_threshold = measure_rolls(path, calibration, cases.single_faces(rolled))
        rolls += by_roll
        thresholds += by_threshold
    return Comparison(rows, costs, rolls, thresholds, time_views(files))


def measure_detector_sets(pipeline: Pipeline, cases: Iterable[Case]) -> list[SetRow]:
    """One row per set of images, in the order of their first images."""
    tallies: dict[str, Tally] = {}
    for case in cases:
        tallies.setdefault(case.set, Tally()).add(pipeline, case)
    return [tally.row(pipeline.detector.name, name) for name, tally in tallies.items()]


@dataclass(frozen=True)
class CaseSource:
    """The images that detectors are measured on, read or drawn again in each pass.

    Attributes:
        truth: labelled images.
        unlabelled: image files of which only the number of detections is given, one set each.
        negatives: number of drawn images without a face; up to half as many labelled photographs, scrambled, are
            added.
        per_set: labelled images per source at most, evenly spread; None for all.
    """

    truth: Truth
    unlabelled: Sequence[Path] = ()
    negatives: int = NEGATIVES
    per_set: int | None = None

    def __iter__(self) -> Iterator[Case]:
        nobody, photographs = np.zeros((0, NUM_POINTS, 2)), list[np.ndarray]()
        for case in self._labelled(self._samples()):
            yield case
            if len(photographs) < self.negatives // 2:
                photographs.append(case.image)
        for path in self.unlabelled:
            yield Case(path.name, read_image(path), None)
        for k in range(self.negatives):
            yield Case("no face, drawn", draw_faceless(NEGATIVE_SEED, k)[1], nobody)
        rng = np.random.default_rng(NEGATIVE_SEED)
        for image in photographs:
            yield Case("no face, scrambled photographs", scrambled(image, rng), nobody)

    def single_faces(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Image and points (51, 2) _img of `count` labelled faces at most, evenly spread."""
        samples = self._samples()
        for case in self._labelled(samples[k] for k in evenly_spread(len(samples), count)):
            if case.faces is not None:
                yield case.image, case.faces[0]

    def _samples(self) -> list[Sample]:
        by_source: dict[int, list[Sample]] = {}
        for sample in self.truth.samples:
            by_source.setdefault(sample.source, []).append(sample)
        return [samples[k] for samples in by_source.values() for k in evenly_spread(len(samples), self.per_set)]

    def _labelled(self, samples: Iterable[Sample]) -> Iterator[Case]:
        for sample in samples:
            source = self.truth.config.sources[sample.source]
            try:
                image, labels = read_face(sample, source)
            except SkipSample:
                continue
            if labels is not None:
                yield Case(source.name, image, labels.with_gaps()[None])


def _calibrated(model: Model, calibration: DetectorCalibration, confidence: Confidence | None) -> Model:
    """A copy of the model whose metadata hold another detector's calibration and what scores mean with it."""
    other = copy.copy(model)
    other.metadata = copy.deepcopy(model.metadata)
    other.metadata["crop"]["detector_calibration"] = calibration.to_json()
    other.metadata["confidence"] = None if confidence is None else confidence.to_json()
    return other


def _cost(path: Path, detector: CountingDetector, model: Model, images: int) -> CostRow:
    cost, landmarks = model_cost(path), model_cost(model.path)
    views = len(next(search_steps(IMAGE_SIDE, IMAGE_SIDE, detector)).views)
    searched = (views + 1) * cost.gflops
    return CostRow(
        detector.name, cost.size_mb, cost.gflops, views, searched, cost.size_mb + landmarks.size_mb,
        searched + landmarks.gflops, detector.runs / max(images, 1),
    )  # fmt: skip


def _nme(points: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> float | None:
    """Mean NME in percent of the outer corners' distance; None without faces."""
    if not points:
        return None
    labels = np.stack(truth)
    valid = np.asarray(np.isfinite(labels).all(axis=-1))
    return float(np.nanmean(nme(np.stack(points), np.nan_to_num(labels), valid)) * 100)
