"""Data set formats: from a configured source to a list of samples. Only names and label tables are read
here."""

from __future__ import annotations

import csv
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.sample import BAD_LABELS, NO_IMAGE, NO_LABELS, TWO_IMAGES, WRONG_COUNT, LeftOut, Sample
from pair_fld.data.sources.files import IMAGE_SUFFIXES, FileList, list_files, passed_over_sentence
from pair_fld.errors import PairError
from pair_fld.runtime.scheme import SUPPORTED_COUNTS

IVSLAB_FOLDERS = ("300W", "afw", "helen", "ibug", "IFPW")  # the contest's own spelling of LFPW
# Neighbouring frames of a video teach nothing new, so this many are taken, evenly spaced over each video.
YTF_FRAMES = 8
LABEL_SUFFIX = ".pts"


@dataclass(frozen=True)
class Listed:
    """What the sources hold. passed_over: by source, how many files and folders were no data, by reason."""

    samples: list[Sample] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    passed_over: list[Counter[str]] = field(default_factory=list)


class _Listing:
    """Collects the samples of one source and what was left out of it."""

    def __init__(self, config: DataConfig, number: int) -> None:
        self.source: SourceConfig = config.sources[number]
        self.number, self.root = number, Path(config.root)
        self.samples: list[Sample] = []
        self.left_out: list[LeftOut] = []
        self.passed_over: Counter[str] = Counter()
        self._identity = _identity_pattern(self.source)

    @property
    def path(self) -> Path:
        return self.root / (self.source.path or "")

    def key(self, path: Path) -> str:
        """A path relative to the data root, with forward slashes; undecodable bytes of a name are
        replaced."""
        relative = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        return os.fsencode(relative.as_posix()).decode("utf-8", errors="replace")

    def add(
        self,
        path: Path,
        *,
        label: Path | None = None,
        points: np.ndarray | None = None,
        index: int = 0,
        suffix: str = "",
        identity: str | None = None,
    ) -> None:
        if self._identity is not None and identity is None:
            found = self._identity.search(path.name)
            identity = found.group(1) if found else None
        self.samples.append(Sample(path, self.key(path) + suffix, self.number, identity, label, points, index))

    def files(self, folder: Path, *suffixes: str) -> FileList:
        """`files.list_files`, with what it passed over counted for the report."""
        found = list_files(folder, suffixes)
        self.passed_over.update(found.passed_over)
        return found

    def leave_out(self, path: Path, reason: str, sentence: str, suffix: str = "") -> None:
        self.left_out.append(LeftOut(self.key(path) + suffix, self.number, reason, sentence))


def list_samples(config: DataConfig) -> Listed:
    """All samples of all sources, in a fixed order (that of the sources, then of the names), what is left out and
    what is passed over.

    Raises:
        PairError: a source's folder is missing, holds nothing of its kind, or is configured in a way that
        cannot work.
    """
    if not config.sources:
        raise PairError("data configuration", "at least one source", "none", "Add an entry under `sources`.")
    names = [source.name for source in config.sources]
    if len(set(names)) != len(names):
        raise PairError("data configuration", "sources of different names", ", ".join(names), "Rename one of them.")
    listed = Listed()
    for number, source in enumerate(config.sources):
        listing = _Listing(config, number)
        if source.kind != "synthetic" and source.path is None:
            raise PairError(f"source {source.name!r}", "a `path`", "none", "Give the folder, relative to `root`.")
        if source.kind != "synthetic" and not listing.path.exists():
            remedy = "Correct the source's `path` or `root` (relative to the working directory)."
            raise PairError(listing.path, f"the data of source {source.name!r}", "no such file or folder", remedy)
        _LISTERS[source.kind](listing)
        if not listing.samples:
            found = "none" if not listing.left_out else f"none that can be used ({listing.left_out[0].sentence})"
            if not listing.left_out and (sentence := passed_over_sentence(listing.passed_over)):
                found = f"none ({sentence})"
            raise PairError(
                listing.path, f"faces of kind {source.kind!r}", found, "Check the source's `kind` and `path`."
            )
        nameless = sum(sample.identity is None for sample in listing.samples)
        if source.identity is not None and nameless == len(listing.samples):
            found = f"no match in {listing.samples[0].path.name} or any other file name"
            remedy = "Correct it, or leave it out: then each face is split by itself."
            raise PairError(f"`identity` of source {source.name!r}", "a pattern that names the person", found, remedy)
        listed.samples.extend(listing.samples)
        listed.left_out.extend(listing.left_out)
        listed.passed_over.append(listing.passed_over)
    return listed


