"""A short look at folders of faces: which kind of source each is, and how much is in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.sample import Sample
from pair_fld.data.schemes import scheme_of
from pair_fld.data.sources.files import IMAGE_SUFFIXES, list_files
from pair_fld.data.sources.listing import list_samples
from pair_fld.data.sources.usual import usual_source
from pair_fld.errors import PairError
from pair_fld.runtime.landmark_files import read_one_face

_PLAIN_NAMES = ("train", "valid", "test", "images", "labels", "faces", "data")  # folders that tell nothing alone
BOX = (0.25, 0.3, 0.75, 0.75)  # where brows to mouth lie in a portrait: a first guess for images without labels


@dataclass(frozen=True)
class Survey:
    """One folder or label file.

    Attributes:
        source: as a data configuration names it.
        images, faces: how many; a face without labels counts too.
        left_out: images without labels, labels without images.
        points: of the first labelled face; None where there are no labels or it cannot be read.
        note: what the user has to decide, or empty.
    """

    source: SourceConfig
    images: int
    faces: int
    left_out: int
    points: int | None
    note: str


def survey(paths: Sequence[Path], test: Sequence[Path] = ()) -> list[Survey]:
    """Look at each folder or label file; names and tables are read, images are not.

    Args:
        paths: to learn from; a part is held back to choose by.
        test: to measure on only.

    Raises:
        PairError: a path that is not there, or one without faces of a kind that a source has.
    """
    names: list[str] = []
    found = []
    for number, path in enumerate((*paths, *test)):
        if not path.exists():
            raise PairError(path, "a folder of images, or a label file", "none", "Check the path.")
        whole = Path(os.path.abspath(path))
        stem = whole.stem if path.is_file() else whole.name
        stem = f"{whole.parent.name}-{stem}" if stem.lower() in _PLAIN_NAMES else stem
        name = stem if stem not in names else f"{stem}-{len(names) + 1}"
        names.append(name)
        found.append(_look(whole, name, "auto" if number < len(paths) else "test"))
    return found


def _look(path: Path, name: str, split: str) -> Survey:
    usual = usual_source(path)
    entry = {"name": name, "kind": usual.kind, "path": str(usual.path), "split": split}
    if usual.kind == "unlabelled":
        if not list_files(path, IMAGE_SUFFIXES).files:
            raise PairError(path, "images with or without labels", "none", "Name a folder with images.")
        if split == "test":
            remedy = f"{usual.note[0].upper()}{usual.note[1:]}." if usual.note else "Leave it out of --test."
            raise PairError(path, "labelled faces to measure on", "images without labels", remedy)
        entry |= {"labels": "none", "split": "train", "box": BOX}
    source = SourceConfig.model_validate(entry)
    listed = list_samples(DataConfig(sources=[source]))
    images = len({sample.path for sample in listed.samples})
    points = None if source.labels == "none" else _points(listed.samples[0])
    return Survey(source, images, len(listed.samples), len(listed.left_out), points, _note(source, points, usual.note))


def _points(sample: Sample) -> int | None:
    if sample.points is not None:
        return len(sample.points)
    try:
        return None if sample.label is None else len(read_one_face(sample.label))
    except (OSError, ValueError):
        return None


def _note(source: SourceConfig, points: int | None, unread: str) -> str:
    if source.labels == "none":
        return (
            f"{unread}; " * bool(unread)
            + "box: where brows to mouth lie on average, as fractions of the image; correct it"
        )
    if points is None:
        return ""
    try:
        scheme_of(points)
    except ValueError:
        return f"labels of {points} points: name their scheme (pairfld configs list scheme)"
    return ""
