"""Packed crops: decoded once, memory-mapped ever after.

A dataset is a folder:
    shard-00000.npy ...  (n, P, P, 3) uint8 BGR loose crops, `SHARD` faces each, the last one shorter
    faces.npz            one row per face, see `FaceTable`
    run.json             configuration, sources, report of what was left out, provenance, content hash
    detector-calibration.json   how far a detector's frames are off on the training images, where it was measured

`_pack`: pixels of a loose crop, the P x P square that `frame.frame_matrix(frame, P, pack_margin)` cuts around the frame
of the labelled points. The face is upright and of one size in it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from pair_fld.config import DataConfig, read_recorded
from pair_fld.errors import PairError
from pair_fld.io import read_json, read_record
from pair_fld.runs import RECORD
from pair_fld.runtime.calibration import calibration_from_json
from pair_fld.runtime.file_kind import known_error

SHARD = 4096
DETECTOR_FILE = "detector-calibration.json"  # in the folder: how far a detector's frames are off on its images


class Split(IntEnum):
    """What a face is used for."""

    TRAIN = 0  # to learn from
    VALID = 1  # to choose by: best epoch, settings
    TEST = 2  # to measure, once


class LabelSource(IntEnum):
    """Who made the labels of a face."""

    HUMAN = 0
    MACHINE = 1
    NONE = 2


SPLITS = tuple(split.name.lower() for split in Split)
LABEL_SOURCES = tuple(source.name.lower() for source in LabelSource)

_AGAIN = "Run pairfld prepare again."
# Of every column: the shape of a row, and the kinds of type (numpy's letters) that may hold it.
_COLUMNS: dict[str, tuple[tuple[int, ...], str]] = {
    "points": ((51, 2), "f"), "point_mask": ((51,), "b"), "frame": ((4,), "f"), "matrix": ((2, 3), "f"),
    "split": ((), "iu"), "source": ((), "iu"), "label": ((), "iu"), "path": ((), "U"), "hash": ((), "U"),
    "visibility": ((51,), "iu"), "tags": ((), "U"),
}  # fmt: skip
_LATER = ("visibility", "tags")  # columns that datasets of earlier versions lack


@dataclass(frozen=True)
class FaceTable:
    """The labels of N faces, one row per face.

    Attributes:
        points: (N, 51, 2) float32 _pack.
        point_mask: (N, 51) bool, True = labelled.
        frame: (N, 4) float32, the face frame: centre x, y and size in _pack pixels, roll in degrees; for unlabelled
            faces that of the configured box.
        matrix: (N, 2, 3) float64, image -> packed crop.
        split: (N,) uint8, a `Split`.
        source: (N,) int16, index into the configured sources.
        label: (N,) uint8, a `LabelSource`.
        path: (N,) str, relative to the data root.
        hash: (N,) str, sha256 of the loose crop's bytes.
        visibility: (N, 51) uint8, 0 seen, 1 behind something, 2 hidden by the head itself; zeros where not stated.
        tags: (N,) str, attributes that the source states, separated by commas.
    """

    points: np.ndarray
    point_mask: np.ndarray
    frame: np.ndarray
    matrix: np.ndarray
    split: np.ndarray
    source: np.ndarray
    label: np.ndarray
    path: np.ndarray
    hash: np.ndarray
    visibility: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    tags: np.ndarray = field(default_factory=lambda: np.zeros(0, str))

    def __post_init__(self) -> None:
        # tables of earlier versions, and those of callers that have neither
        if not self.visibility.size:
            object.__setattr__(self, "visibility", np.zeros(self.point_mask.shape, np.uint8))
        if not self.tags.size:
            object.__setattr__(self, "tags", np.full(len(self.point_mask), "", str))

    def __len__(self) -> int:
        return len(self.points)

    def save(self, path: Path) -> None:
        """Write as .npz."""
        with path.open("wb") as stream:
            np.savez(stream, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> FaceTable:
        """Read as .npz; PairError for a file that is damaged, or not of this form."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                if "box" in stored and "frame" not in stored:
                    raise PairError(path, "faces packed by their frames", "boxes of an earlier version", _AGAIN)
                rows = {f.name: stored[f.name] for f in fields(cls) if f.name in stored or f.name not in _LATER}
        except PairError:
            raise
        except Exception as error:  # of zip, zlib, numpy or memory: damaged bytes make the reader raise anything
            reason = known_error(path) or f"a damaged one ({' '.join(str(error).split()) or type(error).__name__})"
            raise PairError(path, "the rows of a dataset", reason, _AGAIN) from None
        count = len(rows["points"]) if rows["points"].ndim else 0
        for name, column in rows.items():
            shape, kinds = _COLUMNS[name]
            if column.shape != (count, *shape) or column.dtype.kind not in kinds:
                found = f"{column.shape} of {column.dtype} for {count} faces"
                raise PairError(path, f"a row of {name} {shape} per face", found, _AGAIN)
        return cls(**rows)


