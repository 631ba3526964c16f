"""A dataset that does not fit into memory is asked for ahead; a damaged one is a sentence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pair_fld.data.dataset import FaceDataset
from pair_fld.errors import PairError
from pair_fld.io import read_json, write_json
from pair_fld.train.batches import BatchSource
from tests.train.settings import TINY, stage


def test_only_what_exceeds_half_the_memory_streams(dot_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, crops = FaceDataset(dot_pack), 48 * 96 * 96 * 3
    assert not dataset.streams
    for memory, expected in ((2 * crops - 2, True), (2 * crops, False)):
        monkeypatch.setattr(os, "sysconf", lambda name, m=memory: m if name == "SC_PHYS_PAGES" else 1)
        assert dataset.streams == expected


def test_asking_ahead_changes_nothing(dot_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, asked = FaceDataset(dot_pack), []
    plain = BatchSource(dataset, stage(TINY), torch.device("cpu"))
    streamed = BatchSource(dataset, stage(TINY), torch.device("cpu"))
    streamed.streams = True
    really = dataset.prefetch
    monkeypatch.setattr(dataset, "prefetch", lambda rows: (asked.append(rows.tolist()), really(rows)))
    for step in range(5):  # an epoch
        assert torch.equal(plain.draw(step)[1], streamed.draw(step)[1])
    assert asked == [plain.indices_of(4).tolist()]  # four steps ahead, and not beyond the epoch
    dataset.prefetch(np.arange(48))
    dataset.prefetch(np.zeros(0, int))


def rows_with(**changes: np.ndarray) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with np.load(path) as stored:
            rows = dict(stored)
        np.savez(path, **rows | changes)

    return change


def cut(length: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[:length]) and None


def record_with(**changes: object) -> Callable[[Path], None]:
    return lambda path: write_json(path, read_json(path, "a record") | changes)


@pytest.mark.parametrize(
    ("name", "damage", "found"),
    [
        ("shard-00000.npy", cut(100_000), "expected crops .n, 96, 96, 3. of uint8, found a truncated or damaged file"),
        ("shard-00000.npy", cut(50), "found a truncated or damaged file"),
        ("shard-00000.npy", cut(0), "found an empty file"),
        ("shard-00000.npy", lambda path: np.save(path, np.zeros((48, 96, 96, 3), np.float32)), "of float32"),
        ("shard-00000.npy", lambda path: np.save(path, np.zeros((48, 80, 96, 3), np.uint8)), "48, 80, 96, 3"),
        ("shard-00000.npy", lambda path: np.save(path, np.zeros((47, 96, 96, 3), np.uint8)), "47 crops for 48 rows"),
        ("faces.npz", cut(9_000), "expected the rows of a dataset, found a truncated file"),
        ("faces.npz", cut(0), "found an empty file"),
        ("faces.npz", lambda path: np.savez(path, points=np.zeros(3)), "found a damaged one"),
        ("faces.npz", rows_with(points=np.zeros((48, 68, 2), np.float32)), "found .48, 68, 2. of float32 for 48 faces"),
        ("faces.npz", rows_with(point_mask=np.zeros((48, 51), np.float32)), "found .48, 51. of float32"),
        ("faces.npz", rows_with(split=np.full(48, 3, np.uint8)), "numbers of a split from 0 to 2, found 3 to 3"),
        ("faces.npz", rows_with(source=np.full(48, -1, np.int16)), "numbers of a source from 0 to 0, found -1 to -1"),
        ("run.json", cut(20), "expected a prepare record, found damaged JSON"),
        ("run.json", lambda path: path.write_text("[" * 5000), "found damaged JSON"),
        ("run.json", lambda path: path.write_text("[1]"), "found JSON of a list"),
        ("run.json", record_with(config=7), "expected the settings of pairfld prepare"),
        ("run.json", record_with(config={"sources": [{"name": "x"}]}), "expected the settings of pairfld prepare"),
    ],
)
def test_damaged_packs_are_sentences(
    dot_pack: Path, tmp_path: Path, name: str, damage: Callable[[Path], None], found: str
) -> None:
    shutil.copytree(dot_pack, tmp_path / "pack")
    damage(tmp_path / "pack" / name)
    with pytest.raises(PairError, match=found) as error:
        FaceDataset(tmp_path / "pack")
    assert str(error.value).startswith(str(tmp_path / "pack"))
