"""What the formats share: the list that each fills, looking up images by the names that label files have for them, and
tables beside the labels."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.sample import BAD_LABELS, NO_IMAGE, NO_LABELS, Excluded, Sample
from pair_fld.data.sources.files import FileList, list_files
from pair_fld.errors import PairError

E = TypeVar("E")


@dataclass(frozen=True)
class Listed:
    """What the sources hold. passed_over: by source, how many files and folders were no data, by reason."""

    samples: list[Sample] = field(default_factory=list)
    left_out: list[Excluded] = field(default_factory=list)
    passed_over: list[Counter[str]] = field(default_factory=list)


@dataclass(frozen=True)
class FileFace:
    """One face as a label file has it; the attributes are `Sample`'s."""

    points: np.ndarray
    visibility: np.ndarray | None = None
    box: tuple[float, float, float, float] | None = None
    tags: tuple[str, ...] = ()


class Listing:
    """Collects the samples of one source, what was left out and what was passed over."""

    def __init__(self, config: DataConfig, number: int, *, any_count: bool = False) -> None:
        """any_count: labels of as many points as no scheme has are listed too."""
        self.any_count = any_count
        self.source: SourceConfig = config.sources[number]
        self.number, self.root = number, Path(config.root)
        self.samples: list[Sample] = []
        self.left_out: list[Excluded] = []
        self.passed_over: Counter[str] = Counter()
        self._identity = _identity_pattern(self.source)

    @property
    def path(self) -> Path:
        return self.root / (self.source.path or "")

    def key(self, path: Path) -> str:
        """A path relative to the data root, with forward slashes; undecodable bytes of a name are replaced."""
        relative = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        return os.fsencode(relative.as_posix()).decode("utf-8", errors="replace")

    def files(self, folder: Path, *suffixes: str) -> FileList:
        """`files.list_files`, with what it passed over counted for the report."""
        found = list_files(folder, suffixes)
        self.passed_over.update(found.passed_over)
        return found

    def add(
        self,
        path: Path,
        *,
        label: Path | None = None,
        points: np.ndarray | None = None,
        index: int = 0,
        suffix: str = "",
        identity: str | None = None,
        visibility: np.ndarray | None = None,
        box: tuple[float, float, float, float] | None = None,
        tags: tuple[str, ...] = (),
    ) -> None:
        """One face; the arguments are `Sample`'s. suffix: tells the faces of one image apart in their keys."""
        if self._identity is not None and identity is None:
            found = self._identity.search(path.name)
            identity = found.group(1) if found else None
        key = self.key(path) + suffix
        self.samples.append(
            Sample(path, key, self.number, identity, label, points, index, visibility=visibility, box=box, tags=tags)
        )

    def add_faces(
        self, label_file: Path, name: str, image: Path, faces: Sequence[E], read: Callable[[E], FileFace], what: str
    ) -> None:
        """All faces that a label file has of one image; what cannot be used is left out with a sentence.

        Args:
            name: of the image, as the file writes it.
            image: where that is.
            faces: the file's entries for it, in order.
            read: an entry -> a face; ValueError says why it is none.
            what: an entry is called, for an image without.
        """
        if not faces:
            self.leave_out(image, NO_LABELS, f"{label_file.name}: no {what} for {name}")
        for number, entry in enumerate(faces):
            suffix = f"#{number}" if len(faces) > 1 else ""
            try:
                face = read(entry)
            except ValueError as error:
                self.leave_out(image, BAD_LABELS, f"{label_file.name}, {name}, face {number}: {error}", suffix)
                continue
            if is_file(image):
                self.add(image, suffix=suffix, **vars(face))
            else:
                self.leave_out(image, NO_IMAGE, f"{label_file.name}: no image {name!r}", suffix)

    def leave_out(self, path: Path, reason: str, sentence: str, suffix: str = "") -> None:
        """A file or face that cannot be used. reason: a constant of `data.sample`."""
        self.left_out.append(Excluded(self.key(path) + suffix, self.number, reason, sentence))

    def need_folder(self) -> Path:
        """The source's path, which must be a folder."""
        if not self.path.is_dir():
            subject = f"a folder for source {self.source.name!r}"
            raise PairError(self.path, subject, "a file", "Give the folder's path.")
        return self.path

    def need_file(self, names: Iterable[str], what: str) -> Path:
        """The source's path, or the first of these names in it where it is a folder."""
        if self.path.is_file():
            return self.path
        for name in names:
            if (self.path / name).is_file():
                return self.path / name
        raise PairError(self.path, f"{what} for source {self.source.name!r}", "a folder", "Give the file's path.")

    def image_lookup(self, label_file: Path, usual: Iterable[str] = ("images",)) -> ImageLookup:
        """Looks up images of a label file: below the source's `images`, else beside the file and where it usual is."""
        if self.source.images is not None:
            folder = self.root / self.source.images
            if not folder.is_dir():
                subject = f"`images` of source {self.source.name!r}"
                raise PairError(subject, "a folder", str(folder), "Correct the path, relative to `root`.")
            return ImageLookup((folder,))
        beside = (label_file.parent, label_file.parent.parent)
        return ImageLookup((*beside, *(folder / name for folder in beside for name in usual)))


@dataclass(frozen=True)
class ImageLookup:
    """Turns the image names of a label file into paths."""

    folders: tuple[Path, ...]

    def path(self, name: str) -> Path:
        """The image's path: of the folders' first one that has it, else as it would be in the first folder.

        Backslashes count as slashes, and a path from another machine is tried from its end: its last folder and name,
        then its name alone.
        """
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        plain = "/".join(parts)
        candidates = [plain, "/".join(parts[-2:]), parts[-1] if parts else ""]
        if name.startswith(("/", "\\")):
            candidates.insert(0, "/" + plain)
        for candidate in dict.fromkeys(candidates):
            for folder in self.folders:
                path = Path(os.path.normpath(folder / candidate))
                if candidate and is_file(path):
                    return path
        return self.folders[0] / (plain or "unnamed")


def is_file(path: Path) -> bool:
    """Whether there is such a file; False also for what can be no path at all."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a whole line of text is too long for a name, or holds a NUL
        return False


def to_number(text: str, decimal_comma: bool = False) -> float | None:
    """The number in a field, nan for an empty one or a usual word for "not available", None for other text."""
    text = text.strip().strip("\"'")
    if text.lower() in ("", "na", "n/a", "nan", "null", "none", "-", "?", "#n/a"):
        return float("nan")
    try:
        return float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        return None


def _identity_pattern(source: SourceConfig) -> re.Pattern[str] | None:
    if source.identity is None:
        return None
    try:
        pattern = re.compile(source.identity)
    except re.error as error:
        raise PairError(
            f"`identity` of source {source.name!r}", "a regular expression", str(error), "Correct it."
        ) from None
    if pattern.groups < 1:
        remedy = "Put parentheses around the part that names the person."
        raise PairError(f"`identity` of source {source.name!r}", "a group", repr(source.identity), remedy)
    return pattern
