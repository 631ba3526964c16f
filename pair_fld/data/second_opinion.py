"""A second opinion on labels: a reference's answers, averaged with labels where the two agree, or in their place.

One person's label of a face has an error of its own, and so has an annotator's answer; where they agree, their mean is
better than either. Where they do not agree one of them is wrong, and nobody knows which: the label stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from pair_fld.config import DataConfig, ReferenceConfig, SecondOpinionConfig
from pair_fld.data.annotations import RECORD, Annotations
from pair_fld.data.conventions import move_points
from pair_fld.data.point_map import PointMap, load_point_map
from pair_fld.data.sample import FLIPS_APART, NO_FACE, Labels, Sample, SkipSample
from pair_fld.data.zero_points import Shift, face_unit
from pair_fld.errors import PairError
from pair_fld.runtime.scheme import NUM_POINTS

AGREEING = 0.5  # share of a face's labelled points that must agree before the reference fills what it lacks


@dataclass(frozen=True, eq=False)
class Reference:
    """An annotator's answers and the map that leads from them to the 51 points.

    convention: (51, 2) as in `conventions`, by which all answers are moved; None: they stay where the map puts them.
    """

    labels: Annotations
    point_map: PointMap
    convention: np.ndarray | None = None

    def answer(self, key: str, path: Path | None = None) -> tuple[np.ndarray, np.ndarray] | None:
        """The answer on a face: (51, 2) _img, and how far the answers on both flips lie apart, (51,) pixels.

        nan where the map has no such point; the distance is nan too where only one flip was answered. None: the face
        was not found, or not asked about. Arguments as `Annotations.find`.
        """
        annotation = self.labels.find(key, path)
        merged = None if annotation is None else self.point_map.merge(annotation)
        if merged is None:
            return None
        mask, points = self.point_map.mask, merged[0]
        if self.convention is not None:
            points = move_points(points, self.convention, mask)
        return np.where(mask[:, None], points, np.nan), np.where(mask, merged[1], np.nan)


def open_reference(config: ReferenceConfig) -> Reference:
    """A configured reference, opened once a process; PairError when its labels or its map cannot be read."""
    scheme = Path(config.scheme)
    written = scheme.stat().st_mtime_ns if scheme.is_file() else 0
    return _open(config.labels, config.scheme, written)


@lru_cache(maxsize=4)
def _open(labels: str, scheme: str, written: int) -> Reference:
    """written: time of the map's file, so that a new map is read anew."""
    return Reference(Annotations(labels), load_point_map(scheme))


def with_what_is_there(config: DataConfig) -> tuple[DataConfig, str | None]:
    """The configuration without what needs an optional reference that is not there, and a sentence that says so.

    Such sources keep their own labels and their own zero points.
    """
    reference = config.reference
    if reference is None or not reference.optional:
        return config, None
    missing = [path for path in (Path(reference.labels) / RECORD, Path(reference.scheme)) if not path.is_file()]
    if not missing:
        return config, None
    sources = [
        source.model_copy(
            update={"offset": "keep" if source.offset in ("auto", "convention") else source.offset, "relabel": False,
                    "second_opinion": None}
        )
        for source in config.sources
    ]  # fmt: skip
    sentence = (
        f"no annotator's labels ({missing[0]} is missing): labels and zero points stay as the files have them; "
        "make them with pairfld annotate and fit-scheme, or `make labels`"
    )
    without = {"reference": None, "convention": [], "second_opinion": None, "sources": sources}
    return config.model_copy(update=without), sentence


@dataclass(frozen=True)
class Consultation:
    """What a source asks of the reference. relabel: its answers are the labels. shift: (x, y) of the labels against it,
    percent of the eye distance, by which its answers are brought to the labels' zero point before they are compared.
    convention: (51, 2) as in `conventions`, by which its answers are moved wherever they are used; None: nothing."""

    reference: ReferenceConfig
    setting: SecondOpinionConfig
    relabel: bool = False
    shift: tuple[float, float] = (0.0, 0.0)
    convention: np.ndarray | None = None


@dataclass(frozen=True)
class Consulted:
    """Labels after a second opinion. averaged, filled: how many of the 51 points are means, and were not labelled."""

    labels: Labels
    averaged: int = 0
    filled: int = 0
    relabelled: bool = False


