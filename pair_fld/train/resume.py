"""Whether a stopped run may be continued, and which of its settings may change on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pair_fld.config import Strict, read_recorded
from pair_fld.errors import PairError
from pair_fld.io import read_record, write_json
from pair_fld.runs import RECORD
from pair_fld.train.run_history import CHANGES, EPOCHS, changed_settings, flatten

LAST = "last.pt"
_FACTS = {
    "data_hash": "data",
    "kind": "stage",
    "teacher": "teacher",
    "checkpoint": "checkpoint",
    "ranges": "calibrated ranges",
    "processes": "number of processes",
}
_ANEW = "Use another --out, or --overwrite to start anew."


@dataclass(frozen=True)
class SettingChanges:
    """The settings in which a continued run differs from what its run.json holds.

    Attributes:
        out: the run folder.
        config: the new settings.
        changed: dotted key -> (old, new).
        learning: the keys that have an effect on steps still to be trained only.
    """

    out: Path
    config: dict[str, Any]
    changed: dict[str, tuple[Any, Any]]
    learning: tuple[str, ...]

    def note(self, step: int, steps: int, epochs: int) -> dict[str, Any]:
        """Write the changes into run.json, and return the entry that lists all that were ever made.

        Args:
            step: steps that the run has done.
            steps: steps that it is to have in the end.
            epochs: epochs that it is to have in the end.

        Raises:
            PairError: no steps are left to be trained, so a change would have no effect.
        """
        old = read_record(self.out / RECORD, "the record of the run to resume")
        made: list[dict[str, Any]] = list(old[CHANGES]) if isinstance(old.get(CHANGES), list) else []
        if self.changed and step < steps:
            made += [{"step": step, "key": key, "old": was, "new": now} for key, (was, now) in self.changed.items()]
            write_json(self.out / RECORD, old | {"config": self.config, EPOCHS: epochs, CHANGES: made})
        elif mute := [key for key in self.changed if key in self.learning]:
            late = f"{mute[0]}={self.changed[mute[0]][1]} comes too late"
            message = f"{self.out}: {late}: the run has done {step} of {steps} steps."
            remedy = "Raise train.epochs to train on, or use --overwrite to start anew."
            raise PairError(self.out, message=message, remedy=remedy)
        return {CHANGES: made} if made else {}


@dataclass(frozen=True)
class ResumeRules:
    """Which settings of a stage may change when a run of it is continued.

    Attributes:
        config: the section that a run's record holds.
        learning: dotted keys that shape the steps still to be trained.
        running: dotted keys that shape how steps are computed and kept.
        lr_key: dotted key of the learning rate, for remedies.
    """

    config: type[Strict]
    learning: tuple[str, ...] = field(default=())
    running: tuple[str, ...] = field(default=())
    lr_key: str = "lr"

    def changes(self, out: Path, record: dict[str, Any]) -> SettingChanges:
        """The settings in which a call differs from the run in `out` that it wants to continue.

        Args:
            out: the run folder.
            record: provenance of the call.

        Raises:
            PairError: another setting differs (the message names its key and both values), or the data, the stage, the
                teacher, the checkpoint or the number of processes.
        """
        old = self._record(out)
        for key, what in _FACTS.items():
            if old.get(key) != record.get(key):
                then, now = _short(old, key), _short(record, key)
                found = f"another {what} than the one it was started with ({then}, now {now})"
                raise PairError(out, f"the same {what} to resume", found, _ANEW)
        changed = changed_settings(flatten(old["config"]), flatten(record["config"]))
        may_change = (*self.learning, *self.running)
        if refused := [key for key in changed if key not in may_change]:
            found = ", ".join(f"{key}={changed[key][1]} (it was started with {changed[key][0]})" for key in refused)
            remedy = f"Only {', '.join(may_change)} may change. {_ANEW}" if may_change else _ANEW
            raise PairError(out, "the same configuration to resume", found, remedy)
        return SettingChanges(out, record["config"], changed, self.learning)

    def _record(self, out: Path) -> dict[str, Any]:
        """The run's record; settings that are newer than the run have their defaults."""
        path = out / RECORD
        old = read_record(path, "the record of the run to resume")
        if not isinstance(old.get("config"), dict):
            raise PairError(path, "the record of the run to resume", "one without a configuration", _ANEW)
        try:
            config = read_recorded(self.config, old["config"])
            old = old | {"config": config.model_dump(mode="json")}
        except ValidationError:
            pass  # another version's settings: they differ, as they should
        return {"processes": 1} | old


def _short(record: dict[str, Any], key: str) -> str:
    return str(record.get(key, "none"))[:12]
