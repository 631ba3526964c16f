"""Annotators as teachers: a folder of `pairfld annotate` with the map of `pairfld fit-scheme` in it.

    LABELS/run.json, points/, mirrored/   of pairfld annotate
    LABELS/map.npz                        of pairfld fit-scheme --from LABELS ... --out LABELS/map.npz

Its predictions stand beside those of checkpoints, in the dataset's convention. It is as uncertain as its answers on an
image and on its mirror image differ; a face that it did not find, or was not asked about, it leaves to the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.data.annotator_convention import convention_of_dataset, packed_answer
from pair_fld.data.dataset import FaceDataset
from pair_fld.data.second_opinion import Reference
from pair_fld.progress import Progress, no_progress
from pair_fld.runtime.scheme import NUM_POINTS
from pair_fld.train.predict_dataset import LandmarkPredictions

SIDE = 1.45  # crop side over the frame's size, as the networks' default: what percent of the crop means for it
NO_PREDICTION = 100.0  # sigma, percent of the crop: from here on it is none
# Standard deviations over the frame's size: what remains where both flips agree, and of a single flip's answer.
FLOOR, SINGLE = 0.012, 0.04
CHUNK = 256


def annotator_about(folder: Path, dataset: FaceDataset) -> dict[str, Any]:
    """What the record of a training says of it: title, licence and warning, where it has any, and how its answers were
    brought to the dataset's convention."""
    reference, convention = convention_of_dataset(folder, dataset)
    return {**reference.labels.record.get("about", {}), "convention": convention.summary()}


def annotator_predictions(
    reference: Reference, dataset: FaceDataset, progress: Progress = no_progress
) -> LandmarkPredictions:
    """Its predictions on the whole dataset.

    A face that it did not find gets the middle of its frame with the deviation of the whole crop: that weighs nothing
    in training (`distill.half_weight_sigma`), fills no gap in a label, and `mixture` passes it over.
    """
    faces = dataset.faces
    size = faces.frame[:, 2].astype(np.float64)
    points = np.tile(faces.frame[:, None, :2], (1, NUM_POINTS, 1)).astype(np.float32)
    deviation = np.tile(size[:, None] * SIDE, (1, NUM_POINTS))
    for row in range(len(dataset)):
        if row % CHUNK == 0:
            progress(row, len(dataset))
        answer = packed_answer(reference, dataset, row)
        if answer is None or not np.isfinite(answer[0]).all():
            continue
        points[row] = answer[0]
        # two answers d apart: each lies d / 2 from their mean, along one direction of two
        apart = answer[1] / np.sqrt(8)
        deviation[row] = np.where(np.isnan(apart), SINGLE * size[row], np.hypot(apart, FLOOR * size[row]))
    progress(len(dataset), len(dataset))
    covariance = (deviation**2)[..., None, None] * np.eye(2)
    return LandmarkPredictions(points, covariance.astype(np.float32), (size * SIDE).astype(np.float32))