def consultations(
    config: DataConfig, shifts: Sequence[Shift | None], convention: np.ndarray | None = None
) -> list[Consultation | None]:
    """What each source asks of the reference, None for nothing; faces to measure on keep their labels.

    Args:
        shifts: of the labels as their files have them, by source.
        convention: of all answers, see `Consultation`.

    Raises:
        PairError: a source asks, and there is no reference; or a source to measure on asks.
    """
    out: list[Consultation | None] = []
    for source, shift in zip(config.sources, shifts, strict=True):
        asked = "relabel" if source.relabel else "second_opinion" if source.second_opinion else None
        if asked is not None and source.split == "test":
            remedy = "Take it out: what is measured keeps its labels."
            raise PairError(f"source {source.name!r}", f"no `{asked}` with split: test", "one", remedy)
        setting = config.second_opinion if source.second_opinion is None else source.second_opinion or None
        if source.relabel:
            setting = setting or SecondOpinionConfig()
        elif source.split == "test" or source.labels == "none" or source.kind in ("synthetic", "annotation"):
            setting = None
        if setting is None:
            out.append(None)
            continue
        if config.reference is None:
            remedy = f"Add `reference: {{labels: ..., scheme: ...}}`, or take `{asked or 'second_opinion'}` out."
            raise PairError(
                f"source {source.name!r}", f"a `reference` for its `{asked or 'second_opinion'}`", "none", remedy
            )
        still = (0.0, 0.0) if shift is None or source.offset in ("auto", "convention") else (shift.x, shift.y)
        out.append(Consultation(config.reference, setting, source.relabel, still, convention))
    return out


def consult(sample: Sample, labels: Labels | None, wish: Consultation) -> Consulted | None:
    """The labels of a face with the reference's answer, None where there is neither.

    Raises:
        SkipSample: it must be relabelled, and the reference misses it or contradicts itself on its flips.
    """
    reference = replace(open_reference(wish.reference), convention=wish.convention)
    answer = reference.answer(sample.key, sample.path)
    if wish.relabel:
        return _relabelled(sample, answer, wish.setting)
    if labels is None:
        return None
    return Consulted(labels) if answer is None else _averaged(labels, *answer, wish)


def _relabelled(
    sample: Sample, answer: tuple[np.ndarray, np.ndarray] | None, setting: SecondOpinionConfig
) -> Consulted:
    if answer is None:
        raise SkipSample(NO_FACE, f"{sample.key}: the reference found no face")
    points, apart = answer
    mask = np.asarray(np.isfinite(points).all(axis=1))
    distance = np.median(apart[mask]) / face_unit(points, mask) * 100
    if not distance <= setting.flips:  # nan: answered on one flip only
        found = "it was found on one of them only" if np.isnan(distance) else f"{distance:.1f} % of the eye distance"
        raise SkipSample(FLIPS_APART, f"{sample.key}: the reference's answers on both flips: {found}")
    labels = Labels(np.where(mask[:, None], points, 0.0), mask, np.zeros(NUM_POINTS, np.uint8), mask)
    return Consulted(labels, relabelled=True)


def _averaged(labels: Labels, answer: np.ndarray, apart: np.ndarray, wish: Consultation) -> Consulted:
    setting, mask = wish.setting, labels.point_mask
    if not mask.any():
        return Consulted(labels)
    unit = face_unit(labels.points, mask)
    answer = answer + np.array(wish.shift) / 100 * unit
    sure = np.isfinite(answer).all(axis=1) & (np.nan_to_num(apart, nan=np.inf) <= setting.flips / 100 * unit)
    distance = np.where(sure, np.linalg.norm(np.nan_to_num(answer) - labels.points, axis=1), np.inf)
    agrees = mask & (distance <= setting.agreement / 100 * unit)
    points = labels.points.copy()
    points[agrees] += setting.weight * (answer[agrees] - points[agrees])
    fills = sure & ~mask & (setting.fill_missing and agrees.sum() >= AGREEING * mask.sum())
    points[fills] = answer[fills]
    changed = replace(labels, points=points, point_mask=mask | fills)
    return Consulted(changed, int(agrees.sum()), int(fills.sum()))