def _identity_pattern(source: SourceConfig) -> re.Pattern[str] | None:
    if source.identity is None:
        return None
    try:
        pattern = re.compile(source.identity)
    except re.error as fault:
        raise PairError(
            f"`identity` of source {source.name!r}", "a regular expression", str(fault), "Correct it."
        ) from None
    if pattern.groups < 1:
        remedy = "Put parentheses around the part that names the person."
        raise PairError(f"`identity` of source {source.name!r}", "a group", repr(source.identity), remedy)
    return pattern


def _need_folder(listing: _Listing) -> None:
    if not listing.path.is_dir():
        raise PairError(
            listing.path, f"a folder for source {listing.source.name!r}", "a file", "Give the folder's path."
        )


def _pair_files(listing: _Listing, images: Path, labels: Path) -> None:
    """Pair every picture below `images` with the .pts of the same name below `labels`, and report what has
    no partner."""
    if images == labels:
        found = listing.files(images, *IMAGE_SUFFIXES, LABEL_SUFFIX)
        pictures, texts = found.of(IMAGE_SUFFIXES), found.of((LABEL_SUFFIX,))
    else:
        pictures, texts = listing.files(images, *IMAGE_SUFFIXES).files, listing.files(labels, LABEL_SUFFIX).files
    label_of = {path.relative_to(labels).with_suffix(""): path for path in texts}
    taken: dict[Path, Path] = {}
    for path in pictures:
        stem = path.relative_to(images).with_suffix("")
        if stem not in label_of:
            listing.leave_out(path, NO_LABELS, f"{path.name}: no {stem.name}.pts beside it or in {labels.name}/")
        elif stem in taken:
            listing.leave_out(path, TWO_IMAGES, f"{path.name}: its label already belongs to {taken[stem].name}")
        else:
            taken[stem] = path
            listing.add(path, label=label_of[stem])
    for stem, path in label_of.items():
        if stem not in taken:
            listing.leave_out(path, NO_IMAGE, f"{path.name}: no picture {stem.name}.jpg, .png, ... in {images.name}/")


def _list_ibug(listing: _Listing) -> None:
    _need_folder(listing)
    images, labels = listing.path / "images", listing.path / "labels"
    if images.is_dir() and labels.is_dir():
        _pair_files(listing, images, labels)
    else:
        _pair_files(listing, listing.path, listing.path)


def _list_ivslab(listing: _Listing) -> None:
    _need_folder(listing)
    folder = listing.path / "ivslab_facial_train"
    folder = folder if folder.is_dir() else listing.path
    parts = [folder / name for name in IVSLAB_FOLDERS if (folder / name / "images").is_dir()]
    if not parts:
        expected = f"{'/, '.join(IVSLAB_FOLDERS)}/ with images/ and labels/ in them"
        raise PairError(folder, expected, "none of them", "Give the path of the folder ivslab_facial_train.")
    for part in parts:
        _pair_files(listing, part / "images", part / "labels")


def _list_unlabelled(listing: _Listing) -> None:
    _need_folder(listing)
    box = listing.source.box
    if box is None or not (box[0] < box[2] and box[1] < box[3]):
        remedy = "Give [x0, y0, x1, y1] as fractions of the picture: where brows to mouth lie on average."
        raise PairError(f"`box` of source {listing.source.name!r}", "a face box", repr(box), remedy)
    for path in listing.files(listing.path, *IMAGE_SUFFIXES).files:
        listing.add(path)


