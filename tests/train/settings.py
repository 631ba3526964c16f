"""Small stages that train in seconds, for the tests of this folder and the processes they start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pair_fld.config import AugmentConfig, ModelConfig, StageConfig, TrainConfig
from pair_fld.data.dataset import FaceDataset
from pair_fld.models.checkpoint import load_checkpoint
from pair_fld.progress import Say, say_nothing
from pair_fld.train.distill import distill, train_teacher
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.trainer import Reporter

CALM = AugmentConfig(flip=0, rotation=5, scale=0.05, shift=0.02, photometric=0, grey=0, blur=0, noise=0, occlude=0)
SMALL = ModelConfig(
    arch="coord_net", input_size=64, options={"stages": [[2, 24, 1, 2], [2, 32, 1, 2], [2, 48, 1, 2]], "neck": 32}
)
TINY = ModelConfig(arch="coord_net", input_size=32, options={"stem": 8, "stages": [[1, 8, 1, 2]], "neck": 8})
HEAT = ModelConfig(arch="heatmap_unet", input_size=64, options={"widths": [32, 48], "blocks": [1, 1]})


def stage(model: ModelConfig = SMALL, **changes: object) -> StageConfig:
    settings: dict = {"epochs": 2, "batch_size": 8, "lr": 3e-3, "warmup_epochs": 0.2, "ema_decay": 0.9, "amp": False,
                      "losses": {"wing": 1.0}, "augment": CALM, "threads": 1}  # fmt: skip
    return StageConfig(model=model, train=TrainConfig(**(settings | changes)))


def train(config: StageConfig, dataset: FaceDataset, out: Path, *, init_from: Path | None = None,
          grow_from: Path | None = None, report: Reporter | None = None, say: Say = say_nothing,
          **options: Any) -> Path:  # fmt: skip
    """`train_teacher` into the folder `out`; options as of RunSpec."""
    run = RunSpec(out, **options)
    return train_teacher(config, dataset, run, init_from=init_from, grow_from=grow_from, report=report, say=say)


def train_student(config: StageConfig, dataset: FaceDataset, teachers: Sequence[Path], out: Path, *,
                  cache: Path | None = None, report: Reporter | None = None, **options: Any) -> Path:  # fmt: skip
    """`distill` into the folder `out`; options as of RunSpec."""
    return distill(config, dataset, teachers, RunSpec(out, **options), cache=cache, report=report)


def weights(path: Path) -> torch.Tensor:
    state = load_checkpoint(path)
    return torch.cat([state[k][n].flatten().float() for k in ("model", "ema") for n in sorted(state[k])])
