"""The training runs below a folder, from their records and metrics; no checkpoint is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from pair_fld.config import DetectorConfig, QatConfig, StageConfig, Strict, current_keys
from pair_fld.errors import PairError
from pair_fld.io import read_record
from pair_fld.runs import RECORD
from pair_fld.train.lock import is_locked
from pair_fld.train.metric_log import METRICS, NME, curve, read_rows

CHANGES, EPOCHS = "changes", "epochs"  # in run.json
BLOCKS = "▁▂▃▄▅▆▇█"
# of each kind of run, its settings and those that have no default
_REQUIRED = ("model.arch", "train.epochs", "train.losses.any")
_STAGE = (StageConfig, {"model": {"arch": ""}, "train": {"epochs": 1, "losses": {"any": 1.0}}}, _REQUIRED)
_SETTINGS: dict[str, tuple[type[Strict], dict[str, Any], tuple[str, ...]]] = {
    "detector": (DetectorConfig, {"steps": 1}, ("steps",)),
    "qat": (QatConfig, {}, ()),
}


@dataclass(frozen=True)
class RunInfo:
    """A training run.

    Attributes:
        name: its folder below the root.
        folder: its folder.
        kind: "teacher", "student", "detector" or "qat".
        epochs_done: finished epochs.
        epochs: epochs of the whole run.
        best_nme_outer_corners_percent: NME of the best epoch on the validation split, None if not measured.
        state: "training" (a process is), "finished", or "stopped" (--resume continues it).
        changed: time of its newest file.
    """

    name: str
    folder: Path
    kind: str
    epochs_done: int
    epochs: int
    best_nme_outer_corners_percent: float | None
    state: str
    changed: datetime

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "folder": str(self.folder), "changed": self.changed.isoformat(timespec="seconds")}


def list_runs(root: Path, damaged: list[PairError] | None = None) -> list[RunInfo]:
    """The training runs below `root`, newest last; other stages' folders are passed over.

    Args:
        root: folder to search.
        damaged: gets the errors of the runs that cannot be read, which are passed over too.
    """
    runs = []
    for path in sorted(root.rglob(RECORD)):
        try:
            record = read_record(path, "a run record")
            if _has_epochs(record):
                runs.append(_info(root, path.parent, record))
        except PairError as error:
            if damaged is not None:
                damaged.append(error)
    return sorted(runs, key=lambda run: (run.changed, run.name))


def find_run(root: Path, name: str) -> RunInfo:
    """The run whose folder below `root` is `name` or ends in it; PairError for none and for several."""
    runs = list_runs(root)
    wanted = name.strip("/")
    exact = [run for run in runs if run.name == wanted or run.folder == Path(name)]
    found = exact or [run for run in runs if run.name.endswith(wanted)]
    if len(found) != 1:
        said = "none" if not found else f"{len(found)} ({', '.join(run.name for run in found)})"
        known = ", ".join(run.name for run in runs) or "none"
        raise PairError(root, f"one run named {name!r}", said, f"Runs there: {known}.")
    return found[0]


def configuration(run: RunInfo) -> dict[str, Any]:
    """A run's settings as dotted keys; those that are newer than the run have their defaults."""
    return defaults(run.kind) | flatten(
        current_keys(read_record(run.folder / RECORD, "a run record").get("config", {}))
    )


def changes(run: RunInfo) -> list[dict[str, Any]]:
    """The settings that were changed when the run was resumed: [{"step", "key", "old", "new"}, ...]."""
    made = read_record(run.folder / RECORD, "a run record").get(CHANGES)
    entries = made if isinstance(made, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and {"step", "key", "old", "new"} <= entry.keys()]


def defaults(kind: str = "teacher") -> dict[str, Any]:
    """The settings of a kind of run that have a default, with that value, as dotted keys."""
    config, required, without = _SETTINGS.get(kind, _STAGE)
    tree = flatten(config.model_validate(required).model_dump(mode="json"))
    return {key: value for key, value in tree.items() if key not in without}


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """A nested mapping as dotted keys; lists stay values."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def changed_settings(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ -> (old, new), with None for a key that one of them lacks."""
    keys = [*new, *(key for key in old if key not in new)]
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def curves(run: RunInfo) -> dict[str, list[float]]:
    """The columns of the run's metrics.csv, one value per epoch."""
    rows = read_rows(run.folder / METRICS)
    names = [name for name in (rows[0] if rows else {}) if name not in ("epoch", "step")]
    return {name: curve(rows, name) for name in names}


def sparkline(values: list[float], width: int = 40) -> str:
    """A curve as one line of text, scaled from its lowest to its highest value and averaged to `width` columns."""
    if not values:
        return ""
    columns = min(width, len(values))
    edges = [i * len(values) // columns for i in range(columns + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    if span == 0:
        return BLOCKS[0] * columns
    return "".join(BLOCKS[round((value - low) / span * (len(BLOCKS) - 1))] for value in means)


def _has_epochs(record: dict[str, Any]) -> bool:
    return EPOCHS in record or "epochs" in _train(record)


def _train(record: dict[str, Any]) -> dict[str, Any]:
    config = record.get("config")
    train = config.get("train") if isinstance(config, dict) else None
    return train if isinstance(train, dict) else {}


def _info(root: Path, folder: Path, record: dict[str, Any]) -> RunInfo:
    rows = read_rows(folder / METRICS)
    done, epochs = int(rows[-1]["epoch"]) if rows else 0, record.get(EPOCHS, _train(record).get("epochs"))
    if not isinstance(epochs, int):
        remedy = "Move the folder away, or train again."
        raise PairError(folder / RECORD, "a number of epochs", repr(epochs)[:40], remedy)
    state = "training" if is_locked(folder) else "finished" if done >= epochs else "stopped"
    newest = max(file.stat().st_mtime for file in folder.iterdir() if file.is_file() and file.name[0] != ".")
    name = folder.relative_to(root).as_posix()
    best = min(curve(rows, NME), default=None)
    when = datetime.fromtimestamp(newest, UTC).astimezone()
    return RunInfo(name, folder, str(record.get("kind", "?")), done, epochs, best, state, when)
