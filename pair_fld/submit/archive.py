"""A submission archive: its files, its texts, and the zip that is written only when every bound holds."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pair_fld.runtime
from pair_fld.config import BudgetConfig
from pair_fld.errors import PairError
from pair_fld.evaluate.report import GroupScores
from pair_fld.export.model_cost import ModelCost, model_cost
from pair_fld.face_detector.files import find_detector
from pair_fld.io import atomic_path
from pair_fld.report.style import Plate
from pair_fld.runtime.calibration import calibration_from_json
from pair_fld.runtime.detector import FaceDetector, open_detector
from pair_fld.runtime.pipeline import DEFAULT_REFINE
from pair_fld.runtime.search import search_steps
from pair_fld.runtime.session import read_metadata
from pair_fld.submit.budget import (
    IMAGE_SIDE,
    Check,
    archive_check,
    budget_table,
    files_check,
    model_checks,
    refuse_broken,
)
from pair_fld.submit.card import ModelCard, technical_report
from pair_fld.submit.pdf import write_pdf

MB = 1e6
TEMPLATE = Path(__file__).parent / "template"
OWN_FILES = ("run_model.py", "requirements.txt")  # of the template
TEXTS = ("model_card.md", "budget.md", "report.md", "report.pdf", "metrics.json")
_TIME_STAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that zip knows: equal contents give equal archives


@dataclass(frozen=True)
class ArchiveContents:
    """The files of an archive by name, each with its bytes."""

    files: Mapping[str, bytes]

    def write(self, path: Path) -> None:
        """A zip that depends on names and bytes only: sorted, with fixed time stamps and modes."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name in sorted(self.files):
                entry = zipfile.ZipInfo(name, _TIME_STAMP)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                entry.create_system = 3
                archive.writestr(entry, self.files[name], compresslevel=9)

    def sha256(self) -> dict[str, str]:
        """The hash of each file, by name."""
        return {name: hashlib.sha256(self.files[name]).hexdigest() for name in sorted(self.files)}


@dataclass(frozen=True)
class PackageReport:
    """What `package` wrote: checks of the budget, cost of each model file, sha256 of every file in the archive."""

    path: Path
    archive_mb: float
    checks: tuple[Check, ...]
    costs: Mapping[str, ModelCost]
    sha256: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "archive": self.path.name,
            "archive_mb": round(self.archive_mb, 6),
            "checks": [asdict(check) for check in self.checks],
            "costs": {name: cost.to_json() for name, cost in self.costs.items()},
            "sha256": dict(self.sha256),
        }


