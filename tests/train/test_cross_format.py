"""Labels of 49, 51, 68 and 98 points train one model: what a scheme lacks is masked, never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pair_fld.config import SourceConfig
from pair_fld.data.dataset import FaceDataset, LabelSource
from pair_fld.data.packing.prepare import prepare
from pair_fld.data.schemes import scheme_of
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.train.batches import BatchSource
from pair_fld.train.resume import LAST
from tests.data.labelled_folders import SIDE, add_face, data_config
from tests.train.settings import HEAT, stage, train, weights

# the points of each scheme that become one of the 51
SCHEMES = {n: tuple(np.flatnonzero(scheme_of(n).weights.any(axis=0)).tolist()) for n in (49, 51, 68, 98)}
MISSING_IN_49 = (43, 47)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    """Four faces of each scheme, a source a scheme."""
    root = tmp_path_factory.mktemp("mixed")
    for count, index in SCHEMES.items():
        for k in range(4):
            seed = 10 * count + k
            rng = np.random.default_rng(seed)
            labelled = [i for i in range(51) if count != 49 or i not in MISSING_IN_49]
            points = np.zeros((count, 2))
            points[list(index)] = 60 + 45 * MEAN_FACE[labelled] + rng.normal(0, 2, (len(labelled), 2))
            if count != 49:  # the jaw and the like lie around the 51 points, and count for nothing
                others = [i for i in range(count) if i not in index]
                points[others] = rng.uniform(5, SIDE - 5, (len(others), 2))
            add_face(root / str(count), f"{seed}", seed, points)
    sources = [SourceConfig(name=str(n), kind="ibug", path=str(n), split="train") for n in SCHEMES]
    prepare(data_config(root, *sources, pack_size=64, near_duplicate_distance=0), root / "pack")
    return FaceDataset(root / "pack")


def test_each_scheme_masks_what_it_lacks(mixed: FaceDataset) -> None:
    assert len(mixed) == 16
    source = BatchSource(mixed, stage(HEAT, batch_size=16), torch.device("cpu"))
    _, _, batch = source.draw(0)
    rows = source.indices_of(0)
    scheme = np.array([int(mixed.config.sources[s].name) for s in mixed.faces.source[rows]])
    for count in SCHEMES:
        weight = batch.weight[torch.from_numpy(scheme == count)]
        missing = list(MISSING_IN_49) if count == 49 else []
        assert (weight[:, missing] == 0).all()
        assert (weight.sum(dim=1) == 51 - len(missing)).all()
    # lids and brows of 98 points lie only near the 51-point scheme's
    assert set(scheme[mixed.faces.label[rows] == LabelSource.MACHINE].tolist()) == {98}


@pytest.mark.slow
def test_one_model_trains_on_all_of_them(mixed: FaceDataset, tmp_path: Path) -> None:
    said: list[float] = []
    losses = {"wing": 1.0, "heatmap": 1.0}
    train(stage(HEAT, batch_size=16, epochs=80, losses=losses), mixed, tmp_path / "run",
        report=lambda p: said.append(p.losses["loss"]))  # fmt: skip
    assert said[-1] < 0.9 * said[0]
    assert weights(tmp_path / "run" / LAST).isfinite().all()
