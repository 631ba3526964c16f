"""Every student's recipe learns from a teacher: its net and losses, narrowed, know 32 faces by heart."""

from __future__ import annotations

from pathlib import Path

import pytest

from pair_fld.data.dataset import FaceDataset
from pair_fld.train.resume import LAST
from tests.train.recipes import STUDENTS, TEACHERS, known_by_heart, narrowed, rendered_faces
from tests.train.settings import train, train_student

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    return rendered_faces(tmp_path_factory.mktemp("faces") / "pack")


@pytest.fixture(scope="module")
def teacher(faces: FaceDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hourglass that knows the faces."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    train(narrowed("teacher", "hourglass", TEACHERS["hourglass"]), faces, folder)
    return folder / LAST


@pytest.mark.parametrize("name", sorted(STUDENTS))
def test_every_student_learns(name: str, faces: FaceDataset, teacher: Path, tmp_path: Path) -> None:
    train_student(narrowed("student", name, STUDENTS[name]), faces, [teacher], tmp_path / "run", cache=tmp_path)
    assert known_by_heart(tmp_path / "run", faces) < 1
