"""A pack that does not fit into memory is asked for ahead; what comes is the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pair_fld.data.dataset import Pack
from pair_fld.train.batches import BatchSource
from tests.train.settings import TINY, stage


def test_only_what_exceeds_half_the_memory_streams(dot_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack, crops = Pack(dot_pack), 48 * 96 * 96 * 3
    assert not pack.streams
    for memory, expected in ((2 * crops - 2, True), (2 * crops, False)):
        monkeypatch.setattr(os, "sysconf", lambda name, m=memory: m if name == "SC_PHYS_PAGES" else 1)
        assert pack.streams == expected


def test_asking_ahead_changes_nothing(dot_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack, asked = Pack(dot_pack), []
    plain = BatchSource(pack, stage(TINY), torch.device("cpu"))
    streamed = BatchSource(pack, stage(TINY), torch.device("cpu"))
    streamed.streams = True
    really = pack.prefetch
    monkeypatch.setattr(pack, "prefetch", lambda rows: (asked.append(rows.tolist()), really(rows)))
    for step in range(5):  # an epoch
        assert torch.equal(plain.draw(step)[1], streamed.draw(step)[1])
    assert asked == [plain.rows_of(4).tolist()]  # four steps ahead, and not beyond the epoch
    pack.prefetch(np.arange(48))
    pack.prefetch(np.zeros(0, int))
