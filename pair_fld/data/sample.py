"""What a source offers (`Sample`), what `prepare` makes of it (`Crop`), and why something was left out
(`Excluded`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Reasons for leaving something out: the keys of the report's counts.
NO_LABELS = "image without labels"
NO_IMAGE = "labels without an image"
TWO_IMAGES = "second image of one label"
BAD_IMAGE = "unreadable image"
BAD_LABELS = "unreadable labels"
WRONG_COUNT = "wrong number of points"
MISSING_POINTS = "too many missing points"
OUTSIDE = "points outside the image"
NO_FACE = "no face found by the annotator"
FLIPS_APART = "the annotator contradicts itself on both flips"
DEGENERATE = "degenerate face box"
EXACT_DUPLICATE = "exact duplicate"
NEAR_DUPLICATE = "near duplicate"
ACROSS_SPLITS = "duplicate of a face in a stricter split"
PERSON_ACROSS_SPLITS = "person who is in a stricter split"


# Why a loaded face may be wrong although it is used: keys of the report's counts.
STORED_FRAME = "labels fit the image as stored, not as its EXIF rotation turns it"

# What a point's visibility may be.
SEEN, BEHIND, SELF_HIDDEN = 0, 1, 2  # BEHIND something, its place estimated; SELF_HIDDEN by the head itself


@dataclass(frozen=True)
class Sample:
    """One face as a source lists it; nothing is decoded yet.

    path: the file with the image (an .npz for video frames). key: name of the face, unique in a dataset, relative to
    the data root. source: index into the configuration's sources. identity: the person, where the source knows. label:
    the .pts file. points: (N, 2) _img of any scheme where the listing has read them already, nan where not labelled.
    index: frame of a video, or number of a rendered face. visibility: (N,) or (51,) uint8 SEEN, BEHIND or SELF_HIDDEN,
    where the source knows. box: x0 y0 x1 y1 _img of the face as the source draws it. tags: attributes that the source
    states.
    """

    path: Path
    key: str
    source: int
    identity: str | None = None
    label: Path | None = None
    points: np.ndarray | None = None
    index: int = 0
    visibility: np.ndarray | None = None
    box: tuple[float, float, float, float] | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labels:
    """A face's labels in the contest's scheme.

    points: (51, 2) float64 _img, zero where not labelled. point_mask: (51,) bool, True = labelled. visibility: (51,)
    uint8 SEEN, BEHIND or SELF_HIDDEN; a point that is SELF_HIDDEN is mostly not labelled either. in_scheme: (51,) bool,
    points that the labels' own scheme has at all. approximate: some points are only near the contest's.
    """

    points: np.ndarray
    point_mask: np.ndarray
    visibility: np.ndarray
    in_scheme: np.ndarray
    approximate: bool = False

    def with_gaps(self) -> np.ndarray:
        """(51, 2) _img, nan where not labelled."""
        return np.where(self.point_mask[:, None], self.points, np.nan)


@dataclass(frozen=True)
class Excluded:
    """A file or face that is not in the dataset. reason: one of this module's constants; sentence: the
    particulars."""

    path: str
    source: int
    reason: str
    sentence: str


class SkipSample(Exception):
    """Raised while a sample is loaded: it must be left out, and why."""

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason, self.sentence = reason, sentence
        super().__init__(sentence)


@dataclass(frozen=True)
class Crop:
    """A loaded face.

    Attributes:
        image: (P, P, 3) uint8 BGR.
        points: (51, 2) float32 _pack, zero where not labelled.
        point_mask: (51,) bool, True = labelled.
        frame: (4,) float32, the face frame in this crop: centre x, y and size in _pack pixels, roll in degrees.
        box_img: (4,) _img.
        matrix: (2, 3), image -> packed crop.
        label: a `LabelSource`.
        image_hash: sha256 of the decoded image's pixels.
        hash: sha256 of the crop's bytes.
        visibility: (51,) uint8, see `Labels`.
        tags: as the sample's.
        warning: why the labels may be wrong, a constant of this module, or empty.
        turned: whether an EXIF rotation turned the image before the labels were laid on it.
        averaged, filled, relabelled: points and face that a second opinion changed, see `second_opinion.Consulted`.
    """

    image: np.ndarray
    points: np.ndarray
    point_mask: np.ndarray
    frame: np.ndarray
    box_img: np.ndarray
    matrix: np.ndarray
    label: int
    image_hash: str
    hash: str
    visibility: np.ndarray
    tags: tuple[str, ...] = ()
    warning: str = ""
    turned: bool = False
    averaged: int = 0
    filled: int = 0
    relabelled: bool = False


def evenly_spread(number: int, most: int | None) -> np.ndarray:
    """Numbers (n,) of `most` of `number` things at most (None: all), evenly spread, from the first to the last."""
    return np.unique(np.linspace(0, number - 1, number if most is None else min(most, number)).astype(int))
