"""What long work reports while it runs: steps done and sentences. The caller decides where they are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Say = Callable[[str], None]  # takes one sentence for the person who waits


class Progress(Protocol):
    """Takes the number of steps done, the number of all steps, and a note such as the current loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def no_progress(done: int, total: int, note: str = "") -> None:
    """A `Progress` that shows nothing."""


def say_nothing(sentence: str) -> None:
    """A `Say` that shows nothing."""


def counted(number: int, noun: str) -> str:
    """A number and a noun that agree.

    >>> counted(1, "face"), counted(0, "face")
    ('1 face', '0 faces')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
