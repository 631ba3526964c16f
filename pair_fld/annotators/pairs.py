"""Faces that are known twice: as N points of an annotator (or of another scheme), and as the 51 points of a source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pair_fld.annotators.labels import raw_points, read_labels
from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.annotations import RECORD, Annotation, Annotations
from pair_fld.data.sample import Sample, SkipSample
from pair_fld.data.sources.listing import list_samples
from pair_fld.errors import PairError
from pair_fld.progress import Progress, no_progress
from pair_fld.runtime.geometry import points_box
from pair_fld.runtime.scheme import NUM_POINTS

MAX_OFF_CENTRE = 0.5  # of the larger box: labels of two schemes whose boxes lie further apart are of two faces


@dataclass(frozen=True, eq=False)
class Pairs:
    """n faces known twice.

    Attributes:
        points: (n, 2, N, 2) _img, the N points on the image and on its mirror image; nan where not found.
        target: (n, 51, 2) _img and mask (n, 51) bool: the labels.
        source: (n,) index into `sources`.
        group: (n,) person or image; a group is never in two folds.
        missed: labelled faces without N points, by source.
    """

    points: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    source: np.ndarray
    group: np.ndarray
    sources: tuple[str, ...]
    missed: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.target)

    def pick(self, chosen: np.ndarray) -> Pairs:
        rows = {name: getattr(self, name)[chosen] for name in ("points", "target", "mask", "source", "group")}
        return replace(self, **rows)


Lookup = Callable[[Sample, SourceConfig], Annotation | None]


def lookup_of(labels: str, data: Callable[[str], DataConfig]) -> Lookup:
    """Looks up the N points of a face: in a folder of `pairfld annotate`, or in labelled images of any scheme.

    Args:
        labels: that folder, or what `data` makes a configuration of.
    """
    if (Path(labels) / RECORD).is_file():
        annotations = Annotations(labels)
        return lambda sample, source: annotations.find(sample.key, sample.path)
    config = data(labels)
    points: dict[tuple[Path, int], list[np.ndarray]] = defaultdict(list)
    for sample in list_samples(config, any_count=True).samples:
        raw = _labelled(sample, config.sources[sample.source])
        if raw is not None:
            points[sample.path.resolve(), sample.index].append(raw)

    def find(sample: Sample, source: SourceConfig) -> Annotation | None:
        others = points.get((sample.path.resolve(), sample.index))
        if others is None:
            return None
        try:
            labels = read_labels(sample, source)
        except SkipSample:
            return None
        if labels is None or not labels.point_mask.any():
            return None
        return Annotation(_nearest(points_box(labels.points, labels.point_mask), others), None)

    return find


def _labelled(sample: Sample, source: SourceConfig) -> np.ndarray | None:
    """A label's own points (N, 2), nan where not labelled; None where there is no point, or no readable label."""
    try:
        raw = raw_points(sample)
    except SkipSample:
        return None
    if raw is None:
        return None
    points = np.array(raw, np.float64)
    for mark in source.missing:
        points[(points == mark).all(axis=1)] = np.nan
    return points if np.isfinite(points).all(axis=1).any() else None


def _nearest(box: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray | None:
    """Of the labels on one image that of the face in a box (4,), None where the nearest is another face's."""
    boxes = np.array([points_box(points, np.asarray(np.isfinite(points).all(axis=1))) for points in others])
    centre = (box[:2] + box[2:]) / 2
    distance = np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) / 2 - centre, axis=1)
    nearest = int(distance.argmin())
    side = max(float(np.sqrt(np.prod(one[2:] - one[:2]))) for one in (box, boxes[nearest]))
    return others[nearest] if distance[nearest] <= MAX_OFF_CENTRE * side else None


def read_pairs(find: Lookup, targets: Sequence[DataConfig], progress: Progress = no_progress) -> Pairs:
    """The faces of the human-labelled, not tested sources of `targets` (of all labelled ones where there are none).

    Raises:
        PairError: no face is known twice, or the annotator's counts differ.
    """
    wanted = [
        (config, number)
        for config in targets
        for number, source in enumerate(config.sources)
        if source.labels == "human" and source.split != "test"
    ] or [(c, n) for c in targets for n, source in enumerate(c.sources) if source.labels != "none"]
    names, missed = [], []
    found: list[tuple[Annotation, np.ndarray, np.ndarray, int, str]] = []
    for number, (config, own) in enumerate(wanted):
        source = config.sources[own]
        names.append(source.name)
        missed.append(0)
        samples = list_samples(config.model_copy(update={"sources": [source]})).samples
        for k, sample in enumerate(samples):
            progress(k, len(samples), source.name)
            annotation = find(sample, source)
            if annotation is None or all(points is None for points in annotation.flips):
                missed[-1] += annotation is not None
                continue
            try:
                labels = read_labels(sample, source)
            except SkipSample:
                continue
            if labels is not None and labels.point_mask.any():
                found.append(
                    (annotation, labels.points, labels.point_mask, number, sample.identity or str(sample.path))
                )
    if not found:
        remedy = "Annotate the images of this source first."
        raise PairError("fit-scheme", "faces that are labelled and annotated", "none", remedy)
    return _stack(found, tuple(names), tuple(missed))


def _stack(
    found: Sequence[tuple[Annotation, np.ndarray, np.ndarray, int, str]],
    names: tuple[str, ...],
    missed: tuple[int, ...],
) -> Pairs:
    counts = {len(points) for entry in found for points in entry[0].flips if points is not None}
    if len(counts) > 1:
        remedy = "Give labels of one annotator."
        raise PairError("fit-scheme", "labels of one number of points", ", ".join(map(str, sorted(counts))), remedy)
    points = np.full((len(found), 2, counts.pop(), 2), np.nan)
    for row, (annotation, *_) in enumerate(found):
        for flip, values in enumerate(annotation.flips):
            if values is not None:
                points[row, flip] = values
    return Pairs(
        points,
        np.array([target for _, target, *_ in found]).reshape(-1, NUM_POINTS, 2),
        np.array([mask for _, _, mask, *_ in found]).reshape(-1, NUM_POINTS),
        np.array([source for *_, source, _ in found]),
        np.array([group for *_, group in found]),
        names,
        missed,
    )
