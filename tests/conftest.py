"""What several test files share: where the shared data lie, and a small dataset made by hand."""

from __future__ import annotations

import os

# Tests run side by side, a process a core: more threads in each would only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

from pathlib import Path

import numpy as np
import pytest

from pair_fld.data.dataset import FaceTable, LabelSource, Split
from pair_fld.io import write_json


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: "learn" not in item.path.name)


SHARED = Path(os.environ.get("PAIRFLD_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real labelled faces; tests that need it are skipped only where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no real faces at {folder}")
    return folder


@pytest.fixture(scope="session")
def dot_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 48 images whose 51 points are visible as dots, so that a net can learn them in seconds.

    The points are one fixed layout, moved and scaled; each point is a dot of its own colour.
    """
    folder = tmp_path_factory.mktemp("dots")
    rng = np.random.default_rng(7)
    size, count = 96, 48
    layout = rng.uniform(-1, 1, (51, 2))
    layout[19], layout[28] = (-0.8, 0.0), (0.8, 0.0)  # outer eye corners apart: they are the normaliser
    colours = rng.integers(60, 255, (51, 3))
    images = np.zeros((count, size, size, 3), np.uint8)
    points = np.zeros((count, 51, 2), np.float32)
    for i in range(count):
        points[i] = layout * rng.uniform(18, 24) + rng.uniform(-3, 3, 2) + (size - 1) / 2
        for (x, y), colour in zip(np.rint(points[i]).astype(int), colours, strict=True):
            images[i, y - 1 : y + 2, x - 1 : x + 2] = colour
    valid = np.ones((count, 51), bool)
    valid[::5, 43] = False
    low, high = points.min(axis=1), points.max(axis=1)
    frame = np.column_stack([(low + high) / 2, (high - low).max(axis=1), np.zeros(count)]).astype(np.float32)
    split = np.where(np.arange(count) < 40, Split.TRAIN, Split.VALID).astype(np.uint8)
    label = np.where(np.arange(count) % 3 == 0, LabelSource.MACHINE, LabelSource.HUMAN).astype(np.uint8)
    names = np.array([f"dots/{i:03d}" for i in range(count)])
    np.save(folder / "shard-00000.npy", images)
    matrix = np.tile(np.eye(2, 3), (count, 1, 1))
    FaceTable(points, valid, frame, matrix, split, np.zeros(count, np.int16), label, names, names).save(
        folder / "faces.npz"
    )
    config = {"pack_size": size, "pack_margin": 2.2, "sources": [{"name": "dots", "kind": "synthetic"}]}
    write_json(folder / "run.json", {"config": config, "data_hash": "dots"})
    return folder
