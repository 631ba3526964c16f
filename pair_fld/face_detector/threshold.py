"""The score from which a detection counts: measured on validation images, chosen by rule, written into the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import DetectorConfig
from pair_fld.data.dataset import FaceDataset, Split
from pair_fld.data.source_images import read_source_images
from pair_fld.evaluate.matching import MATCH_IOU, match_boxes
from pair_fld.export.metadata import replace_metadata
from pair_fld.face_detector.images import faceless_images
from pair_fld.face_detector.views import SECOND_VIEW
from pair_fld.runtime.centre_detector import CentreDetector
from pair_fld.runtime.detection import Detection
from pair_fld.runtime.search import SearchConfig, SearchingDetector, search_to_json
from pair_fld.runtime.session import read_metadata

THRESHOLDS = tuple(round(float(t), 2) for t in np.arange(0.3, 0.96, 0.05))
MAX_FALSE_ALARMS_PERCENT = 1.0  # of the images without a face
# Detections per 100 photographs that nobody labelled and the teacher does not confirm: hands, ears, writing, and faces
# that it does not see. The landmark model has still to take them for faces, so many may be left to it.
MAX_UNCONFIRMED_PERCENT = 25.0
# What all thresholds are measured from.
LOOSE = SearchConfig(first_threshold=0.2, second_threshold=0.2, second_view=SECOND_VIEW)
_NEGATIVE_SEED = 12  # training draws its images without faces from another seed
_NEGATIVES = 200


@dataclass(frozen=True)
class ThresholdScores:
    """Detections on validation images by what they are, each with its score.

    Attributes:
        matched: scores of the detections that overlap a label.
        unconfirmed: scores of those that neither overlap a label nor a detection of the teacher.
        alarms: highest score in each drawn image without a face, 0 for none.
        images: number of photographs.
        faces: number of their labelled faces.
    """

    matched: tuple[float, ...]
    unconfirmed: tuple[float, ...]
    alarms: tuple[float, ...]
    images: int
    faces: int

    def at(self, threshold: float) -> ThresholdRow:
        """The figures of one threshold."""
        return ThresholdRow(
            threshold,
            round(100 * _above(self.matched, threshold) / max(self.faces, 1), 2),
            round(100 * _above(self.unconfirmed, threshold) / max(self.images, 1), 2),
            round(100 * _above(self.alarms, threshold) / len(self.alarms), 2),
        )


@dataclass(frozen=True)
class ThresholdRow:
    """One threshold: share of labelled faces detected, unconfirmed detections per 100 photographs, share of the images
    without a face that hold a detection."""

    threshold: float
    recall_percent: float
    unconfirmed_percent: float
    false_alarms_percent: float


def measure_thresholds(
    detector: SearchingDetector, dataset: FaceDataset, config: DetectorConfig, teacher: SearchingDetector
) -> ThresholdScores:
    """Run a detector on the validation split and on drawn images without faces, never on test images.

    Args:
        detector: opened with the `LOOSE` search.
        dataset: the data set, which knows its source images.
        config: validation images per source.
        teacher: the detector that it was trained with; it confirms faces that nobody labelled.
    """
    matched, unconfirmed, images, faces = list[float](), list[float](), 0, 0
    for image in read_source_images(dataset, Split.VALID, config.valid_images_per_source):
        boxes, scores = _arrays(detector.detect(image.image))
        images, faces = images + 1, faces + len(image.faces)
        matches = match_boxes(boxes, image.boxes, MATCH_IOU)
        matched += [float(scores[i]) for i, _ in matches.pairs]
        rest = list(matches.unmatched)
        doubtful = match_boxes(boxes[rest], _arrays(teacher.detect(image.image))[0], MATCH_IOU / 2).unmatched
        unconfirmed += [float(scores[rest[i]]) for i in doubtful]
    negatives = faceless_images(_NEGATIVES, _NEGATIVE_SEED)
    alarms = [float(_arrays(detector.detect(one.image))[1].max(initial=0.0)) for one in negatives]
    return ThresholdScores(tuple(matched), tuple(unconfirmed), tuple(alarms), images, faces)


def choose_threshold(scores: ThresholdScores) -> ThresholdRow:
    """The threshold with the highest recall among those that keep both bounds on false detections.

    Of several with that recall it is the middle one, which is farthest from losing faces and from false detections;
    where none keeps the bounds, it is the highest of `THRESHOLDS`.

    >>> scores = ThresholdScores((0.9, 0.9, 0.5), (), (0.33,) + (0.0,) * 49, images=3, faces=3)
    >>> choose_threshold(scores)  # 0.3 has 2 % false alarms; from 0.55 on a face is lost; 0.4 is the middle of the rest
    ThresholdRow(threshold=0.4, recall_percent=100.0, unconfirmed_percent=0.0, false_alarms_percent=0.0)
    """
    rows = [scores.at(threshold) for threshold in THRESHOLDS]
    good = [
        row
        for row in rows
        if row.false_alarms_percent <= MAX_FALSE_ALARMS_PERCENT and row.unconfirmed_percent <= MAX_UNCONFIRMED_PERCENT
    ] or rows[-1:]
    best = [row for row in good if row.recall_percent == max(row.recall_percent for row in good)]
    return best[(len(best) - 1) // 2]


def set_threshold(files: Sequence[Path], threshold: float) -> None:
    """Write the threshold into the metadata of detector files."""
    search = search_to_json(replace(LOOSE, second_threshold=threshold))
    for path in files:
        replace_metadata(path, read_metadata(path) | {"search": search})


def tune_threshold(
    files: Sequence[Path], dataset: FaceDataset, config: DetectorConfig, teacher: SearchingDetector
) -> dict[str, Any]:
    """Measure the .tflite among `files`, choose its threshold, write it into all; the figures for metrics.json."""
    detector = CentreDetector(next(path for path in files if path.suffix == ".tflite"), search=LOOSE)
    scores = measure_thresholds(detector, dataset, config, teacher)
    chosen = choose_threshold(scores)
    set_threshold(files, chosen.threshold)
    return {
        "chosen": asdict(chosen),
        "valid_images": scores.images,
        "valid_faces": scores.faces,
        "negative_images": len(scores.alarms),
        "thresholds": [asdict(scores.at(threshold)) for threshold in THRESHOLDS],
    }


def _arrays(detections: Sequence[Detection]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) and scores (n,)."""
    return np.array([d.box for d in detections]).reshape(-1, 4), np.array([d.score for d in detections])


def _above(scores: Sequence[float], threshold: float) -> int:
    return int(np.sum(np.array(scores) >= threshold))
