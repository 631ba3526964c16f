"""Which contest text file belongs to which labelled image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pair_fld.data.sample import Sample
from pair_fld.errors import PairError

_SHOWN = 3  # names in a sentence


@dataclass(frozen=True)
class TextFiles:
    """The text of each sample, None where there is none. notes: sentences on what had no partner."""

    paths: list[Path | None]
    notes: list[str]


def match_texts(folder: Path, samples: Sequence[Sample]) -> TextFiles:
    """Find each image's text file below `folder`, as `pairfld predict` and run_model.py name them.

    The text's path below `folder` must be the end of the image's path, without its suffix or with it: `images/0.txt`
    or `0.txt` for `faces/images/0.png`. Of several that fit, the longest path is taken.

    Raises:
        PairError: no folder, no text that belongs to an image, or one text for several images.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "none"
        raise PairError(folder, "a folder of contest .txt files", found, "Give the folder that run_model.py wrote.")
    texts = {path.relative_to(folder).as_posix()[: -len(".txt")]: path for path in sorted(folder.rglob("*.txt"))}
    # a rendered face has no file, but a name
    paths = [_longest(texts, sample.path if sample.path.name else Path(sample.key)) for sample in samples]
    if not any(paths):
        example = f"{Path(samples[0].key).stem}.txt" if samples else "NAME.txt"
        found = f"{len(texts)} texts ({_some(texts)}), none of them" if texts else "no .txt file"
        remedy = "Give the folder of results for these images, or the --images that they belong to."
        raise PairError(folder, f"texts named as the images ({example})", found, remedy)
    _refuse_shared(paths, samples)
    return TextFiles(paths, _notes(texts, paths, samples))


def _longest(texts: dict[str, Path], image: Path) -> Path | None:
    parts = os.path.abspath(image).split(os.sep)
    for first in range(len(parts)):
        tail = "/".join(parts[first:])
        for name in (tail, os.path.splitext(tail)[0]):  # the suffix stays in a name where two differ by it alone
            if name in texts:
                return texts[name]
    return None


def _refuse_shared(paths: Sequence[Path | None], samples: Sequence[Sample]) -> None:
    owner: dict[Path, Sample] = {}
    for path, sample in zip(paths, samples, strict=True):
        if path is None:
            continue
        first = owner.setdefault(path, sample)
        if (first.path, first.index) != (sample.path, sample.index):  # several faces of one image share its text
            remedy = "Keep the images' folders in the texts' names, or measure one source at a time with --images."
            raise PairError(path, "one image for each text", f"{first.key} and {sample.key}", remedy)


def _notes(texts: dict[str, Path], paths: Sequence[Path | None], samples: Sequence[Sample]) -> list[str]:
    notes = []
    if without := [sample.key for sample, path in zip(samples, paths, strict=True) if path is None]:
        notes.append(f"{len(without)} of {len(paths)} faces have no text and count as missed: {_some(without)}")
    used = {path for path in paths if path is not None}
    if unused := [f"{name}.txt" for name, path in texts.items() if path not in used]:
        notes.append(f"{len(unused)} of {len(texts)} texts belong to no labelled image: {_some(unused)}")
    return notes


def _some(names: Sequence[str] | dict[str, Path]) -> str:
    shown = list(names)[:_SHOWN]
    return ", ".join(shown) + (", ..." if len(names) > _SHOWN else "")
