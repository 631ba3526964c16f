"""Where each source's labels lie against the data's reference, and the sources brought to its zero point, or to one
convention for each point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pair_fld.config import DataConfig, PercentOffset, SourceConfig
from pair_fld.data.conventions import (
    CONVENTION_FACES,
    LEAST_FACES,
    PointConvention,
    estimate_convention,
    mean_convention,
)
from pair_fld.data.load_face import to_labels
from pair_fld.data.sample import Sample, SkipSample, evenly_spread
from pair_fld.data.second_opinion import Reference, open_reference
from pair_fld.data.zero_points import Shift, estimate_shift, eye_distance
from pair_fld.errors import PairError
from pair_fld.runtime.landmark_files import read_one_face

_BY_REFERENCE = ("auto", "convention")  # values of `offset` that a reference puts into numbers


@dataclass(frozen=True)
class Placement:
    """Where a source's labels lie against the reference, as their files have them: all points, and each besides."""

    shift: Shift
    convention: PointConvention | None


def source_placements(config: DataConfig, samples: Sequence[Sample]) -> list[Placement | None]:
    """Each source's placement against `config.reference`; None without a reference, or where it knows too few faces.

    Raises:
        PairError: the reference cannot be read; or a source has `offset: auto` or `convention`, or is named in the
            data's `convention`, and its placement is not known.
    """
    if config.reference is None:
        asked = [source for source in config.sources if source.offset in _BY_REFERENCE]
        if asked:
            wish = f"`offset: {asked[0].offset}`"
            remedy = f"Add `reference: {{labels: ..., scheme: ...}}`, or take {wish} out."
            raise PairError(f"source {asked[0].name!r}", f"a `reference` for its {wish}", "none", remedy)
        return [None] * len(config.sources)
    reference = open_reference(config.reference)
    placements: list[Placement | None] = []
    for number, source in enumerate(config.sources):
        mine = [sample for sample in samples if sample.source == number]
        placement = _placement(mine, source, reference)
        _check_wishes(config, source, placement)
        placements.append(placement)
    return placements


def shared_convention(config: DataConfig, placements: Sequence[Placement | None]) -> np.ndarray | None:
    """(51, 2), the mean of the sources that the data's `convention` names; None where it names none."""
    named = [
        placement.convention
        for source, placement in zip(config.sources, placements, strict=True)
        if source.name in config.convention and placement is not None and placement.convention is not None
    ]
    return mean_convention(named) if named else None


def with_offsets(
    config: DataConfig, placements: Sequence[Placement | None], shared: np.ndarray | None
) -> list[SourceConfig]:
    """The sources with `offset: auto` or `convention` in numbers, the others as they are.

    Args:
        shared: the convention to which those with `offset: convention` are brought.
    """
    out = []
    for source, placement in zip(config.sources, placements, strict=True):
        if source.offset in _BY_REFERENCE and placement is not None:
            points = None
            if source.offset == "convention" and shared is not None and placement.convention is not None:
                moves = np.nan_to_num(shared - placement.convention.offsets)  # a point that is not known stays
                points = tuple((float(x), float(y)) for x, y in moves)
            offset = PercentOffset(percent=(-placement.shift.x, -placement.shift.y), points=points)
            source = source.model_copy(update={"offset": offset})
        out.append(source)
    return out


def _check_wishes(config: DataConfig, source: SourceConfig, placement: Placement | None) -> None:
    """Raise PairError where a source asks for more than is known of its placement."""
    named = source.name in config.convention
    if placement is None and (named or source.offset in _BY_REFERENCE):
        found = "are both labelled and in the reference"
    elif placement is not None and placement.convention is None and (named or source.offset == "convention"):
        found = "are labelled and have answers of the reference that agree on both flips"
    else:
        return
    wish = "take it out of the data's `convention`" if named else f"take `offset: {source.offset}` out"
    message = f"Source {source.name!r}: fewer than {LEAST_FACES} faces {found}."
    remedy = f"Annotate its images with pairfld annotate, or {wish}."
    raise PairError(f"source {source.name!r}", message=message, remedy=remedy)


def _placement(samples: Sequence[Sample], source: SourceConfig, reference: Reference) -> Placement | None:
    if source.labels == "none" or source.kind == "synthetic" or not samples:
        return None
    as_stands = source.model_copy(update={"offset": "keep"}) if source.offset in _BY_REFERENCE else source
    points, mask, answers, apart = [], [], [], []
    for k in evenly_spread(len(samples), CONVENTION_FACES):
        sample = samples[k]
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
            apart.append(answer[1])
    if len(points) < LEAST_FACES:
        return None
    known, seen, said = np.stack(points), np.stack(mask), np.stack(answers)
    shift = estimate_shift(known, said, seen, eye_distance(known, seen))
    convention = estimate_convention(known, said, np.stack(apart), seen)
    return Placement(shift, convention) if shift.faces >= LEAST_FACES else None
