"""Where each source's labels lie against the data's reference, and the sources brought to its zero point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pair_fld.config import DataConfig, PercentOffset, SourceConfig
from pair_fld.data.load_face import to_labels
from pair_fld.data.sample import Sample, SkipSample
from pair_fld.data.second_opinion import Reference, open_reference
from pair_fld.data.zero_points import Shift, estimate_shift, eye_distance
from pair_fld.errors import PairError
from pair_fld.runtime.landmark_files import read_one_face

FACES = 400  # of a source, evenly spread: the mean is then known to 0.05 % of the eye distance
LEAST_FACES = 20  # fewer say nothing about a source


def source_shifts(config: DataConfig, samples: Sequence[Sample]) -> list[Shift | None]:
    """Each source's shift against `config.reference`; None without a reference, or where it knows too few faces.

    Raises:
        PairError: the reference cannot be read; or a source has `offset: auto` and its shift is not known.
    """
    if config.reference is None:
        asked = [source.name for source in config.sources if source.offset == "auto"]
        if asked:
            remedy = "Add `reference: {labels: ..., scheme: ...}`, or take `offset: auto` out."
            raise PairError(f"source {asked[0]!r}", "a `reference` for its `offset: auto`", "none", remedy)
        return [None] * len(config.sources)
    reference = open_reference(config.reference)
    shifts: list[Shift | None] = []
    for number, source in enumerate(config.sources):
        mine = [sample for sample in samples if sample.source == number]
        shift = _shift(mine, source, reference)
        if shift is None and source.offset == "auto":
            message = f"Source {source.name!r}: fewer than {LEAST_FACES} faces are both labelled and in the reference."
            remedy = "Annotate its images with pairfld annotate, or take `offset: auto` out."
            raise PairError(f"source {source.name!r}", message=message, remedy=remedy)
        shifts.append(shift)
    return shifts


def at_one_zero_point(config: DataConfig, shifts: Sequence[Shift | None]) -> list[SourceConfig]:
    """The sources with `offset: auto` in numbers, the others as they are."""
    out = []
    for source, shift in zip(config.sources, shifts, strict=True):
        if source.offset == "auto" and shift is not None:
            source = source.model_copy(update={"offset": PercentOffset(percent=(-shift.x, -shift.y))})
        out.append(source)
    return out


def _shift(samples: Sequence[Sample], source: SourceConfig, reference: Reference) -> Shift | None:
    if source.labels == "none" or source.kind == "synthetic" or not samples:
        return None
    as_stands = source.model_copy(update={"offset": "keep"}) if source.offset == "auto" else source
    points, mask, answers = [], [], []
    for k in np.unique(np.linspace(0, len(samples) - 1, min(FACES, len(samples))).astype(int)):
        sample = samples[int(k)]
        answer = reference.answer(sample.key, sample.path)
        if answer is None:
            continue
        try:
            raw = sample.points if sample.label is None else read_one_face(sample.label)
            face = None if raw is None else to_labels(sample, raw, as_stands)
        except (SkipSample, OSError, ValueError):
            continue  # counted when it is loaded
        if face is not None and face.point_mask.any():
            points.append(face.points)
            mask.append(face.point_mask)
            answers.append(answer[0])
    if len(points) < LEAST_FACES:
        return None
    known, seen = np.stack(points), np.stack(mask)
    shift = estimate_shift(known, np.stack(answers), seen, eye_distance(known, seen))
    return shift if shift.faces >= LEAST_FACES else None
