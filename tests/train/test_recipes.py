"""Every recipe learns: its net and losses, narrowed to what two cores train in seconds, know 32 faces by heart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pair_fld.config import AugmentConfig, ModelConfig, StageConfig, load_recipe, load_section
from pair_fld.data.pack import Pack
from pair_fld.data.prepare import prepare
from pair_fld.evaluate.nme import nme
from pair_fld.models import build_model
from pair_fld.models.checkpoint import load_model
from pair_fld.train.loop import LAST, fit
from pair_fld.train.predict import predict_pack
from pair_fld.train.stages import distill

STILL = AugmentConfig(flip=0, rotation=0, scale=0, shift=0, photometric=0, grey=0, blur=0, noise=0, occlude=0)
SMALL_SWIN = {"window_size": 4, "embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]}
SMALL_HRNET = {"feature_location": ""}

# Of every configured net: what makes it narrower, the side of its crops, and the steps that it needs.
Case = tuple[dict[str, Any], int, int]
TEACHERS: dict[str, Case] = {
    "swinv2": ({"width": 32, "backbone_options": SMALL_SWIN}, 32, 600),
    "hrnet": ({"backbone": "hrnet_w18_small", "width": 32}, 32, 450),
    "hourglass": ({"width": 32, "depth": 2}, 64, 250),
    "unet128": ({"widths": [24, 32, 48], "blocks": [1, 1, 1]}, 64, 450),
}
STUDENTS: dict[str, Case] = {
    "mobilevitv2": ({}, 64, 200),
    "mobilevitv2-paper": ({"width": 32}, 64, 350),
    "heat96": ({}, 64, 150),
    "heat64": ({}, 64, 150),
    "coord96": ({}, 64, 150),
    "simcc96": ({}, 64, 300),
}
# unet64 is unet128 with fewer channels, and a second generation is a student of the first with the same net
SAME = {"unet64", "unet128-second"}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """32 rendered faces to learn."""
    source = {"name": "faces", "kind": "synthetic", "split": "train", "count": 32, "seed": 3}
    changes = [f"data.sources=[{source}]", "data.pack_size=96", "data.valid_fraction=0"]
    folder = tmp_path_factory.mktemp("faces") / "pack"
    prepare(load_recipe("synthetic", changes).data, folder)
    return Pack(folder)


def narrowed(section: str, name: str, case: Case) -> StageConfig:
    """The configured stage with its own losses, small enough for a test: still views, all faces in every step.

    (With fewer, 32 faces would be learnt as well, but by the statistics of batches: the running ones would not fit.)
    """
    options, side, steps = case
    stage = load_section(StageConfig, section, name)
    merged = {**stage.model.options, **options}
    model = ModelConfig(arch=stage.model.arch, input_size=side, margin=stage.model.margin, options=merged)
    changes = {"epochs": 1, "epoch_steps": steps, "batch_size": 32, "lr": 1e-2, "weight_decay": 0.0, "ema_decay": 0.9,
               "warmup_epochs": 0.05, "amp": False, "threads": 0, "weights": {}, "augment": STILL}  # fmt: skip
    return stage.model_copy(update={"model": model, "train": stage.train.model_copy(update=changes)})


def known_by_heart(run: Path, pack: Pack) -> float:
    """NME (outer corners) in percent on the faces that a run was trained on."""
    model, _ = load_model(run / LAST)
    points = predict_pack(model, pack, np.arange(len(pack))).points
    return float(nme(points, pack.faces.points, pack.faces.valid).mean() * 100)


@pytest.fixture(scope="module")
def teacher(faces: Pack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an hourglass that knows the faces."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    fit(narrowed("teacher", "hourglass", TEACHERS["hourglass"]), faces, folder, kind="teacher")
    return folder


def test_the_hourglass_learns(teacher: Path, faces: Pack) -> None:
    assert known_by_heart(teacher, faces) < 1


@pytest.mark.parametrize("name", sorted(set(TEACHERS) - {"hourglass"}))
def test_every_teacher_learns(name: str, faces: Pack, tmp_path: Path) -> None:
    fit(narrowed("teacher", name, TEACHERS[name]), faces, tmp_path / "run", kind="teacher")
    assert known_by_heart(tmp_path / "run", faces) < 1


@pytest.mark.parametrize("name", sorted(STUDENTS))
def test_every_student_learns(name: str, faces: Pack, teacher: Path, tmp_path: Path) -> None:
    distill(narrowed("student", name, STUDENTS[name]), faces, [teacher / LAST], tmp_path / "run", cache=tmp_path)
    assert known_by_heart(tmp_path / "run", faces) < 1


@pytest.mark.parametrize("section", ["teacher", "student"])
def test_no_configured_recipe_is_left_out(section: str) -> None:
    names = {path.stem for path in (Path(__file__).parents[2] / "configs" / section).glob("*.yaml")}
    tested = {"teacher": set(TEACHERS) | SAME, "student": set(STUDENTS)}
    assert names == tested[section]


@pytest.mark.parametrize("name", ["swinv2", "hrnet", "hourglass", "unet128"])
def test_configured_teachers_can_be_built(name: str) -> None:
    """In full size: nothing but a pass over two blank pictures, which `build_model` makes."""
    model = build_model(load_section(StageConfig, "teacher", name).model)
    assert model.output_kind == "heatmap"
