"""Lists of runs: what they tell is read from the files that training leaves."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from pair_fld.data.dataset import FaceDataset
from pair_fld.errors import PairError
from pair_fld.io import write_json
from pair_fld.train import run_history as history
from pair_fld.train.lock import locked
from pair_fld.train.metric_log import Scalars
from tests.train.settings import TINY, stage, train


@pytest.fixture(scope="module")
def root(dot_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished teacher, a student that stopped after one epoch of two, a folder that is no training run."""
    folder = tmp_path_factory.mktemp("runs")
    train(stage(TINY, epochs=2), FaceDataset(dot_pack), folder / "a/teacher")

    def report(progress) -> None:
        if progress.step == 7:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(stage(TINY, lr=1e-3), FaceDataset(dot_pack), folder / "b/student", report=report)
    write_json(folder / "a/data/run.json", {"config": {"sources": []}})
    (folder / "c").mkdir()
    (folder / "c/run.json").write_text("{ damaged")
    return folder


def test_runs_are_listed_with_their_state(root: Path) -> None:
    runs = {run.name: run for run in history.list_runs(root)}
    assert list(runs) == ["a/teacher", "b/student"]
    assert (runs["a/teacher"].state, runs["a/teacher"].epochs_done, runs["a/teacher"].kind) == (
        "finished",
        2,
        "teacher",
    )
    assert (runs["b/student"].state, runs["b/student"].epochs_done) == ("stopped", 1)
    assert runs["a/teacher"].best_nme_outer_corners_percent == min(history.curves(runs["a/teacher"])[history.NME])
    with locked(root / "b/student"):
        assert history.find_run(root, "student").state == "training"


def test_find_run_wants_exactly_one(root: Path) -> None:
    assert history.find_run(root, "student").name == "b/student"
    for name, found in (("nothing", "found none"), ("", r"found 2 \(a/teacher, b/student\)")):
        with pytest.raises(PairError, match=found):
            history.find_run(root, name)


def test_differences_from_defaults_and_another_run(root: Path) -> None:
    teacher, student = (history.configuration(history.find_run(root, name)) for name in ("teacher", "student"))
    assert history.changed_settings(teacher, student) == {"train.lr": (3e-3, 1e-3)}
    changed = history.changed_settings(history.defaults(), teacher)
    assert changed["train.batch_size"] == (64, 8)
    assert changed["model.arch"] == (None, "coord_net")
    assert "train.grad_clip" not in changed


def test_sparkline_by_hand() -> None:
    assert history.sparkline([0, 7]) == "▁█"
    assert history.sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert history.sparkline([3, 3, 3]) == "▁▁▁"
    assert history.sparkline([]) == ""
    # pairs (0, 2), (4, 6) average to 1 and 5: the ends of the scale
    assert history.sparkline([0, 2, 4, 6], width=2) == "▁█"


def test_tensorboard_is_written_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            said.append((Path(folder).name, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            said.append((name, value, step))

        def flush(self) -> None: ...

        def close(self) -> None: ...

    module = ModuleType("torch.utils.tensorboard.writer")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", ModuleType("torch.utils.tensorboard"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", module)
    Scalars(tmp_path, 5).add(10, {"loss": 2.0, "nme": None})
    assert said == [("tensorboard", 6), ("loss", 2.0, 10)]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)  # as if it were not installed
    Scalars(tmp_path, 5).add(10, {"loss": 2.0})
    assert len(said) == 2
