"""The source kind of a folder or label file that somebody names without saying what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pair_fld.data.sources.base import to_number
from pair_fld.data.sources.files import list_files
from pair_fld.data.sources.pts import CONTEST_FOLDER, IVSLAB_FOLDERS, LABEL_SUFFIX
from pair_fld.data.sources.tables import EXPECTED, find_separator, split_rows
from pair_fld.data.sources.texts import kind_of_text, read_text
from pair_fld.errors import PairError

_LABEL_FILES = (".json", ".xml", ".csv")  # that may hold the labels of a whole folder
_FEWEST_NUMBERS = 8  # of a line that has a face's points; tables of attributes and boxes have fewer
_ASKED = 5  # JSON files of a folder whose beginning is read


@dataclass(frozen=True)
class UsualSource:
    """How a source would be configured.

    Attributes:
        kind: `unlabelled` where no labels are recognised.
        path: the folder, or the one label file in it that the kind reads.
        note: why no labels are recognised although there are files that may hold some; else empty.
    """

    kind: str
    path: Path
    note: str = ""


def usual_source(path: Path) -> UsualSource:
    """What a folder or label file is.

    A file goes by its suffix, an XML file by its beginning. A folder goes by the labels that lie in it: .pts files,
    labelme's files, or one CSV, XML or JSON file for all images.
    """
    if path.is_file():
        return UsualSource(_kind_by_suffix(path), path)
    if (path / "annotations.xml").is_file():
        return UsualSource("cvat", path)
    if any((path / inner / name / "images").is_dir() for inner in (".", CONTEST_FOLDER) for name in IVSLAB_FOLDERS):
        return UsualSource("ivslab", path)
    found = list_files(path, (LABEL_SUFFIX, ".mat", *_LABEL_FILES))
    if found.of((LABEL_SUFFIX,)):
        return UsualSource("ibug", path)
    if any(_kind_of_file(file) == "labelme" for file in found.of((".json",))[:_ASKED]):
        return UsualSource("labelme", path)
    if found.of((".mat",)):
        return UsualSource("aflw2000", path)
    files = found.of(_LABEL_FILES)
    kinds = {file: kind for file in files if (kind := _kind_of_file(file)) is not None}
    if len(kinds) == 1 or set(kinds.values()) == {"ytf"}:
        file, kind = next(iter(kinds.items()))
        return UsualSource(kind, path if kind == "ytf" else file)
    return UsualSource("unlabelled", path, _note(path, list(kinds), files))


def _note(folder: Path, several: Sequence[Path], files: Sequence[Path]) -> str:
    if several:
        return f"{_names(folder, several)}: several files of labels; name the one to use in place of the folder"
    return f"{_names(folder, files)}: no labels of a known kind" if files else ""


def _names(folder: Path, files: Sequence[Path]) -> str:
    shown = ", ".join(str(file.relative_to(folder)) for file in files[:3])
    return shown + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def _kind_by_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix == ".xml":
        return "imglab" if "<dataset" in path.read_text(encoding="utf-8", errors="replace")[:20000] else "cvat"
    return {".json": "coco", ".txt": "wflw"}.get(suffix, "csv")


def _kind_of_file(path: Path) -> str | None:
    """The kind of one label file by its text; None where it holds no labels that are known."""
    try:
        text = read_text(path, EXPECTED)
        if (kind := kind_of_text(text)) is not None or path.suffix.lower() != ".csv":
            return kind
        return _kind_of_table(path, text)
    except PairError:  # no text
        return None


def _kind_of_table(path: Path, text: str) -> str | None:
    separator = find_separator(path, text)
    rows = split_rows(path, "\n".join(text.splitlines()[:5]), separator)
    if rows and {"videoID", "personName"} <= set(rows[0]):
        return "ytf"
    numbers = [sum(to_number(field, separator != ",") is not None for field in row) for row in rows]
    return "csv" if max(numbers, default=0) >= _FEWEST_NUMBERS else None
