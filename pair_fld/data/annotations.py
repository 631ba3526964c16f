"""What an annotator said: a folder of N-point labels, one face an image, of each image and of its mirror image.

    LABELS/points/KEY.pts     the answer on the image, in its pixels; an empty file where no face was found
    LABELS/mirrored/KEY.pts   the answer on the mirrored image, brought back to the image's pixels
    LABELS/run.json           annotator, sources, counts
    LABELS/map.npz            where it is known: the map to the 51 points, of pairfld fit-scheme

Answers on the two flips differ by more than noise (a mesh of 478 points by 4 % of the eye distance), so they are kept
apart, and a `PointMap` has numbers for each. Point k is the annotator's point k in both: on the mirrored image its left
is the face's right.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from pair_fld.errors import PairError
from pair_fld.io import read_json
from pair_fld.runtime.landmark_files import read_faces, write_faces

FLIPS = ("points", "mirrored")
RECORD = "run.json"
MAP = "map.npz"
STAGE = "annotate"


@dataclass(frozen=True)
class Annotation:
    """The answers on one face: (N, 2) _img on the image and on its mirror image, None where it was not found."""

    points: np.ndarray | None
    mirrored: np.ndarray | None

    @property
    def flips(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        return self.points, self.mirrored


def is_annotator(path: Path) -> bool:
    """Whether the path is a folder of `pairfld annotate`."""
    return (path / RECORD).is_file() and (path / FLIPS[0]).is_dir()


def annotation_path(folder: Path, flip: int, key: str) -> Path:
    """Where the answer of a face lies; never outside `folder`, whatever the key."""
    parts = [part.replace(":", "_") for part in PurePosixPath(key).parts if part not in ("/", "..", ".")]
    path = folder.joinpath(FLIPS[flip], *parts)
    return path.with_name(f"{path.name}.pts")


def is_done(folder: Path, key: str, flips: int) -> bool:
    """Whether the face was answered, on all flips that were asked for."""
    return all(annotation_path(folder, flip, key).is_file() for flip in range(flips))


def write_annotation(folder: Path, flip: int, key: str, points: np.ndarray | None) -> None:
    """Keep the (N, 2) answer of a face, None for "not found"."""
    path = annotation_path(folder, flip, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_faces(path, [] if points is None else [points])


class Annotations:
    """A folder that `pairfld annotate` wrote, opened for reading.

    Attributes:
        record: its run.json. root: the data root of its keys when it was written.

    Raises:
        PairError: `folder` is no such folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / RECORD).is_file() or not (self.folder / FLIPS[0]).is_dir():
            remedy = "Give the folder that pairfld annotate wrote."
            raise PairError(self.folder, "labels of an annotator", "none", remedy)
        self.record = read_json(self.folder / RECORD, "the record of pairfld annotate")
        self.root = Path(self.record.get("root", "."))

    def find(self, key: str, path: Path | None = None) -> Annotation | None:
        """The answers on a face, None when it was not asked about.

        Args:
            key: of the face, relative to its data root.
            path: of its image, by which it is looked up when the key is relative to another root.
        """
        keys = [key]
        if path is not None and path != Path():
            relative = os.path.relpath(path.resolve(), self.root.resolve())
            suffix = key[key.rindex("#") :] if "#" in key else ""
            keys.append(Path(relative).as_posix() + suffix)
        for name in dict.fromkeys(keys):
            if annotation_path(self.folder, 0, name).is_file():
                return Annotation(*(self._read(flip, name) for flip in (0, 1)))
        return None

    def _read(self, flip: int, key: str) -> np.ndarray | None:
        path = annotation_path(self.folder, flip, key)
        if not path.is_file():
            return None
        try:
            faces = read_faces(path)
        except ValueError as error:
            raise PairError(path, "points of one face", str(error), "Remove the file and annotate again.") from None
        return faces[0] if faces else None
