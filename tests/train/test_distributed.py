"""Two processes with batches of B train what one process with batches of 2 B trains."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pair_fld.config import AugmentConfig, ModelConfig, StageConfig
from pair_fld.data.dataset import FaceDataset
from pair_fld.errors import PairError
from pair_fld.models.checkpoint import load_checkpoint
from pair_fld.train.batches import BatchSource
from pair_fld.train.builder import build_train_step
from pair_fld.train.distributed import Distributed, pick_device
from pair_fld.train.metric_log import METRICS
from tests.train.settings import HEAT, SMALL, TINY, stage, train, weights

ROOT = Path(__file__).parents[2]
LIVELY = AugmentConfig(rotation=5, scale=0.05, shift=0.02, photometric=0.5, grey=0.3, blur=0.3, noise=0.3, occlude=0.5)
CHILD = """
import sys
from pathlib import Path
from pair_fld.config import StageConfig
from pair_fld.data.dataset import FaceDataset
from tests.train.settings import train
stage = StageConfig.model_validate_json(sys.argv[1])
train(stage, FaceDataset(sys.argv[2]), Path(sys.argv[3]), report=lambda p: print(p.losses["loss"], flush=True))
"""


def two_processes(stage: StageConfig, dataset: Path, out: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = out.with_suffix(".py")
    script.write_text(CHILD)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, str(script), stage.model_dump_json(), str(dataset), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def curve(out: Path) -> np.ndarray:
    with (out / METRICS).open() as stream:
        rows = list(csv.DictReader(stream))
    return np.array([[float(row[name]) for name in ("nme_outer_corners_percent", "lr", "loss")] for row in rows])


@pytest.mark.slow
def test_two_processes_follow_the_curve_of_one(dot_pack: Path, tmp_path: Path) -> None:
    settings = {"lr": 3e-3, "epochs": 3, "losses": {"wing": 1.0, "heatmap": 0.5}, "augment": LIVELY}
    alone: list[float] = []
    train(
        stage(HEAT, batch_size=8, **settings), FaceDataset(dot_pack), tmp_path / "one",
        report=lambda p: alone.append(p.losses["loss"]),
    )  # fmt: skip
    said = two_processes(stage(HEAT, batch_size=4, **settings), dot_pack, tmp_path / "two")
    together = [float(line) for line in said.split()]
    assert len(together) == 15  # 3 epochs of 40 faces in steps of 8, told by the first process only
    # before rounding has grown: batch norms that do not share statistics are off by 1e-5 at once, 7e-5 two steps on
    np.testing.assert_allclose(together[:3], alone[:3], rtol=2e-6)
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert len(one) == len(two) == 3
    # Rounding is all that differs, and Adam's division by small roots makes it grow: measured 5e-4 in NME and 6e-5 in
    # the loss after 15 steps, in which they move by 6e-2 and 3e-2
    np.testing.assert_allclose(two[:, 0], one[:, 0], rtol=3e-3)
    np.testing.assert_allclose(two[:, 1:], one[:, 1:], rtol=2e-4)
    assert load_checkpoint(tmp_path / "two/last.pt")["record"]["processes"] == 2
    with pytest.raises(PairError, match="expected the same number of processes to resume"):
        train(stage(HEAT, batch_size=4, **settings), FaceDataset(dot_pack), tmp_path / "two", resume=True)


@pytest.mark.slow
def test_norms_with_activations_and_masked_curves_are_shared_too(dot_pack: Path, tmp_path: Path) -> None:
    """timm's norms hold their activations, and a curve with a missing point weighs nothing, in one part or another."""
    net = ModelConfig(arch="timm", input_size=64, options={"width": 16, "head": "attention"})
    settings = {"epochs": 1, "losses": {"star": 1.0, "awing_points": 10.0, "awing_edges": 10.0}, "augment": LIVELY}
    alone: list[float] = []
    train(stage(net, batch_size=8, **settings), FaceDataset(dot_pack), tmp_path / "one",
        report=lambda p: alone.append(p.losses["loss"]))  # fmt: skip
    said = two_processes(stage(net, batch_size=4, **settings), dot_pack, tmp_path / "two")
    together = [float(line) for line in said.split()]
    assert len(together) == len(alone) == 5
    np.testing.assert_allclose(together[:3], alone[:3], rtol=1e-5)


def test_parts_of_a_team_make_up_the_whole(dot_pack: Path) -> None:
    dataset, cpu = FaceDataset(dot_pack), torch.device("cpu")
    whole = BatchSource(dataset, stage(TINY, batch_size=8, augment=LIVELY), cpu).draw(3)
    small = stage(TINY, batch_size=4, augment=LIVELY)
    parts = [BatchSource(dataset, small, cpu, distributed=Distributed(rank, 2)).draw(3) for rank in (0, 1)]
    assert torch.equal(torch.cat([images for _, images, _ in parts]), whole[1])
    torch.testing.assert_close(torch.cat([batch.points for _, _, batch in parts]), whole[2].points, atol=1e-6, rtol=0)


def test_accumulated_parts_weigh_as_one_batch(dot_pack: Path, tmp_path: Path) -> None:
    """With batch norm as a fixed function, a step in two parts is the step in one: its loss, a mean over weights that
    the parts hold unequally, and the weights after it."""
    dataset = FaceDataset(dot_pack)
    valid = np.arange(51) < np.arange(len(dataset))[:, None]  # face i has i labels
    dataset.faces = replace(dataset.faces, point_mask=valid)
    losses = []
    for size, parts in ((8, 1), (4, 2)):
        source = BatchSource(dataset, stage(SMALL, batch_size=size, grad_accumulation=parts), torch.device("cpu"))
        step = build_train_step(stage(SMALL, batch_size=size, grad_accumulation=parts), torch.device("cpu"), steps=10)
        step.state.model.eval()
        step(*source.draw(0))
        losses.append((step.read_stats().losses["loss"], step.state.model.net.head.weight.detach().clone()))  # type: ignore[union-attr]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-6)
    torch.testing.assert_close(losses[0][1], losses[1][1], atol=1e-6, rtol=0)


def test_shares_cover_everything_once() -> None:
    for count in (0, 1, 5, 8):
        parts = [np.arange(count)[Distributed(rank, 4).shard(count)] for rank in range(4)]
        assert np.concatenate(parts).tolist() == list(range(count))


def test_a_nonsense_environment_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(PairError, match="environment variable WORLD_SIZE: expected a whole number"):
        Distributed.init(pick_device("cpu"))


@pytest.mark.slow
def test_torchrun_starts_the_command_line(dot_pack: Path, tmp_path: Path) -> None:
    teacher = stage(TINY, epochs=1, batch_size=4)
    student = stage(TINY, epochs=1, batch_size=4, losses={"kd_wing": 1.0})
    stages = {"teacher": teacher.model_dump(mode="json"), "student": student.model_dump(mode="json")}
    recipe = {"name": "tiny", "data": "synthetic", "quant": "int8", "budget": "pair2024", **stages}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    place = ["--recipe", str(tmp_path / "recipe.yaml"), "--work", str(tmp_path / "w"), "--dataset", str(dot_pack)]
    for verb in ("train-teacher", "distill"):
        command = [*launcher, "-m", "pair_fld", verb, *place, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["step"] == 5, done.stdout  # 40 faces in steps of 2 x 4; one process answers
    assert weights(tmp_path / "w/student/last.pt").isfinite().all()
