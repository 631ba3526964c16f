"""The exception that the command line turns into one sentence and exit code 2, and the one for failed gates."""

from __future__ import annotations

from typing import overload


class PairError(Exception):
    """An error of the input or of the call: what it concerns, what was expected, what was found, what to do.

    `str()` is the whole message: "SUBJECT: expected EXPECTED, found FOUND. REMEDY". Where that form twists,
    `message` stands in its place before the remedy; it must then name the subject itself.

    >>> print(PairError("face.jpg", "a photograph", "an empty file", "Copy it again."))
    face.jpg: expected a photograph, found an empty file. Copy it again.
    >>> print(PairError("x*.jpg", message="No images match 'x*.jpg'.", remedy="Correct the pattern."))
    No images match 'x*.jpg'. Correct the pattern.
    """

    @overload
    def __init__(self, subject: object, expected: str, found: str, remedy: str) -> None: ...

    @overload
    def __init__(self, subject: object, *, message: str, remedy: str) -> None: ...

    def __init__(
        self, subject: object, expected: str = "", found: str = "", remedy: str = "", *, message: str = ""
    ) -> None:
        self.subject, self.expected, self.found, self.remedy = str(subject), expected, found, remedy
        self.message = message or f"{subject}: expected {expected}, found {found}."
        super().__init__(self.message, remedy)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"

    def __reduce__(self) -> tuple[type[PairError], tuple[str, str, str, str], dict[str, str]]:
        """Comes out of another process with all its parts (by default, exceptions are pickled with `args` alone)."""
        return type(self), (self.subject, self.expected, self.found, self.remedy), {"message": self.message}


def missing_package(error: ImportError) -> PairError:
    """What stands in the place of an import that failed: another package, or a library of the system that it needs.

    >>> print(missing_package(ModuleNotFoundError("No module named 'typer'", name="typer")))
    pairfld needs the package typer, which is not installed. Run make setup, or pip install . in the project's folder.
    """
    if isinstance(error, ModuleNotFoundError) and error.name:
        name = error.name.partition(".")[0]
        message = f"pairfld needs the package {name}, which is not installed."
        remedy = "Run make setup, or pip install . in the project's folder."
        return PairError("installation", message=message, remedy=remedy)
    remedy = "Run make setup, or pip install what is missing (opencv-python-headless needs no display libraries)."
    return PairError("installation", "packages that Python can import", str(error), remedy)


class GateError(Exception):
    """A measurement broke a bound (budget, parity, NME): exit code 1. The message names bound and value."""