class FaceDataset:
    """A prepared data folder, opened for reading.

    Attributes:
        faces: the rows. record: run.json. config: what was prepared. size: P. margin: pack_margin.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / RECORD).is_file() or not (self.folder / "faces.npz").is_file():
            raise PairError(
                self.folder, "a folder that `pairfld prepare` finished", "none", "Run pairfld prepare first."
            )
        self.record = read_record(self.folder / RECORD, "a prepare record")
        # as prepared: --root and overrides may have made it differ from the recipe's
        self.config = self._config()
        self.size, self.margin = self.config.pack_size, self.config.pack_margin
        self.data_hash = str(self.record.get("data_hash"))
        self.faces = FaceTable.load(self.folder / "faces.npz")
        for name, limit in (("source", len(self.config.sources)), ("split", len(Split)), ("label", len(LabelSource))):
            numbers = getattr(self.faces, name)
            if len(numbers) and not 0 <= numbers.min() <= numbers.max() < limit:
                found = f"{numbers.min()} to {numbers.max()}"
                raise PairError(self.folder / "faces.npz", f"numbers of a {name} from 0 to {limit - 1}", found, _AGAIN)
        self._maps = [self._shard(path) for path in sorted(self.folder.glob("shard-*.npy"))]
        self._shards = [shard.view(np.ndarray) for shard in self._maps]
        sizes = [len(shard) for shard in self._shards]
        if sum(sizes) != len(self.faces) or any(size != SHARD for size in sizes[:-1]):
            found = f"{sum(sizes)} crops for {len(self.faces)} rows"
            raise PairError(self.folder, "as many crops as rows", found, _AGAIN)

    def _config(self) -> DataConfig:
        try:
            return read_recorded(DataConfig, self.record.get("config"))
        except (ValidationError, TypeError) as error:  # TypeError: a list or mapping where a word was
            found = " ".join(str(error).split())[:200]
            raise PairError(self.folder / RECORD, "the settings of pairfld prepare", found, _AGAIN) from None

    def _shard(self, path: Path) -> np.memmap:
        expected = f"crops (n, {self.size}, {self.size}, 3) of uint8"
        try:
            shard = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError, SyntaxError) as error:
            reason = known_error(path) or f"a truncated or damaged file ({' '.join(str(error).split())})"
            raise PairError(path, expected, reason, _AGAIN) from None
        if not isinstance(shard, np.memmap) or shard.shape[1:] != (self.size, self.size, 3) or shard.dtype != np.uint8:
            found = f"{shard.shape} of {shard.dtype}" if isinstance(shard, np.ndarray) else "another file"
            raise PairError(path, expected, found, _AGAIN)
        return shard

    def __len__(self) -> int:
        return len(self.faces)

    def images(self, indices: np.ndarray) -> np.ndarray:
        """Loose crops at the given indices, in their order: (n, P, P, 3) uint8 BGR, copied out of the memory map."""
        out = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        for shard in np.unique(indices // SHARD):  # not every shard: a large dataset has thousands
            places = np.flatnonzero(indices // SHARD == shard)
            out[places] = self._shards[shard][indices[places] - shard * SHARD]
        return out

    def crops(self, indices: np.ndarray) -> list[np.ndarray]:
        """Loose crops at the given indices, in their order, each (P, P, 3) uint8 BGR: read-only views of the map."""
        return [self._shards[index // SHARD][index % SHARD] for index in indices.tolist()]

    @property
    def streams(self) -> bool:
        """Whether the crops are too many to stay in memory: more than half of the machine's."""
        try:
            memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):  # Windows
            return False
        return len(self) * self.size**2 * 3 > memory / 2

    def prefetch(self, indices: np.ndarray) -> None:
        """Ask the system to have these crops in memory soon; returns at once. Without it a dataset that is larger than
        memory is read a page and a face at a time."""
        if not hasattr(mmap, "MADV_WILLNEED"):  # Windows
            return
        length = self.size**2 * 3
        for index in indices.tolist():
            shard = self._maps[index // SHARD]
            first = shard.offset % mmap.ALLOCATIONGRANULARITY + index % SHARD * length
            start = first - first % mmap.PAGESIZE
            shard._mmap.madvise(mmap.MADV_WILLNEED, start, first + length - start)  # type: ignore[attr-defined]

    def indices(self, split: Split, *, labelled: bool = False) -> np.ndarray:
        """Row numbers of a split; `labelled` leaves out faces without points."""
        chosen = self.faces.split == split
        if labelled:
            chosen &= self.faces.label != LabelSource.NONE
        return np.flatnonzero(chosen)

    def weights(self, changes: Mapping[str, float] | None = None) -> np.ndarray:
        """(N,) float: each face's sampling weight, that of its source, or of `changes` where they name the source.

        Raises:
            PairError: a name in `changes` that no source has.
        """
        own = {source.name: source.weight for source in self.config.sources}
        unknown = sorted(set(changes or {}) - set(own))
        if unknown:
            raise PairError(
                "train.source_weights", f"sources among {', '.join(own)}", ", ".join(unknown), "Correct the names."
            )
        return np.array(list((own | dict(changes or {})).values()))[self.faces.source]


def stored_covariance(folder: Path) -> np.ndarray | None:
    """(4, 4) of a detector's frames on the training images, see `frame.frame_residual`; None where not measured.

    Raises:
        PairError: the file that holds it is damaged.
    """
    path = folder / DETECTOR_FILE
    if not path.is_file():
        return None
    try:
        return calibration_from_json(read_json(path, "a detector calibration")["calibration"]).covariance
    except (KeyError, TypeError, ValueError) as error:
        raise PairError(path, "a detector calibration", str(error), f"Remove it. {_AGAIN}") from None
