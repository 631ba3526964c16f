"""Whether a stopped run may be continued, and which of its settings may change on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pair_fld.config import StageConfig, read_recorded
from pair_fld.errors import PairError
from pair_fld.io import read_json, write_json
from pair_fld.runs import RECORD
from pair_fld.train.run_history import CHANGES, differences, flatten

_LEARNING = ("train.lr", "train.epochs")  # they shape what is still to be learnt, not what was
_RUNNING = ("train.threads", "train.checkpoint_minutes")  # they shape how it is computed and kept
MAY_CHANGE = (*_LEARNING, *_RUNNING)
_FACTS = (("data_hash", "data"), ("kind", "stage"), ("teacher", "teacher"), ("processes", "number of processes"))


def changed_settings(out: Path, record: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings of `MAY_CHANGE` that differ from those the run in `out` has, as dotted key -> (old, new).

    Args:
        record: provenance of the call that wants to continue the run.

    Raises:
        PairError: another setting differs (the message names its key and both values), or the data, the stage, the
            teacher or the number of processes.
    """
    old = _record(out)
    for key, what in _FACTS:
        if old.get(key) != record.get(key):
            found = f"another {what} than the one it was started with ({_short(old, key)}, now {_short(record, key)})"
            remedy = "Use another --out, or --overwrite to start anew."
            raise PairError(out, f"the same {what} to resume", found, remedy)
    changed = differences(flatten(old["config"]), flatten(record["config"]))
    if refused := [key for key in changed if key not in MAY_CHANGE]:
        found = ", ".join(f"{key}={changed[key][1]} (it was started with {changed[key][0]})" for key in refused)
        remedy = f"Only {', '.join(MAY_CHANGE)} may change. Use another --out, or --overwrite to start anew."
        raise PairError(out, "the same configuration to resume", found, remedy)
    return changed


def note_changes(
    out: Path, record: dict[str, Any], changed: dict[str, tuple[Any, Any]], step: int, steps: int
) -> list[dict[str, Any]]:
    """Write the changed settings of a run into its run.json, and return all that were ever made.

    Args:
        step: steps that the run has done. steps: those it is to have in the end.

    Raises:
        PairError: nothing is left to be trained, so that a change would have no effect.
    """
    old = _record(out)
    made: list[dict[str, Any]] = old.get(CHANGES, [])
    if not changed:
        return made
    if step >= steps:
        if mute := [key for key in changed if key in _LEARNING]:
            found = f"{mute[0]}={changed[mute[0]][1]} for a run that has done {step} of {steps} steps"
            remedy = "Raise train.epochs to train on, or use --overwrite to start anew."
            raise PairError(out, "steps that are still to be trained", found, remedy)
        return made
    made += [{"step": step, "key": key, "old": was, "new": now} for key, (was, now) in changed.items()]
    write_json(out / RECORD, old | {"config": record["config"], CHANGES: made})
    return made


def _record(out: Path) -> dict[str, Any]:
    """The run's record; settings that are newer than the run have their defaults."""
    path = out / RECORD
    old = read_json(path, "the record of the run to resume")
    if not isinstance(old, dict) or not isinstance(old.get("config"), dict):
        remedy = "Use another --out, or --overwrite to start anew."
        raise PairError(path, "the record of the run to resume", "one without a configuration", remedy)
    try:
        config = read_recorded(StageConfig, old["config"])
        old = old | {"config": config.model_dump(mode="json")}
    except ValidationError:
        pass  # another version's settings: they differ, as they should
    return {"processes": 1} | old


def _short(record: dict[str, Any], key: str) -> str:
    return str(record.get(key, "none"))[:12]