def package(
    model_files: Sequence[Path],
    out_zip: Path,
    budget: BudgetConfig,
    *,
    scores: Mapping[str, GroupScores] | None = None,
    record: Mapping[str, Any] | None = None,
    name: str = "pair_fld submission",
    detector: tuple[Path, str] | None = None,
    detector_onnx: Path | None = None,
    figures: Sequence[Plate] = (),
    remarks: Sequence[str] = (),
) -> PackageReport:
    """Write the archive; nothing is written when a check fails.

    Args:
        model_files: one .tflite with metadata (crop.detector_calibration among it) and at most one .onnx.
        out_zip: a new file.
        budget: bounds and required files.
        scores: the model's scores by the name of the group of faces, as `Result.groups` gives them.
        record: provenance, `config` (a recipe) and `data_report` (of prepare), for the card and metrics.json.
        name: title of the card and the report.
        detector: .tflite and licence text of the face detector; default: the installed package's.
        detector_onnx: the same detector for ONNX Runtime.
        figures: for the report; each is a PNG in the archive too.
        remarks: further limits for the card.

    Raises:
        PairError: unusable model files, no face detector, or `out_zip` exists.
        GateError: a bound of the budget is broken; the message is a table.
    """
    if out_zip.exists():
        raise PairError(out_zip, "a new file", "one that exists", "Remove it or choose another name.")
    models = _model_files(model_files)
    metadata = _metadata(models["model.tflite"])
    detector_path, licence = detector or find_detector()
    opened = _open_detector(metadata, detector_path)
    costs = {archived: model_cost(path) for archived, path in models.items()}
    costs["detector.tflite"] = model_cost(detector_path)

    copied = models | {"detector.tflite": detector_path}
    if detector_onnx is not None:
        copied["detector.onnx"] = detector_onnx
    copied |= {name: TEMPLATE / name for name in OWN_FILES}
    files = {archived: path.read_bytes() for archived, path in copied.items()}
    files |= {"LICENSE-detector.txt": licence.encode(), **runtime_files()}
    images = {f"{plate.name}.png": plate.png() for plate in figures}
    files |= images

    of_model, of_files = model_checks(costs, budget), files_check([*files, *TEXTS], budget)
    refine = int(metadata["crop"].get("refine", DEFAULT_REFINE))
    table = budget_table(costs, [*of_model, of_files], budget, _first_views(opened, metadata), refine)
    card = ModelCard.of(name, metadata, record, scores or {}, table, remarks)
    card = replace(card, figures=tuple(plate.title for plate in figures)).markdown()
    report = technical_report(name, card, {file: len(data) for file, data in sorted(files.items())},
                              metadata["crop"]["detector_calibration"], figures)  # fmt: skip
    measured = {
        "metrics": {group: one.to_json() for group, one in (scores or {}).items()},
        "record": record or {},
        "costs": {file: cost.to_json() for file, cost in costs.items()},
    }
    texts = {
        "model_card.md": card.encode(),
        "budget.md": f"# Budget\n\n{table}".encode(),
        "report.md": report.encode(),
        "report.pdf": _pdf(report, images),
        "metrics.json": (json.dumps(measured, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    assert tuple(texts) == TEXTS
    contents = ArchiveContents(files | texts)
    with atomic_path(out_zip) as draft:
        contents.write(draft)
        archive_mb = draft.stat().st_size / MB
        checks = (*of_model, archive_check(archive_mb, budget), of_files)
        refuse_broken(checks, out_zip)
    return PackageReport(out_zip, archive_mb, checks, costs, contents.sha256())


def _first_views(detector: FaceDetector, metadata: Mapping[str, Any]) -> int:
    """Views that the detector sees first in an image of `IMAGE_SIDE` pixels, searched as the archive searches."""
    own = metadata.get("search", {})
    detector.search = replace(detector.search, **{name: own[name] for name in ("turned", "smallest") if name in own})
    return len(next(search_steps(IMAGE_SIDE, IMAGE_SIDE, detector)).views)


def runtime_files() -> dict[str, bytes]:
    """The runtime package, byte for byte, under runtime/."""
    folder = Path(pair_fld.runtime.__file__).parent
    return {f"runtime/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.py"))}


def runtime_hash() -> str:
    """sha256 over an archive's files other than models and texts; it differs for an archive of older code."""
    own = [(TEMPLATE / name).read_bytes() for name in OWN_FILES]
    digest = hashlib.sha256()
    for data in (*runtime_files().values(), *own):
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def _model_files(model_files: Sequence[Path]) -> dict[str, Path]:
    suffixes = [path.suffix.lower() for path in model_files]
    if suffixes.count(".tflite") != 1 or suffixes.count(".onnx") > 1 or set(suffixes) - {".tflite", ".onnx"}:
        found = ", ".join(path.name for path in model_files) or "none"
        remedy = "Run pairfld quantize and pass its files."
        raise PairError("model files", "one .tflite and at most one .onnx", found, remedy)
    files = sorted(zip(suffixes, model_files, strict=True), reverse=True)
    return {f"model{suffix}": path for suffix, path in files}


def _metadata(path: Path) -> dict[str, Any]:
    try:
        return read_metadata(path)
    except (OSError, ValueError) as error:
        raise PairError(path, "a model with pair_fld metadata", str(error), "Run pairfld quantize again.") from None


def _open_detector(metadata: Mapping[str, Any], detector: Path) -> FaceDetector:
    """The face detector; PairError when it cannot be opened or the model's calibration is not of it."""
    tree = metadata["crop"].get("detector_calibration")
    if tree is None:
        remedy = "Learn it (pair_fld.evaluate.detector_calibration) and store it as crop.detector_calibration."
        raise PairError("model.tflite", "a detector calibration in its metadata", "none", remedy)
    try:
        calibration, opened = calibration_from_json(tree), open_detector(detector)
    except (OSError, ValueError) as error:
        raise PairError(detector, "a face detector", str(error), "Pass another file.") from None
    if calibration.detector != opened.name:
        remedy = "Learn the calibration of this detector or pass the other one."
        raise PairError("model.tflite", f"a calibration of {opened.name}", f"one of {calibration.detector}", remedy)
    return opened


def _pdf(markdown: str, images: Mapping[str, bytes]) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, data in images.items():
            (folder / name).write_bytes(data)
        write_pdf(markdown, folder / "report.pdf", folder)
        return (folder / "report.pdf").read_bytes()
