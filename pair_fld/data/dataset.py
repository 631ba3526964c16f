"""Packed crops: decoded once, memory-mapped ever after.

A pack is a folder:
    shard-00000.npy ...  (n, P, P, 3) uint8 BGR loose crops, `SHARD` faces each, the last one shorter
    faces.npz            one row a face, see `Faces`
    run.json             configuration, sources, report of what was left out, provenance, content hash

`_pack` is the frame of a loose crop: pixels of the P x P crop that `geometry.crop_matrix(box, P, pack_margin)` cuts.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import DataConfig, read_recorded
from pair_fld.errors import PairError
from pair_fld.io import read_json
from pair_fld.runs import RECORD

SHARD = 4096
TRAIN, VALID, TEST = 0, 1, 2  # learn from; choose by (best epoch, settings); measure once
SPLITS = ("train", "valid", "test")
HUMAN, MACHINE, NONE = 0, 1, 2
LABEL_KINDS = ("human", "machine", "none")


@dataclass(frozen=True)
class Faces:
    """One row a face (N rows).

    points: (N, 51, 2) float32 _pack. valid: (N, 51) bool. box: (N, 4) float32 _pack, x0 y0 x1 y1 of the 51 points
    (for unlabelled faces the configured box). matrix: (N, 2, 3) float64 picture -> pack.
    split: (N,) uint8 TRAIN, VALID or TEST. source: (N,) int16 index into the configured sources. label: (N,) uint8
    HUMAN, MACHINE or NONE. path: (N,) str, relative to the data root. hash: (N,) str, sha256 of the loose crop's bytes.
    """

    points: np.ndarray
    valid: np.ndarray
    box: np.ndarray
    matrix: np.ndarray
    split: np.ndarray
    source: np.ndarray
    label: np.ndarray
    path: np.ndarray
    hash: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    def save(self, path: Path) -> None:
        """Write as .npz."""
        with path.open("wb") as stream:
            np.savez(stream, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Faces:
        with np.load(path, allow_pickle=False) as rows:
            return cls(**{f.name: rows[f.name] for f in fields(cls)})


class Pack:
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
        self.record: dict[str, Any] = read_json(self.folder / RECORD, "a prepare record")
        self.faces = Faces.load(self.folder / "faces.npz")
        # as prepared: --root and overrides may have made it differ from the recipe's
        self.config = read_recorded(DataConfig, self.record["config"])
        self.size, self.margin = self.config.pack_size, self.config.pack_margin
        self.data_hash: str = self.record["data_hash"]
        self._maps: list[np.memmap] = [np.load(p, mmap_mode="r") for p in sorted(self.folder.glob("shard-*.npy"))]
        self._shards = [shard.view(np.ndarray) for shard in self._maps]
        if sum(len(s) for s in self._shards) != len(self.faces):
            found = f"{sum(len(s) for s in self._shards)} crops for {len(self.faces)} rows"
            raise PairError(self.folder, "as many crops as rows", found, "Run pairfld prepare again.")

    def __len__(self) -> int:
        return len(self.faces)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Loose crops of the given rows, in their order: (n, P, P, 3) uint8 BGR, copied out of the memory map."""
        out = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for shard in np.unique(rows // SHARD):  # not every shard: a large pack has thousands
            mine = np.flatnonzero(rows // SHARD == shard)
            out[mine] = self._shards[shard][rows[mine] - shard * SHARD]
        return out

    def crops(self, rows: np.ndarray) -> list[np.ndarray]:
        """Loose crops of the given rows, in their order, each (P, P, 3) uint8 BGR: read-only views of the map."""
        return [self._shards[row // SHARD][row % SHARD] for row in rows.tolist()]

    @property
    def streams(self) -> bool:
        """Whether the crops are too many to stay in memory: more than half of the machine's."""
        try:
            memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):  # Windows
            return False
        return len(self) * self.size**2 * 3 > memory / 2

    def prefetch(self, rows: np.ndarray) -> None:
        """Ask the system to have these crops in memory soon; returns at once. Without it a pack that is larger than
        memory is read a page and a face at a time."""
        if not hasattr(mmap, "MADV_WILLNEED"):  # Windows
            return
        length = self.size**2 * 3
        for row in rows.tolist():
            shard = self._maps[row // SHARD]
            first = shard.offset % mmap.ALLOCATIONGRANULARITY + row % SHARD * length
            start = first - first % mmap.PAGESIZE
            shard._mmap.madvise(mmap.MADV_WILLNEED, start, first + length - start)  # type: ignore[attr-defined]

    def rows(self, split: int, *, labelled: bool = False) -> np.ndarray:
        """Row numbers of a split; `labelled` leaves out faces without points."""
        chosen = self.faces.split == split
        if labelled:
            chosen &= self.faces.label != NONE
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
