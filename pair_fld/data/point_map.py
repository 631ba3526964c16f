"""Linear maps from somebody's N points to the contest's 51, learnt by `pairfld fit-scheme`: an .npz of numbers only.

A face's N points are brought to the face frame by the similarity that fits them to `reference` best; there the 51
points are a linear function of all of them, and the frame takes these back to the image. The answers on an image and on
its mirror image have numbers of their own, because an annotator's errors differ between the two.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from pair_fld.data.annotations import Annotation
from pair_fld.errors import PairError
from pair_fld.io import atomic_path
from pair_fld.runtime.frame import Frame, fit_frame, place
from pair_fld.runtime.scheme import NUM_POINTS


@dataclass(frozen=True, eq=False)
class PointMap:
    """N points to 51, for F flips: 1 the image, 2 the image and its mirror image.

    Attributes:
        reference: (F, N, 2) mean N points in mean-face coordinates.
        matrix: (F, 2 N + 1, 51, 2) from the N points in that frame (x and y of each in turn, then 1) to the 51.
        mask: (51,) bool, the points that it gives.
        cv_nme: cross-validated NME, percent.
        ridge: of the fit.
        faces: learnt from.
    """

    reference: np.ndarray
    matrix: np.ndarray
    mask: np.ndarray
    cv_nme: np.ndarray
    ridge: np.ndarray
    faces: np.ndarray

    @property
    def count(self) -> int:
        """N."""
        return self.reference.shape[1]

    @property
    def flips(self) -> int:
        """F."""
        return len(self.reference)

    def __call__(self, points_img: np.ndarray, flip: int = 0) -> np.ndarray | None:
        """Points (N, 2) _img of one face -> (51, 2) _img; None where they resemble no face.

        Raises:
            ValueError: another number of points, or no numbers for this flip.
        """
        points = np.asarray(points_img, np.float64)
        if points.shape != (self.count, 2) or not 0 <= flip < self.flips:
            raise ValueError(
                f"the map takes {self.count} points on {self.flips} flip(s), found {points.shape} on flip {flip + 1}"
            )
        aligned = to_frame(points, self.reference[flip])
        if aligned is None:
            return None
        frame, local = aligned
        return place(frame, np.tensordot(np.append(local.ravel(), 1.0), self.matrix[flip].astype(np.float64), axes=1))

    def merge(self, annotation: Annotation) -> tuple[np.ndarray, np.ndarray] | None:
        """Both answers on a face -> their mean (51, 2) _img and the distance (51,) between them, pixels.

        The distance is nan where only one flip was answered; None where neither was.

        Raises:
            PairError: the answers have another number of points than the map takes.
        """
        mapped = []
        for flip, points in enumerate(annotation.flips[: self.flips]):
            if points is not None and points.shape != (self.count, 2):
                remedy = "Give the map that pairfld fit-scheme learnt from these labels."
                raise PairError("the annotator's labels", f"{self.count} points, as the map", f"{len(points)}", remedy)
            if points is not None and (one := self(points, flip)) is not None:
                mapped.append(one)
        if not mapped:
            return None
        apart = np.linalg.norm(mapped[0] - mapped[1], axis=1) if len(mapped) == 2 else np.full(NUM_POINTS, np.nan)
        return np.mean(mapped, axis=0), apart

    def save(self, path: Path) -> None:
        """Write as .npz, whole or not at all."""
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **{f.name: getattr(self, f.name) for f in fields(self)})


class MappedScheme:
    """A point map in the place of a `schemes.Scheme`: labels of N points whose 51 it computes from all of them."""

    approximate = False

    def __init__(self, point_map: PointMap) -> None:
        self.map, self.name = point_map, f"a map of {point_map.count} points"

    @property
    def count(self) -> int:
        return self.map.count

    @property
    def has(self) -> np.ndarray:
        """(51,) bool: the points that the map gives."""
        return self.map.mask

    def to_51(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Scheme.to_51`; where one of the N is not labelled, none of the 51 is."""
        found = self.map(points) if np.isfinite(points).all() else None
        if found is None:
            return np.zeros((NUM_POINTS, 2)), np.zeros(NUM_POINTS, bool)
        return np.where(self.has[:, None], found, 0.0), self.has.copy()

    def visibility_to_51(self, visibility: np.ndarray) -> np.ndarray:
        """Each of the 51 is made of all N points, so nothing is known of its visibility."""
        return np.zeros(NUM_POINTS, np.uint8)


def load_point_map(path: str | Path) -> PointMap:
    """A map that `pairfld fit-scheme` wrote.

    Raises:
        PairError: there is none, or its numbers do not fit together.
    """
    remedy = "Learn one with pairfld fit-scheme."
    try:
        with np.load(path, allow_pickle=False) as kept:
            found = PointMap(**{f.name: kept[f.name] for f in fields(PointMap)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        if isinstance(error, ValueError) and not zipfile.is_zipfile(path):
            reason = "another file"
        raise PairError(path, "a point map (.npz)", reason, remedy) from None
    flips, count = found.reference.shape[:2] if found.reference.ndim == 3 else (0, 0)
    wanted = (flips, 2 * count + 1, NUM_POINTS, 2)
    if not flips or found.matrix.shape != wanted or found.mask.shape != (NUM_POINTS,):
        found_shapes = f"arrays {found.reference.shape} and {found.matrix.shape}"
        raise PairError(path, "a point map (.npz)", found_shapes, remedy)
    return found


def to_frame(points: np.ndarray, reference: np.ndarray) -> tuple[Frame, np.ndarray] | None:
    """The frame of (N, 2) points by their (N, 2) reference, and the points in it; None where they resemble no face."""
    try:
        frame = fit_frame(points, reference)
    except ValueError:
        return None
    return frame, from_image(frame, points)


def from_image(frame: Frame, points_img: np.ndarray) -> np.ndarray:
    """Points (N, 2) _img in mean-face coordinates: the inverse of `frame.place`."""
    angle = np.deg2rad(frame.roll)
    c, s = np.cos(angle) / frame.size, np.sin(angle) / frame.size
    return (np.asarray(points_img, np.float64) - np.asarray(frame.centre)) @ np.array([[c, -s], [s, c]])
