"""A few seconds of the fuzzer, and proof that it sees what it is for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz import cases
from tests.fuzz.__main__ import main
from tests.fuzz.damage import ANY, BY_SUFFIX
from tests.fuzz.verbs import Verb


def test_some_damaged_inputs_of_every_kind(capfd: pytest.CaptureFixture[str]) -> None:
    """The verbs that need no trained net; a longer run is `python -m tests.fuzz --minutes 20`."""
    code = main(["--untrained", "--seed", "1", "--cases", "15", "--minutes", "30"])
    printed = capfd.readouterr()
    assert "15 cases tried with seed 1, 0 broke the rule" in printed.out, printed.err + printed.out
    assert code == 0


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch):
    """Put a program in the console's place."""

    def put(program) -> None:
        monkeypatch.setattr("pair_fld.cli.app.main", program)

    return put


def fails() -> None:
    raise KeyError("ema")


def is_silent() -> None:
    raise SystemExit(2)


def writes_over() -> None:
    Path("a.txt").write_text("other")


def strays() -> None:
    Path("b.txt").write_text("new")


def crashes() -> None:
    import os

    os.kill(os.getpid(), 9)


@pytest.mark.parametrize(
    ("program", "error"),
    [
        (fails, "exit code 99"),
        (is_silent, "failed without a sentence"),
        (writes_over, "'a.txt' was changed"),
        (strays, "'b.txt' was written"),
        (crashes, "exit code -9"),
    ],
)
def test_each_way_to_break_the_rule_is_seen(tmp_path: Path, console, program, error: str) -> None:
    console(program)
    (tmp_path / "world").mkdir()
    (tmp_path / "world/a.txt").write_text("one")
    (tmp_path / "world/c.bin").write_text("damaged")
    verb = Verb(("predict", "x"), ("c.bin",))
    outcome = cases.run_case(0, 0, tmp_path / "world", tmp_path / "case", [verb])
    assert outcome.errors[0] == error


def test_the_same_seed_makes_the_same_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = []
    for _ in range(2):
        Path("a.bin").write_bytes(bytes(range(256)))
        Path("b.bin").write_bytes(b"other")
        said.append([how(Path("a.bin"), random.Random(3)) for how in ANY if how.__name__ in ("flipped", "truncated")])
        said[-1].append(Path("a.bin").read_bytes())
    assert said[0] == said[1]


def test_kinds_of_files_have_damage_of_their_own() -> None:
    assert {".json", ".yaml", ".csv", ".pts", ".npz", ".npy", ".pt", ".onnx", ".tflite", ".zip"} <= set(BY_SUFFIX)
