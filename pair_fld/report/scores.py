"""What the scores of an archive are worth: the whole archive, detector included, on the images of a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pair_fld.data.load_face import read_face
from pair_fld.data.sample import SkipSample, evenly_spread
from pair_fld.evaluate.confidence import GOOD_NME
from pair_fld.evaluate.matching import match_faces
from pair_fld.evaluate.metrics import nme_outer_corners
from pair_fld.evaluate.validate import Truth
from pair_fld.progress import Progress, no_progress
from pair_fld.report.figures import Scored
from pair_fld.runtime.pipeline import load_pipeline

LEAST = 20  # scored faces that make a figure


def score_faces(folder: Path, truth: Truth, limit: int, progress: Progress = no_progress) -> Scored | None:
    """Run an archive on whole images, `limit` at most and evenly spread; None for fewer than LEAST scored faces.

    Of the faces in an image only the labelled ones are judged: others may be faces that nobody labelled.

    Args:
        folder: of the archive's weights, see `runtime.pipeline.load_pipeline`.
    """
    pipeline = load_pipeline(folder)
    images = _by_image(truth)
    chosen = evenly_spread(len(images), limit)
    scores, good = [], []
    labelled = missed = unmatched = 0
    for done, k in enumerate(chosen, 1):
        image, faces = _read(truth, images[k])
        if image is not None:
            found = [face for face in pipeline.faces(image) if face.score is not None]
            matches = match_faces([face.points for face in found], faces)
            labelled, missed = labelled + len(faces), missed + len(matches.missed)
            unmatched += len(matches.unmatched)
            for i, j in matches.pairs:
                mask = np.asarray(np.isfinite(faces[j]).all(axis=1))
                error = float(nme_outer_corners(found[i].points[None], np.nan_to_num(faces[j])[None], mask[None])[0])
                if np.isfinite(error):
                    scores.append(found[i].score)
                    good.append(error < GOOD_NME)
        progress(done, len(chosen))
    if len(scores) < LEAST:
        return None
    return Scored(np.array(scores, float), np.array(good, bool), labelled, missed, unmatched)


def _by_image(truth: Truth) -> list[list[int]]:
    """Indices of the samples of each image."""
    groups: dict[object, list[int]] = {}
    for k, sample in enumerate(truth.samples):
        alone = truth.config.sources[sample.source].kind in ("synthetic", "ytf")
        groups.setdefault(k if alone else (sample.path, sample.source), []).append(k)
    return list(groups.values())


def _read(truth: Truth, group: list[int]) -> tuple[np.ndarray | None, list[np.ndarray]]:
    image, faces = None, []
    for k in group:
        sample = truth.samples[k]
        try:
            image, labels = read_face(sample, truth.config.sources[sample.source])
        except SkipSample:
            continue
        if labels is not None and labels.point_mask.any():
            faces.append(labels.with_gaps())
    return image, faces
