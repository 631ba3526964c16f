"""Every teacher's recipe learns: its net and losses, narrowed, know 32 faces by heart."""

from __future__ import annotations

from pathlib import Path

import pytest

from pair_fld.config import StageConfig, load_section
from pair_fld.data.dataset import FaceDataset
from pair_fld.models import build_model
from tests.train.recipes import SAME, STUDENTS, TEACHERS, known_by_heart, narrowed, rendered_faces
from tests.train.settings import train


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    return rendered_faces(tmp_path_factory.mktemp("faces") / "pack")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TEACHERS))
def test_every_teacher_learns(name: str, faces: FaceDataset, tmp_path: Path) -> None:
    train(narrowed("teacher", name, TEACHERS[name]), faces, tmp_path / "run")
    assert known_by_heart(tmp_path / "run", faces) < 1


@pytest.mark.parametrize("name", sorted(TEACHERS))
def test_configured_teachers_can_be_built(name: str) -> None:
    """In full size: nothing but a pass over two blank images, which `build_model` makes."""
    assert build_model(load_section(StageConfig, "teacher", name).model).output_kind == "heatmap"


@pytest.mark.parametrize("section", ["teacher", "student"])
def test_no_configured_recipe_is_left_out(section: str) -> None:
    names = {path.stem for path in (Path(__file__).parents[2] / "configs" / section).glob("*.yaml")}
    tested = {"teacher": set(TEACHERS) | SAME, "student": set(STUDENTS)}
    assert names == tested[section]
