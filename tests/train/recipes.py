"""Recipes narrowed to what a core trains in seconds, for the tests that train each until it knows 32 faces by heart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import AugmentConfig, ModelConfig, StageConfig, load_recipe, load_section
from pair_fld.data.dataset import FaceDataset
from pair_fld.data.packing.prepare import prepare
from pair_fld.evaluate.metrics import nme
from pair_fld.models.checkpoint import load_model
from pair_fld.train.predict_dataset import predict_dataset
from pair_fld.train.resume import LAST

STILL = AugmentConfig(flip=0, rotation=0, scale=0, shift=0, photometric=0, grey=0, blur=0, noise=0, occlude=0)
SMALL_SWIN = {"window_size": 4, "embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]}

# Of every configured net: what makes it narrower, the side of its crops, the steps and the rate that it needs.
Case = tuple[dict[str, Any], int, int, float]
TEACHERS: dict[str, Case] = {
    "swinv2": ({"width": 32, "backbone_options": SMALL_SWIN}, 32, 600, 1e-2),
    "hrnet": ({"backbone": "hrnet_w18_small", "width": 32}, 32, 450, 1e-2),
    "hourglass": ({"width": 32, "depth": 2}, 64, 250, 1e-2),
    "unet128": ({"widths": [24, 32, 48], "blocks": [1, 1, 1]}, 64, 450, 1e-2),
}
STUDENTS: dict[str, Case] = {
    "mobilevitv2": ({}, 64, 300, 6e-3),
    "mobilevitv2-paper": ({"width": 32}, 64, 350, 1e-2),
    "heat96": ({}, 64, 180, 6e-3),
    "tiny": ({}, 64, 180, 6e-3),
    "nano": ({}, 64, 240, 6e-3),
    "small": ({}, 64, 180, 6e-3),
    "heat64": ({}, 64, 180, 6e-3),
    "coord96": ({}, 64, 220, 6e-3),
    "simcc96": ({}, 64, 360, 2e-2),
}
# unet64 is unet128 with fewer channels, and a second generation is a student of the first with the same net
SAME = {"unet64", "unet128-second"}


def rendered_faces(folder: Path) -> FaceDataset:
    """32 rendered faces to learn, packed into the new folder."""
    source = {"name": "faces", "kind": "synthetic", "split": "train", "count": 32, "seed": 3}
    changes = [f"data.sources=[{source}]", "data.pack_size=96", "data.valid_fraction=0"]
    prepare(load_recipe("synthetic", changes).data, folder)
    return FaceDataset(folder)


def narrowed(section: str, name: str, case: Case) -> StageConfig:
    """The configured stage with its own losses, small enough for a test: still views, all faces in every step.

    (With fewer, 32 faces would be learnt as well, but by the statistics of batches: the running ones would not fit.)
    """
    options, side, steps, lr = case
    stage = load_section(StageConfig, section, name)
    merged = {**stage.model.options, **options}
    model = ModelConfig(arch=stage.model.arch, input_size=side, margin=stage.model.margin, options=merged)
    changes = {"epochs": 1, "steps_per_epoch": steps, "batch_size": 32, "lr": lr, "weight_decay": 0.0, "ema_decay": 0.9,
               "warmup_epochs": 0.05, "amp": False, "threads": 0, "source_weights": {}, "augment": STILL}  # fmt: skip
    distill = stage.distill.model_copy(
        update={"teacher_views": 1}
    )  # a teacher that knows faces by heart knows no mirrored ones
    return stage.model_copy(
        update={"model": model, "train": stage.train.model_copy(update=changes), "distill": distill}
    )


def known_by_heart(run: Path, dataset: FaceDataset) -> float:
    """NME (outer corners) in percent on the faces that a run was trained on."""
    model, _ = load_model(run / LAST)
    points = predict_dataset(model, dataset, np.arange(len(dataset))).points
    return float(nme(points, dataset.faces.points, dataset.faces.point_mask).mean() * 100)
