"""Where a model comes from, step by step: data, teacher, student, file. What was not recorded is absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pair_fld.errors import PairError
from pair_fld.export.quantization.formats import precision_of
from pair_fld.io import file_hash

_SHOWN = 12  # digits of a hash


@dataclass(frozen=True)
class Step:
    """title: data, teacher, student or file. lines: what is known of it, hashes cut to twelve digits."""

    title: str
    lines: tuple[str, ...]


def lineage(
    trained: Mapping[str, Any], packed: Mapping[str, Any], file: Path, metadata: Mapping[str, Any] | None = None
) -> tuple[Step, ...]:
    """The steps that led to a file.

    Args:
        trained: the record of the training run, as run.json, a checkpoint or a model's metadata hold it.
        packed: the record of `pairfld package`, which knows the data's sources; empty where there is none.
        file: the run's checkpoint, the model or the archive.
        metadata: of an exported model.

    Raises:
        PairError: a record holds something else than such records do.
    """
    try:
        steps = [
            Step("data", tuple(_data(trained, packed))),
            Step("teacher", tuple(_teacher(trained))),
            Step("student" if trained.get("teacher") else "training", tuple(_training(trained))),
            Step("file", tuple(_file(file, metadata))),
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        remedy = "Run the stage that wrote it again."
        raise PairError(file, "a record of how it was trained", f"a damaged one ({reason})", remedy) from None
    return tuple(step for step in steps if step.lines)


def _data(trained: Mapping[str, Any], packed: Mapping[str, Any]) -> list[str]:
    lines = []
    if data_hash := trained.get("data_hash"):
        lines.append(f"data hash {str(data_hash)[:_SHOWN]}")
    sources = (packed.get("data_report") or {}).get("sources") or []
    learnt = [source for source in sources if source.get("train")]
    if learnt:
        faces = sum(source["train"] for source in learnt)
        lines.append(f"{faces} training faces from {', '.join(s['name'] for s in learnt)}")
    return lines


def _teacher(trained: Mapping[str, Any]) -> list[str]:
    lines = [f"sha256 {str(trained['teacher'])[:_SHOWN]}"] if trained.get("teacher") else []
    for about in trained.get("annotators") or ():
        lines.append(f"{about.get('title', 'an annotator')}, {about.get('licence', 'licence unknown')}")
    return lines


def _training(trained: Mapping[str, Any]) -> list[str]:
    config = trained.get("config")
    if not isinstance(config, dict) or "model" not in config:
        return []
    model, train = config["model"], config.get("train", {})
    lines = [f"{model['arch']}, {model['input_size']} x {model['input_size']} pixels"]
    if "epochs" in train:
        losses = ", ".join(f"{term} x {weight:g}" for term, weight in train.get("losses", {}).items())
        lines.append(f"{train['epochs']} epochs, batch {train['batch_size']}, losses {losses}")
    if trained.get("seed") is not None:
        lines.append(f"seed {trained['seed']}")
    if trained.get("commit"):
        lines.append(f"code {trained['commit']}")
    return lines


def _file(file: Path, metadata: Mapping[str, Any] | None) -> list[str]:
    lines = [file.name]
    if file.is_file():
        lines += [f"{file.stat().st_size / 1e6:.3f} MB", f"sha256 {file_hash(file)[:_SHOWN]}"]
    if metadata is not None and (precision := precision_of(metadata, "model.tflite")):
        lines.append(f"precision {precision}")
    return lines
