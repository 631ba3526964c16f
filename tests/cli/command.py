"""Run `pairfld` in this process, with what it printed and the exit code a shell would see."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from unittest import mock

from pair_fld.cli.app import main


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


def pairfld(*arguments: str) -> Done:
    """Programming errors come through as exceptions; only the exits that users see are caught."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["pairfld", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
    return Done(code, out.getvalue(), err.getvalue())
