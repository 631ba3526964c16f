"""Where the results of a prediction go: every image and every video frame has a name that no other has."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pair_fld.inference.video_file import VIDEO_SUFFIX, VIDEO_SUFFIXES
from pair_fld.outputs import MAX_NAME_BYTES, shortened

STDOUT = Path("-")
TEXT, DRAWING, LABELS = ".txt", ".jpg", ".json"  # suffixes of the files of one image
_NAME_BYTES = MAX_NAME_BYTES - len(TEXT)
_FRAME = re.compile(r"_\d{6,}")
_FRAME_BYTES = 12  # of "_" and a frame's number


@dataclass(frozen=True)
class ResultFiles:
    """What is to be written; None: not wanted.

    texts, drawings, labelme: folders with one file per image; in `drawings` one per video, unless `stills`. `drawings`
    may be a video's file instead. sheet, json, csv, coco: one file each; `STDOUT` for json and csv.
    """

    texts: Path | None = None
    drawings: Path | None = None
    sheet: Path | None = None
    json: Path | None = None
    csv: Path | None = None
    coco: Path | None = None
    labelme: Path | None = None
    stills: bool = False

    @property
    def summaries(self) -> list[Path]:
        """The files that hold the results of all images."""
        return [path for path in (self.sheet, self.json, self.csv, self.coco) if path is not None and path != STDOUT]

    @property
    def written(self) -> list[Path]:
        """Everything but stdout, for the closing sentence."""
        return self.folders + self.summaries + ([] if self.one_video is None else [self.one_video])

    @property
    def folders(self) -> list[Path]:
        """The folders with one file per image."""
        drawings = None if self.one_video is not None else self.drawings
        return [path for path in (self.texts, drawings, self.labelme) if path is not None]

    @property
    def one_video(self) -> Path | None:
        """The file of a drawn video, where `drawings` names one and no folder."""
        named = (
            self.drawings is not None and self.drawings.suffix.lower() in VIDEO_SUFFIXES and not self.drawings.is_dir()
        )
        return self.drawings if named else None

    def video(self, title: str) -> Path | None:
        """The drawn video `title`; None where none is wanted."""
        if self.drawings is None or self.stills:
            return None
        return self.one_video or self.drawings / f"{title}{VIDEO_SUFFIX}"

    def text(self, name: str) -> Path | None:
        """The text file of the image or frame `name`."""
        return None if self.texts is None else self.texts / f"{name}{TEXT}"

    def drawing(self, name: str) -> Path | None:
        """The drawing of the image or frame `name`."""
        return None if self.drawings is None else self.drawings / f"{name}{DRAWING}"

    def labels(self, name: str) -> Path | None:
        """The file of labelme of the image `name`."""
        return None if self.labelme is None else self.labelme / f"{name}{LABELS}"

    def of_image(self, name: str) -> list[Path]:
        """The files of the image or frame `name`."""
        return [path for path in (self.text(name), self.drawing(name), self.labels(name)) if path is not None]


def frame_name(title: str, number: int) -> str:
    """The name of a video's frame; number: from 0, counted over all frames."""
    return f"{title}_{number:06d}"


def frame_numbers(folder: Path, title: str, suffix: str) -> list[int]:
    """The frames of a video for which `folder` holds a result."""
    place = folder / title
    if not place.parent.is_dir():
        return []
    pattern = re.compile(re.escape(place.name) + r"_(\d{6,})" + re.escape(suffix))
    matches = (pattern.fullmatch(entry.name) for entry in place.parent.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def result_names(images: Sequence[tuple[Path, Path]]) -> list[str]:
    """A different name for each (image, folder that its name counts from): a relative path without suffix.

    Images of one name get their path below the folder that they have in common, images that differ by suffix only
    keep it, and what is still the same gets a number. A name too long for a file system is cut and gets a hash.
    Upper and lower case are not told apart, since some systems do not.
    """
    names = [path.relative_to(base).with_suffix("").as_posix() for path, base in images]
    unique = _numbered(_below_common_folder([path for path, _ in images], names))
    return [shortened(name, _NAME_BYTES) for name in unique]


def video_titles(videos: Sequence[Path | int], taken: Sequence[str]) -> list[str]:
    """A different title for each video file or camera index, whose frames' names are none of `taken`."""
    paths = [Path(f"camera{video}") if isinstance(video, int) else video for video in videos]
    titles = _below_common_folder(paths, [path.stem for path in paths])
    stems = {_key(name[: match.start()]) for name in taken if (match := _last_frame(name))}
    titles = [title + path.suffix if _key(title) in stems else title for title, path in zip(titles, paths, strict=True)]
    return [shortened(title, _NAME_BYTES - _FRAME_BYTES) for title in _numbered(titles, stems)]


def _last_frame(name: str) -> re.Match[str] | None:
    matches = list(_FRAME.finditer(name))
    return matches[-1] if matches and matches[-1].end() == len(name) else None


def _below_common_folder(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """The names, but paths below a common folder where several have one name."""
    named: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        named[_key(name)].append(i)
    result = list(names)
    for group in (group for group in named.values() if len(group) > 1):
        absolute = [Path(os.path.abspath(paths[i])) for i in group]
        common = Path(os.path.commonpath([path.parent for path in absolute]))
        below = [path.relative_to(common) for path in absolute]
        stems = [_key(path.with_suffix("").as_posix()) for path in below]
        for i, path, stem in zip(group, below, stems, strict=True):
            result[i] = path.as_posix() if stems.count(stem) > 1 else path.with_suffix("").as_posix()
    return result


def _numbered(names: Sequence[str], taken: set[str] | None = None) -> list[str]:
    """The names, with -2, -3 ... behind those that are taken."""
    used, firsts = set(taken or ()), {_key(name) for name in names}
    result = []
    for name in names:
        unique, number = name, 1
        while _key(unique) in used or (number > 1 and _key(unique) in firsts):
            number += 1
            unique = f"{name}-{number}"
        used.add(_key(unique))
        result.append(unique)
    return result


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
