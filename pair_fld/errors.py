"""The one exception that the command line turns into a sentence and exit code 2, and the one for failed gates."""

from __future__ import annotations


class PairError(Exception):
    """A fault of the input or the call: what it is about, what was expected, what was found, what to do.

    `str()` gives the whole message in one or two plain sentences.
    """

    def __init__(self, subject: object, expected: str, found: str, remedy: str) -> None:
        self.subject, self.expected, self.found, self.remedy = str(subject), expected, found, remedy
        super().__init__(f"{subject}: expected {expected}, found {found}. {remedy}")

    def __reduce__(self) -> tuple[type[PairError], tuple[str, str, str, str]]:
        """Exceptions are pickled with their message alone; this one comes out of another process whole."""
        return type(self), (self.subject, self.expected, self.found, self.remedy)


class GateError(Exception):
    """A measurement broke a bound (budget, parity, NME): exit code 1. The message names bound and value."""
