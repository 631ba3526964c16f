"""What an annotator is worth on labelled faces: its answers, brought to the 51 points by its map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pair_fld.data.annotator_convention import own_convention
from pair_fld.data.sample import NO_FACE, Excluded, Sample
from pair_fld.errors import PairError
from pair_fld.evaluate.report import Result
from pair_fld.evaluate.validate import TEXT_CROP, TEXT_MARGIN, Truth, load_crops, score_faces, stated_visibility
from pair_fld.progress import Progress, no_progress
from pair_fld.runtime.geometry import invert, transform_points


def validate_annotations(folder: Path, truth: Truth, progress: Progress = no_progress) -> tuple[Result, list[Excluded]]:
    """Score a folder of `pairfld annotate` with its map in it; the mean of both flips counts.

    A face that the annotator did not find is left out, and named: it says what its answers are worth where there are
    any. An annotator that was asked about none of the faces is an error.

    Raises:
        PairError: there is no map, or no answer on any of the faces.
    """
    reference = own_convention(folder)
    predicted, points, valid, visibility = [], [], [], []
    kept: list[Sample] = []
    left_out = list(truth.left_out)
    for samples, crops in load_crops(truth, TEXT_CROP, TEXT_MARGIN, left_out):
        for sample, crop in zip(samples, crops, strict=True):
            answer = reference.answer(sample.key, sample.path)
            if answer is None:
                left_out.append(Excluded(sample.key, sample.source, NO_FACE, f"{sample.key}: {NO_FACE}"))
                continue
            predicted.append(np.nan_to_num(answer[0]))
            points.append(transform_points(invert(crop.matrix), crop.points))
            valid.append(crop.point_mask & np.isfinite(answer[0]).all(axis=1))
            visibility.append(stated_visibility(sample, crop))
            kept.append(sample)
        progress(len(kept) + len(left_out), len(truth.samples) + len(truth.left_out))
    if not kept:
        remedy = "Annotate these images with pairfld annotate."
        raise PairError(folder, "answers on the labelled faces", "none", remedy)
    found = score_faces(truth, np.stack(predicted), np.stack(points), np.stack(valid), kept, np.stack(visibility))
    return found, left_out
