"""Whole images behind a dataset's faces, a few of each source, evenly spread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pair_fld.data.dataset import FaceDataset, LabelSource, Split
from pair_fld.data.load_face import read_face
from pair_fld.data.sample import SkipSample, evenly_spread
from pair_fld.data.sources.listing import list_samples
from pair_fld.runtime.geometry import points_box


@dataclass(frozen=True)
class SourceImage:
    """image: (H, W, 3) uint8 BGR. faces: (51, 2) _img of each labelled face, nan where a point is not labelled."""

    image: np.ndarray
    faces: tuple[np.ndarray, ...] = ()

    @property
    def boxes(self) -> np.ndarray:
        """(m, 4) _img of the labelled points."""
        return np.array([points_box(f, np.asarray(np.isfinite(f).all(axis=1))) for f in self.faces]).reshape(-1, 4)


def source_image_count(dataset: FaceDataset, split: Split, per_source: int, *, labelled: bool = True) -> int:
    """How many images `read_source_images` gives at most."""
    _, counts = np.unique(dataset.faces.source[dataset.indices(split, labelled=labelled)], return_counts=True)
    return int(np.minimum(counts, per_source).sum())


def read_source_images(
    dataset: FaceDataset, split: Split, per_source: int, *, labelled: bool = True
) -> Iterator[SourceImage]:
    """Images of a split, at most `per_source` of each source, in a fixed order; unreadable ones are passed over.

    Args:
        labelled: leave out faces without points.
    """
    samples = {sample.key: sample for sample in list_samples(dataset.config).samples}
    faces = dataset.faces
    rows = dataset.indices(split, labelled=labelled)
    for source in np.unique(faces.source[rows]):
        mine = rows[faces.source[rows] == source]
        for row in mine[evenly_spread(len(mine), per_source)]:
            sample = samples.get(str(faces.path[row]))
            if sample is None:
                continue
            try:
                image, labels = read_face(sample, dataset.config.sources[sample.source])
            except SkipSample:
                continue
            if labels is None or faces.label[row] == LabelSource.NONE:
                yield SourceImage(image)
            else:
                yield SourceImage(image, (np.where(labels.point_mask[:, None], labels.points, np.nan),))
