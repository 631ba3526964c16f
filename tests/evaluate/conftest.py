"""An annotator's labels, small and exact."""

from __future__ import annotations

from pathlib import Path

import pytest

from pair_fld.annotators.fit_scheme import fit_scheme
from pair_fld.annotators.images import data_of
from pair_fld.annotators.pairs import lookup_of, read_pairs
from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.annotations import write_annotation
from tests.annotators.shapes import write_annotations, write_set

LEARNT, TESTED = range(60), range(500, 506)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """An annotator's answers on 60 faces, from which its map is learnt, and on the six of t; one of these it missed."""
    write_set(tmp_path, "a", LEARNT)
    write_set(tmp_path, "t", TESTED, (3.0, 0.0))
    folder = tmp_path / "labels"
    write_annotations(folder, tmp_path, {"a": LEARNT, "t": TESTED})
    for flip in (0, 1):
        write_annotation(folder, flip, f"t/images/{TESTED[0]}.png", None)
    source = SourceConfig(name="a", kind="ibug", path="a")
    data = DataConfig(sources=[source], root=str(tmp_path))
    fit_scheme(read_pairs(lookup_of(str(folder), data_of), [data]), ridges=(1e-3,))[0].save(folder / "map.npz")
    return folder
