"""A face's label, without decoding its image."""

from __future__ import annotations

import numpy as np

from pair_fld.config import SourceConfig
from pair_fld.data.load_face import read_face, to_labels
from pair_fld.data.sample import BAD_LABELS, Labels, Sample, SkipSample
from pair_fld.runtime.landmark_files import read_one_face


def read_labels(sample: Sample, source: SourceConfig) -> Labels | None:
    """The face's labels in the contest's scheme; None for a face without a label.

    Raises:
        SkipSample: they cannot be read.
    """
    if source.kind == "synthetic":
        return read_face(sample, source)[1]
    raw = raw_points(sample)
    return None if raw is None else to_labels(sample, raw, source)


def raw_points(sample: Sample) -> np.ndarray | None:
    """Points (N, 2) as the label has them, of any scheme; None for a face without a label. Raises as `read_labels`."""
    if sample.label is None:
        return sample.points
    try:
        return read_one_face(sample.label)
    except (OSError, ValueError) as error:
        raise SkipSample(BAD_LABELS, str(error)) from None