def _table_lines(table: Path) -> list[list[str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise PairError(table, "a table of comma-separated values", str(fault), "Correct the file.") from None


def _list_csv(listing: _Listing) -> None:
    """One line a face: picture path (relative to the table), x0, y0, x1, y1, ...

    Empty or nan fields are missing points. A first line whose second field is no number is a header.
    """
    table = listing.path
    if not table.is_file():
        subject = f"a .csv file for source {listing.source.name!r}"
        raise PairError(table, subject, "a folder", "Give the file's path.")
    for number, row in enumerate(_table_lines(table), 1):
        if not row or (number == 1 and len(row) > 1 and _to_number(row[1]) is None):
            continue
        path, suffix, where = table.parent / row[0], f"#{number}", f"{table.name}, line {number}"
        values = [_to_number(text) for text in row[1:]]
        if not path.is_file():
            listing.leave_out(path, NO_IMAGE, f"{where}: no picture {row[0]!r}", suffix)
        elif len(values) % 2 or len(values) // 2 not in SUPPORTED_COUNTS:
            sentence = f"{where}: {len(values)} numbers are not 49, 51, 68 or 98 points"
            listing.leave_out(path, WRONG_COUNT, sentence, suffix)
        elif None in values:
            listing.leave_out(path, BAD_LABELS, f"{where}: a field is no number", suffix)
        else:
            listing.add(path, points=np.array(values, float).reshape(-1, 2), suffix=suffix)


def _to_number(text: str) -> float | None:
    """The number in a field, nan for an empty one, None for other text."""
    try:
        return float(text.strip() or "nan")
    except ValueError:
        return None


def _list_ytf(listing: _Listing) -> None:
    """Kaggle's YouTube Faces With Facial Keypoints: tables of videos (videoID, personName) and .npz files.

    videoID.npz, anywhere below, holds colorImages (H, W, 3, T) uint8 RGB and landmarks2D (68, 2, T).
    """
    tables = sorted(listing.path.glob("*.csv")) if listing.path.is_dir() else [listing.path]
    if not tables:
        remedy = "Give the folder that the Kaggle archive unpacks to."
        raise PairError(listing.path, "a .csv of videos", "none", remedy)
    videos = {path.stem: path for path in listing.files(tables[0].parent, ".npz", ".csv").of((".npz",))}
    seen: set[str] = set()  # the archive's second table repeats a part of the first
    for table in tables:
        header, *lines = _table_lines(table) or [[]]
        if not {"videoID", "personName"} <= set(header):
            found = ", ".join(header) or "an empty file"
            remedy = "Give the table of the Kaggle archive."
            raise PairError(table, "columns videoID and personName", found, remedy)
        for line in lines:
            row = dict(zip(header, line, strict=False))
            video = row.get("videoID", "")
            if not video or video in seen:
                continue
            seen.add(video)
            if video in videos:
                _list_video(listing, videos[video], row.get("personName", video))
            else:
                sentence = f"{table.name}: no file {video}.npz below {table.parent.name}/"
                listing.leave_out(table.parent / f"{video}.npz", NO_IMAGE, sentence)


def _list_video(listing: _Listing, path: Path, person: str) -> None:
    try:
        with np.load(path, allow_pickle=False) as video:
            points = np.asarray(video["landmarks2D"], np.float64)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        listing.leave_out(path, BAD_LABELS, f"{path.name}: no readable array landmarks2D ({fault})")
        return
    if points.ndim != 3 or points.shape[1] != 2 or points.shape[0] not in SUPPORTED_COUNTS:
        listing.leave_out(path, WRONG_COUNT, f"{path.name}: expected landmarks2D (68, 2, T), found {points.shape}")
        return
    frames = points.shape[2]
    for frame in sorted({int(f) for f in np.linspace(0, frames - 1, min(YTF_FRAMES, frames))}):
        listing.add(
            path,
            points=points[:, :, frame],
            index=frame,
            suffix=f"#{frame}",
            identity=person.replace(" ", "_"),
        )


def _list_synthetic(listing: _Listing) -> None:
    source = listing.source
    for index in range(source.count):
        # keyed by name, seed and number: the picture depends on nothing else
        listing.samples.append(Sample(Path(), f"{source.name}/{source.seed}/{index:06d}", listing.number, index=index))
    if not source.count:
        raise PairError(f"source {source.name!r}", "`count` of at least 1", "0", "Say how many faces to render.")


_LISTERS: dict[str, Callable[[_Listing], None]] = {
    "ibug": _list_ibug,
    "ivslab": _list_ivslab,
    "unlabelled": _list_unlabelled,
    "csv": _list_csv,
    "ytf": _list_ytf,
    "synthetic": _list_synthetic,
}
