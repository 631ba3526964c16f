"""The speed measurement measures, and its straightforward loader draws what the engine draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pair_fld.benchmarks.naive_loader import NaiveLoader, draw_targets
from pair_fld.benchmarks.training import ROWS, measure, profile
from pair_fld.data.dataset import FaceDataset, Split
from tests.train.settings import CALM, TINY, stage


def test_measure_gives_speeds_and_their_ratios(dot_pack: Path) -> None:
    said: list[tuple[int, int]] = []
    speed = measure(
        stage(TINY, losses={"kd_wing": 1.0}), FaceDataset(dot_pack), device="cpu", repeats=1, seconds=0.05,
        progress=lambda done, total: said.append((done, total)),
    )  # fmt: skip
    assert said == [(1, 1)]
    assert set(speed.to_json()) == set(ROWS)
    assert speed.ratio == pytest.approx(speed.data / speed.naive)
    assert speed.data_percent == pytest.approx(100 * speed.training / speed.data)


def test_profile_names_operators(dot_pack: Path) -> None:
    assert "convolution" in profile(stage(TINY), FaceDataset(dot_pack), device="cpu", steps=1)


def test_naive_loader_draws_the_same_view(dot_pack: Path) -> None:
    """Undisturbed, both loaders cut the same crop; the engine's rounds to whole grey levels."""
    dataset = FaceDataset(dot_pack)
    still = CALM.model_copy(update={"rotation": 0.0, "scale": 0.0, "shift": 0.0})
    config = stage(TINY, augment=still)
    from pair_fld.train.batches import BatchSource

    source = BatchSource(dataset, config, torch.device("cpu"))
    _, images, batch = source.draw(0)
    naive = NaiveLoader(dataset, config, dataset.indices(Split.TRAIN))
    assert naive.rows.tolist() == dataset.indices(Split.TRAIN).tolist()
    row = int(source.indices_of(0)[2])
    image, points, maps = naive.sample(naive.rows.tolist().index(row), np.random.default_rng(0), decode=False)
    np.testing.assert_allclose(points, batch.points[2].numpy(), atol=1e-5)
    assert np.abs(image - images[2].numpy()).mean() < 0.5 / 127.5
    assert maps.shape == (51 + 8, 8, 8)
    assert next(naive.samples(decode=True)) == 8


def test_gaussians_peak_at_the_points() -> None:
    points = np.zeros((51, 2), np.float32)
    points[0] = (2 * 3 + 1) / 16 - 1, (2 * 5 + 1) / 16 - 1  # cell (3, 5) of 16
    maps = draw_targets(points, 16)
    assert np.unravel_index(maps[0].argmax(), maps[0].shape) == (5, 3)
    assert maps[0, 5, 3] == pytest.approx(1)
    assert maps[0, 5, 4] == pytest.approx(np.exp(-0.5))
    assert maps[51].max() > 0  # the brow's polyline
