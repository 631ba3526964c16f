"""A dataset blown up holds the same faces over and over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pair_fld.benchmarks import enlarge_dataset
from pair_fld.benchmarks.enlarge_dataset import enlarge
from pair_fld.data.dataset import FaceDataset
from pair_fld.errors import PairError


def test_faces_repeat_over_several_shards(dot_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, count = FaceDataset(dot_pack), 4096 + 60
    enlarge(small, tmp_path / "big", count)
    big = FaceDataset(tmp_path / "big")
    assert len(big) == count
    assert len(list((tmp_path / "big").glob("shard-*.npy"))) == 2
    for row in (0, 47, 48, 4100, count - 1):
        assert np.array_equal(big.crops(np.array([row]))[0], small.crops(np.array([row % 48]))[0])
        assert np.array_equal(big.faces.points[row], small.faces.points[row % 48])
    with pytest.raises(PairError, match="expected a new or empty output folder"):
        enlarge(small, tmp_path / "big", 10)
    monkeypatch.setattr(
        "sys.argv", ["enlarge_dataset", str(dot_pack), str(tmp_path / "huge"), "--faces", "1000000000000"]
    )
    with pytest.raises(SystemExit, match="2"):
        enlarge_dataset.main()
    assert not (tmp_path / "huge").exists()
