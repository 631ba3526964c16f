"""`pairfld runs` and `pairfld benchmark training` as a user meets them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pair_fld.benchmarks.training import ROWS
from pair_fld.data.dataset import FaceDataset
from tests.cli.command import pairfld
from tests.train.settings import TINY, stage, train


@pytest.fixture(scope="module")
def root(dot_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    train(stage(TINY, epochs=2), FaceDataset(dot_pack), folder / "a/teacher")
    train(stage(TINY, epochs=1, lr=1e-3), FaceDataset(dot_pack), folder / "b/teacher")
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A recipe of two tiny stages, as a file."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    stages = {"teacher": stage(TINY, epochs=4000), "student": stage(TINY)}
    sections = {name: section.model_dump(mode="json") for name, section in stages.items()}
    tree = {"name": "tiny", "data": "synthetic", "quant": "int8", "budget": "pair2024", **sections}
    path.write_text(json.dumps(tree))  # JSON is YAML
    return str(path)


def test_runs_are_listed(root: Path) -> None:
    done = pairfld("runs", "--folder", str(root))
    assert done.code == 0
    assert "a/teacher" in done.out
    assert "finished" in done.out
    listed = json.loads(pairfld("runs", "--folder", str(root), "--json").out)
    assert [(run["name"], run["epochs_done"]) for run in listed] == [("a/teacher", 2), ("b/teacher", 1)]


def test_one_run_is_shown_against_another(root: Path) -> None:
    done = pairfld("runs", "show", "a/teacher", "--folder", str(root), "--compare-to", "b/teacher")
    assert done.code == 0, done.err
    assert "train.lr" in done.out
    assert "train.batch_size" not in done.out
    tree = json.loads(pairfld("runs", "show", "a/teacher", "--folder", str(root), "--json").out)
    assert tree["differences"]["train.batch_size"] == [64, 8]
    assert len(tree["curves"]["loss"]) == 2


def test_changes_made_on_the_way_are_shown(dot_pack: Path, tmp_path: Path) -> None:
    for epochs in (1, 2):
        train(stage(TINY, epochs=epochs), FaceDataset(dot_pack), tmp_path / "run", resume=True)
    assert "from step 5: train.epochs = 2 instead of 1" in pairfld("runs", "show", "run", "--folder", str(tmp_path)).out
    tree = json.loads(pairfld("runs", "show", "run", "--folder", str(tmp_path), "--json").out)
    assert tree["changes"] == [{"step": 5, "key": "train.epochs", "old": 1, "new": 2}]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("run.json", b"{ damaged", "expected a run record, found damaged JSON"),
        ("run.json", b"[" * 5000, "expected a run record, found damaged JSON"),
        ("run.json", b'{"config": {"train": {"epochs": "x"}}}', "expected a number of epochs, found 'x'"),
        ("metrics.csv", b"epoch,loss\nmany,1\n", "expected the curves of a run, found a damaged file"),
        ("metrics.csv", b"loss\n1\n", "expected the curves of a run"),
        ("metrics.csv", b"epoch,loss\n1,2,3\n", "expected the curves of a run"),
        ("metrics.csv", b"epoch,\xff\xfe\n1,\xff\n", "expected the curves of a run"),
    ],
)
def test_a_damaged_run_does_not_hide_the_others(
    root: Path, tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    shutil.copytree(root, tmp_path / "root")
    (tmp_path / "root/b/teacher" / name).write_bytes(content)
    done = pairfld("runs", "--folder", str(tmp_path / "root"), "--json")
    assert done.code == 0, done.err
    assert [run["name"] for run in json.loads(done.out)] == ["a/teacher"]
    assert f"left out: {tmp_path}/root/b/teacher/{name}: {sentence}" in done.err


def test_unknown_runs_and_empty_folders(root: Path, tmp_path: Path) -> None:
    done = pairfld("runs", "show", "nothing", "--folder", str(root))
    assert done.code == 2
    assert "Runs there: a/teacher, b/teacher" in done.err
    assert "no training runs" in pairfld("runs", "--folder", str(tmp_path)).err


def test_bench_train_prints_both_stages(dot_pack: Path, recipe: str) -> None:
    done = pairfld(
        "benchmark",
        "training",
        "--recipe",
        recipe,
        "--dataset",
        str(dot_pack),
        "--repeats",
        "1",
        "--seconds",
        "0.1",
        "--json",
    )
    assert done.code == 0, done.err
    tree = json.loads(done.out)
    assert set(tree["teacher"]) == {*ROWS, "profile"}
    assert tree["student"]["ratio"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_training_ends_with_130(dot_pack: Path, recipe: str, tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "pair_fld", "train-teacher", "--recipe", recipe, "--dataset", str(dot_pack)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, "--work", str(tmp_path)], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()  # the first step is told at once
        process.send_signal(number)
        said = first + process.stderr.read()
    assert process.returncode == 130, said
    assert "--resume continues" in said
    assert "Traceback" not in said
    assert (tmp_path / "teacher/last.pt").is_file()
