"""What `--help` prints, held as text: tests/cli/help/VERB.txt, 100 columns wide.

After a change of wording: PAIRFLD_UPDATE_TEXTS=1 python -m pytest tests/cli/test_help.py, then read the difference.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from pair_fld.cli.app import app
from tests.cli.command import pairfld

FOLDER = Path(__file__).parent / "help"
UPDATE = "PAIRFLD_UPDATE_TEXTS"


def verbs(group: TyperGroup, *path: str) -> Iterator[tuple[str, ...]]:
    """Every verb of the command line, groups included, as the words that call it."""
    yield path
    for name, command in sorted(group.commands.items()):
        if isinstance(command, TyperGroup):
            yield from verbs(command, *path, name)
        else:
            yield (*path, name)


ROOT = typer.main.get_command(app)
assert isinstance(ROOT, TyperGroup)
VERBS = list(verbs(ROOT))


def rendered(verb: tuple[str, ...]) -> str:
    done = pairfld(*verb, "--help")
    assert (done.code, done.err) == (0, "")
    return "".join(line.rstrip() + "\n" for line in done.out.strip("\n").splitlines())


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: " ".join(verb) or "pairfld")
def test_help_is_what_was_read(verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    path, text = FOLDER / f"{'-'.join(verb) or 'pairfld'}.txt", rendered(verb)
    if os.environ.get(UPDATE):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    expected = path.read_text(encoding="utf-8") if path.is_file() else ""
    assert text == expected, f"changed on purpose? {UPDATE}=1 python -m pytest {Path(__file__).name}"


def test_no_help_is_kept_for_a_verb_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {"-".join(verb) or "pairfld" for verb in VERBS}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: " ".join(verb) or "pairfld")
def test_no_hand_written_default_and_no_markup_is_left(verb: tuple[str, ...]) -> None:
    """Rich takes brackets for markup: what is written as [default: x] in a help text is never shown."""
    command: object = ROOT
    for word in verb:
        assert isinstance(command, TyperGroup)
        command = command.commands[word]
    texts = [getattr(parameter, "help", None) or "" for parameter in getattr(command, "params", [])]
    assert not [text for text in texts if "[default" in text or "[bold" in text]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb], ids=" ".join)
def test_every_verb_shows_an_example_that_it_takes(verb: tuple[str, ...]) -> None:
    command: Any = ROOT
    for word in verb:
        command = command.commands[word]
    if isinstance(command, TyperGroup):
        return
    examples = re.findall(r"Example: `pairfld ([^`]+)`", command.help or command.callback.__doc__ or "")
    assert examples, f"add a line to its docstring: Example: `pairfld {' '.join(verb)} ...`"
    for example in examples:
        words = shlex.split(example)
        assert tuple(words[: len(verb)]) == verb
        command.make_context(words[0], words[len(verb) :])  # raises for an option or argument that is not there
