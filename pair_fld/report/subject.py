"""What a report is about: a training run, a model file, or an archive; opened by what it is."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pair_fld.errors import PairError
from pair_fld.export.model_cost import model_cost
from pair_fld.inference.archive import MODEL_FILES, unpacked
from pair_fld.io import read_json, read_record
from pair_fld.models.checkpoint import load_run
from pair_fld.report.lineage import Step, lineage
from pair_fld.runs import RECORD
from pair_fld.runtime.session import read_metadata
from pair_fld.train.metric_log import METRICS, curve, read_rows

MODEL_SUFFIXES = (".tflite", ".onnx", ".pt")
CHECKPOINT = "best.pt"  # of a run's folder
_PLAIN_NAMES = ("model", "best", "last")  # of files that tell nothing without their folder


@dataclass(frozen=True)
class Subject:
    """One model of a report.

    Attributes:
        name: short, and its own within the report.
        kind: "run", "model" or "archive".
        model: the file that predicts.
        pipeline: folder with the weights of an archive, detector included; None for a model alone.
        stored: what `pairfld package` measured, by group of faces; empty where nothing is stored.
        curves: the columns of a run's metrics.csv, one value per epoch.
        lineage: from data to file.
        size_mb, gflops: of a .tflite or .onnx file; None for a checkpoint.
    """

    name: str
    kind: str
    model: Path
    pipeline: Path | None = None
    stored: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    lineage: tuple[Step, ...] = ()
    size_mb: float | None = None
    gflops: float | None = None


def check(path: Path) -> str:
    """The kind of a path; PairError when it is no training run, model or archive."""
    if path.is_dir():
        if (path / CHECKPOINT).is_file() and (path / RECORD).is_file():
            return "run"
        if any((path / name).is_file() for name in MODEL_FILES):
            return "archive"
        if len(list(path.glob("*.zip"))) == 1:
            return "archive"
        remedy = f"Give a folder with {CHECKPOINT} and {RECORD}, an archive, or a .tflite, .onnx or .pt file."
        raise PairError(path, "a training run, a model or an archive", "a folder of other files", remedy)
    if not path.is_file():
        raise PairError(path, "a training run, a model or an archive", "no such file", "Check the path.")
    if path.suffix.lower() == ".zip":
        return "archive"
    if path.suffix.lower() in MODEL_SUFFIXES:
        return "model"
    remedy = "Give a run's folder, a .tflite, .onnx or .pt file, or a .zip of pairfld package."
    raise PairError(path, "a training run, a model or an archive", path.suffix or "no suffix", remedy)


@contextmanager
def opened(paths: Sequence[Path]) -> Generator[list[Subject]]:
    """The subjects, archives unpacked until the block ends. Raises as `check`, or when a file is damaged."""
    for path in paths:
        check(path)
    with ExitStack() as stack:
        yield [_open(path, name, stack) for path, name in zip(paths, names(paths), strict=True)]


def names(paths: Sequence[Path]) -> list[str]:
    """A short name for each path; paths that end alike keep more of their folders.

    >>> names([Path("runs/a/quant/model-int8.tflite"), Path("runs/b/quant/model-int8.tflite"), Path("x/tiny.zip")])
    ['a/quant/model-int8', 'b/quant/model-int8', 'tiny']
    """
    parts = [
        (*path.absolute().parts[1:-1], path.stem if path.is_file() or path.suffix else path.name) for path in paths
    ]
    lengths = [2 if own[-1] in _PLAIN_NAMES else 1 for own in parts]
    for _ in range(max(map(len, parts))):
        shown = ["/".join(own[-length:]) for own, length in zip(parts, lengths, strict=True)]
        twins = [k for k, name in enumerate(shown) if shown.count(name) > 1]
        if not twins:
            break
        for k in twins:
            lengths[k] += 1
    shown = ["/".join(own[-length:]) for own, length in zip(parts, lengths, strict=True)]
    return [name if shown.count(name) == 1 else f"{name} ({number + 1})" for number, name in enumerate(shown)]


def _open(path: Path, name: str, stack: ExitStack) -> Subject:
    kind = check(path)
    if kind == "run":
        record = read_record(path / RECORD, "a run record")
        rows = read_rows(path / METRICS)
        curves = {k: curve(rows, k) for k in (rows[0] if rows else {}) if k not in ("epoch", "step")}
        model = path / CHECKPOINT
        return Subject(name, kind, model, curves=curves, lineage=lineage(record, {}, model))
    if kind == "archive":
        archive = path
        if path.is_dir() and not any((path / file).is_file() for file in MODEL_FILES):
            (archive,) = path.glob("*.zip")
        folder = stack.enter_context(unpacked(archive))
        found = [folder / file for file in MODEL_FILES if (folder / file).is_file()]
        if not found:
            raise PairError(archive, "an archive of pairfld package", "no model in it", "Pack it again.")
        tree = _stored(archive)
        return _exported(found[0], name, kind, folder, tree, archive)
    if path.suffix.lower() == ".pt":
        return Subject(name, kind, path, lineage=lineage(load_run(path)["record"], {}, path))
    return _exported(path, name, kind, None, {}, path)


def _exported(
    model: Path, name: str, kind: str, pipeline: Path | None, stored: Mapping[str, Any], file: Path
) -> Subject:
    try:
        metadata = read_metadata(model)
    except (OSError, ValueError) as error:
        raise PairError(file, "a model of pairfld", str(error), "Export it with pairfld quantize.") from None
    cost = model_cost(model)
    record = stored.get("record")
    record = record if isinstance(record, dict) else {}
    trained = metadata.get("trained") or {}
    steps = lineage(
        trained | {"data_hash": metadata.get("data_hash", trained.get("data_hash"))}, record, file, metadata
    )
    metrics = stored.get("metrics")
    groups = {k: v for k, v in metrics.items() if isinstance(v, dict)} if isinstance(metrics, dict) else {}
    return Subject(name, kind, model, pipeline, groups, {}, steps, cost.size_mb, cost.gflops)


def _stored(archive: Path) -> dict[str, Any]:
    """metrics.json of an archive; empty where it has none, as another team's."""
    if archive.is_dir():
        path = archive / "metrics.json"
        tree = read_json(path, "the figures of an archive") if path.is_file() else {}
    else:
        try:
            with zipfile.ZipFile(archive) as packed:
                tree = json.loads(packed.read("metrics.json"))
        except KeyError:
            tree = {}
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
            raise PairError(archive, "an archive with readable figures", str(error), "Pack it again.") from None
    return tree if isinstance(tree, dict) else {}
