"""What a source offers (`Sample`), what `prepare` makes of it (`Crop`), and why something was left out
(`LeftOut`)."""

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
DEGENERATE = "degenerate face box"
EXACT_DUPLICATE = "exact duplicate"
NEAR_DUPLICATE = "near duplicate"
ACROSS_SPLITS = "duplicate of a face in a stricter split"
PERSON_ACROSS_SPLITS = "person who is in a stricter split"


@dataclass(frozen=True)
class Sample:
    """One face as a source lists it; nothing is decoded yet.

    path: the file with the picture (an .npz for video frames). key: name of the face, unique in a pack,
    relative to the data root. source: index into the configuration's sources. identity: the person, where
    the source knows. label: the .pts file. points: (N, 2) _img of any supported scheme where the listing has
    read them already. index: frame of a video, or number of a rendered face.
    """

    path: Path
    key: str
    source: int
    identity: str | None = None
    label: Path | None = None
    points: np.ndarray | None = None
    index: int = 0


@dataclass(frozen=True)
class LeftOut:
    """A file or face that is not in the pack. reason: one of this module's constants; sentence: the
    particulars."""

    path: str
    source: int
    reason: str
    sentence: str


class SkipFace(Exception):
    """Raised while a sample is loaded: it must be left out, and why."""

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason, self.sentence = reason, sentence
        super().__init__(sentence)


@dataclass(frozen=True)
class Crop:
    """A loaded face.

    image: (P, P, 3) uint8 BGR. points: (51, 2) float32 _pack, zero where not valid. valid: (51,) bool. box:
    (4,) _pack. box_img: (4,) _img. matrix: (2, 3) picture -> pack. label: HUMAN, MACHINE or NONE. picture:
    sha256 of the decoded picture's pixels. hash: sha256 of the crop's bytes.
    """

    image: np.ndarray
    points: np.ndarray
    valid: np.ndarray
    box: np.ndarray
    box_img: np.ndarray
    matrix: np.ndarray
    label: int
    picture: str
    hash: str
