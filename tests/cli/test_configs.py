"""`pairfld configs`: what a user who has only the package installed can list, read and copy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pair_fld.config import load_recipe
from tests.cli.command import pairfld

CONFIGS = Path(__file__).parents[2] / "configs"


def test_every_file_is_listed_with_a_purpose() -> None:
    files = json.loads(pairfld("configs", "list", "--json").out)
    assert [f["name"] for f in files] == sorted(
        (p.relative_to(CONFIGS).with_suffix("").as_posix() for p in CONFIGS.glob("*/*.yaml")),
        key=lambda name: tuple(name.split("/")),
    )
    assert all(f["purpose"].strip() for f in files)
    students = pairfld("configs", "list", "student").out
    assert "student/heat96" in students
    assert "teacher/" not in students


def test_a_file_is_printed_as_it_is() -> None:
    assert pairfld("configs", "show", "heat96").out == (CONFIGS / "student/heat96.yaml").read_text(encoding="utf-8")


def test_a_copy_can_be_changed_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert pairfld("configs", "copy", "recipe/synthetic", "mine.yaml").code == 0
    recipe = Path("mine.yaml").read_text().replace("name: synthetic", "name: mine")
    Path("mine.yaml").write_text(recipe)
    assert load_recipe("mine.yaml").name == "mine"
    done = pairfld("configs", "copy", "recipe/synthetic", "mine.yaml")
    assert (done.code, "mine.yaml: expected no earlier results" in done.err) == (2, True)
    assert Path("mine.yaml").read_text() == recipe
    assert pairfld("configs", "copy", "recipe/synthetic", "mine.yaml", "--overwrite").code == 0
    assert "name: synthetic" in Path("mine.yaml").read_text()
    Path("folder").mkdir()
    assert pairfld("configs", "copy", "data/shared-faces", "folder").code == 0
    assert pairfld("configs", "copy", "budget/pair2024").code == 0
    assert Path("folder/shared-faces.yaml").is_file()
    assert Path("pair2024.yaml").is_file()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (["show", "nothing"], "There is no configuration 'nothing'. pairfld configs list names them."),
        (["show", "shared-faces"], "Name one of data/shared-faces, recipe/shared-faces."),
        (["list", "nothing"], "There is no section 'nothing'. Known sections: ablation, budget, convention, data, "),
        (["copy", "../setup"], "There is no configuration '../setup'."),
    ],
)
def test_unknown_names_are_sentences(call: list[str], expected: str) -> None:
    done = pairfld("configs", *call)
    assert done.code == 2
    assert expected in done.err
