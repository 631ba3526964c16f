"""The folder of a training run: claimed or continued, locked, and freed of what a killed process left."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pair_fld.io import write_json
from pair_fld.runs import RECORD, claim_folder
from pair_fld.train.distributed import Distributed
from pair_fld.train.lock import is_locked, locked
from pair_fld.train.resume import LAST, ResumeRules, SettingChanges


@dataclass(frozen=True)
class RunSpec:
    """Where a run is kept, and how it starts.

    Attributes:
        out: run folder. Under torchrun, all processes must see the same one.
        resume: continue the run in `out`. Some settings may differ from those it has; they hold from there on.
        overwrite: replace an earlier run in `out`.
        device: see `distributed.pick_device`.
        inputs: files that the run reads and that `overwrite` must not remove.
    """

    out: Path
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    inputs: Iterable[str | Path] = field(default=())


@contextmanager
def open_run(
    run: RunSpec, stage: str, record: dict[str, Any], rules: ResumeRules, distributed: Distributed
) -> Generator[SettingChanges | None]:
    """Hold a run folder; yields what a continued run changes, None for a new run.

    Raises:
        PairError: the folder cannot be claimed, another process trains in it, or the run in it differs in more than
            its rules allow.
    """
    with ExitStack() as stack:
        changes: SettingChanges | None = None
        if distributed.is_main:
            if run.resume and (run.out / LAST).is_file():
                _refuse_locked(run.out)
                changes = rules.changes(run.out, record)
            else:
                _refuse_locked(run.out)
                # a run that stopped before its first checkpoint has nothing to lose
                unstarted = run.resume and (run.out / RECORD).is_file()
                claim_folder(run.out, stage, overwrite=run.overwrite or unstarted, inputs=run.inputs)
                write_json(run.out / RECORD, record)
            stack.enter_context(locked(run.out))
            for partial in run.out.glob(".*.tmp*"):  # of a process that was killed while writing
                partial.unlink()
        yield distributed.broadcast(changes)


def _refuse_locked(out: Path) -> None:
    if is_locked(out):
        with locked(out):  # raises, unless it was released just now
            pass
