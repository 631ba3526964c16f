"""Pack a submission archive, hold it to its budget, refuse it when a bound is broken."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pair_fld.runtime
from pair_fld.config import BudgetConfig
from pair_fld.errors import GateError, PairError
from pair_fld.evaluate.report import markdown_table
from pair_fld.export.model_cost import ModelCost, count
from pair_fld.face_detector.files import find_detector
from pair_fld.io import atomic_path
from pair_fld.runtime.detection import search_views
from pair_fld.runtime.detector import FaceFinder, open_detector
from pair_fld.runtime.pipeline import DEFAULT_REFINE
from pair_fld.runtime.session import read_metadata
from pair_fld.submit.card import model_card, technical_report
from pair_fld.submit.pdf import write_pdf

MB = 1e6
TEMPLATE = Path(__file__).parent / "template"
PICTURE = 1024  # side of the contest's pictures
_STAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that zip knows: equal contents give equal archives


@dataclass(frozen=True)
class Check:
    """One bound: what, its limit, the value found, where the limit comes from."""

    name: str
    limit: str
    value: str
    passed: bool
    source: str


@dataclass(frozen=True)
class PackageReport:
    """What `package` made. sha256: of every file in the archive. costs: by file name."""

    path: Path
    archive_mb: float
    checks: tuple[Check, ...]
    costs: Mapping[str, ModelCost]
    sha256: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "archive": self.path.name,
            "archive_mb": round(self.archive_mb, 6),
            "checks": [asdict(c) for c in self.checks],
            "costs": {k: v.as_json() for k, v in self.costs.items()},
            "sha256": dict(self.sha256),
        }


def package(
    model_files: Sequence[Path],
    out_zip: Path,
    budget: BudgetConfig,
    *,
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    record: Mapping[str, Any] | None = None,
    name: str = "pair_fld submission",
    detector: tuple[Path, str] | None = None,
    detector_onnx: Path | None = None,
    ced_png: Path | None = None,
    remarks: Sequence[str] = (),
) -> PackageReport:
    """Write the archive; nothing is written when a check fails.

    Args:
        model_files: one .tflite with metadata (crop.from_detector among it) and at most one .onnx.
        metrics: `Result.to_json()` by the name of the set measured. record: provenance, `config` (a recipe)
            and `data_report` (of prepare) for the card. detector: (.tflite, licence text), default: the
            installed package's. detector_onnx: the same finder for ONNX Runtime.
        ced_png: plot for the report. remarks: further limits for the card.

    Raises:
        PairError: unusable model files, no face finder, or `out_zip` exists.
        GateError: a bound of the budget is broken; the message is a table.
    """
    if out_zip.exists():
        raise PairError(out_zip, "a new file", "one that exists", "Remove it or choose another name.")
    models = _model_files(model_files)
    metadata = _metadata(models["model.tflite"])
    detector_path, licence = detector or find_detector()
    finder = _finder(metadata, detector_path)
    views = len(list(search_views(PICTURE, PICTURE, finder.search, finder.side)))
    refine = int(metadata["crop"].get("refine", DEFAULT_REFINE))
    costs = {archived: count(path) for archived, path in models.items()} | {"detector.tflite": count(detector_path)}

    files = {archived: path.read_bytes() for archived, path in models.items()}
    files["detector.tflite"] = detector_path.read_bytes()
    if detector_onnx is not None:
        files["detector.onnx"] = detector_onnx.read_bytes()
    files["LICENSE-detector.txt"] = licence.encode()
    files |= {p.name: p.read_bytes() for p in (TEMPLATE / "run_model.py", TEMPLATE / "requirements.txt")}
    files |= runtime_files()
    if ced_png is not None:
        files["ced.png"] = ced_png.read_bytes()

    def texts(archive_mb: float) -> dict[str, bytes]:
        checks = budget_checks(costs, archive_mb, [*files, *_TEXTS], budget)
        table = budget_table(costs, checks, views, refine)
        card = model_card(name, metadata, record or {}, metrics or {}, table, remarks=remarks)
        contents = [(file, len(data)) for file, data in sorted(files.items())]
        report = technical_report(name, card, contents, metadata["crop"]["from_detector"], ced_png is not None)
        tree = {
            "metrics": metrics or {},
            "record": record or {},
            "costs": {k: v.as_json() for k, v in costs.items()},
        }
        return {
            "model_card.md": card.encode(),
            "budget.md": f"# Budget\n\n{table}".encode(),
            "report.md": report.encode(),
            "report.pdf": _pdf(report, ced_png),
            "metrics.json": (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode(),
        }

    # The texts name the archive's size, which depends on the texts: the first round finds it to 0.01 MB.
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.zip"
        write_zip(draft, files | texts(0.0))
        rounded = round(draft.stat().st_size / MB, 2)
        write_zip(draft, files | texts(rounded))
        archive_mb = draft.stat().st_size / MB
        checks = budget_checks(costs, archive_mb, zipfile.ZipFile(draft).namelist(), budget)
        refuse_failed(checks, out_zip)
        with zipfile.ZipFile(draft) as made:
            hashes = {n: hashlib.sha256(made.read(n)).hexdigest() for n in made.namelist()}
        with atomic_path(out_zip) as temporary:
            temporary.write_bytes(draft.read_bytes())
    return PackageReport(out_zip, archive_mb, tuple(checks), costs, hashes)


_TEXTS = ("model_card.md", "budget.md", "report.md", "report.pdf", "metrics.json")


def runtime_files() -> dict[str, bytes]:
    """The runtime package, byte for byte, under runtime/."""
    folder = Path(pair_fld.runtime.__file__).parent
    return {f"runtime/{p.name}": p.read_bytes() for p in sorted(folder.glob("*.py"))}


def runtime_hash() -> str:
    """sha256 over what an archive holds besides models and texts: it tells an archive of older code."""
    own = [(TEMPLATE / name).read_bytes() for name in ("run_model.py", "requirements.txt")]
    digest = hashlib.sha256()
    for data in (*runtime_files().values(), *own):
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """A zip that depends on names and contents only: sorted, fixed time stamps and modes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, files[name], compresslevel=9)


def budget_checks(
    costs: Mapping[str, ModelCost], archive_mb: float, names: Iterable[str], budget: BudgetConfig
) -> list[Check]:
    """Every bound of the budget on the landmark model (model.tflite) and the archive, then the required
    files."""
    model = costs["model.tflite"]
    figures = [
        ("model size, MB", model.size_mb, budget.model_mb, 3),
        ("model GFLOPs a face", model.gflops, budget.gflops, 4),
        ("model parameters, million", model.params / 1e6, budget.params_m, 3),
        ("archive size, MB", archive_mb, budget.archive_mb, 2),
    ]
    checks = [
        Check(name, f"<= {limit.max:g}", f"{value:.{digits}f}", value <= limit.max, limit.source)
        for name, value, limit, digits in figures
    ]
    missing = sorted(set(budget.required_files) - set(names))
    found = f"missing: {', '.join(missing)}" if missing else "all there"
    needed = f"{len(budget.required_files)} files"
    return [
        *checks,
        Check("required files", needed, found, not missing, "what the grader and its reader need"),
    ]


def budget_table(costs: Mapping[str, ModelCost], checks: Sequence[Check], views: int, refine: int) -> str:
    """Markdown: the checks, then the cost of each file and of a whole picture.

    Args:
        views: that the face finder searches in a picture of `PICTURE` pixels. refine: times a face's crop is
        cut anew.
    """
    bounds = markdown_table(
        ("check", "value", "limit", "", "where the limit comes from"),
        [(c.name, c.value, c.limit, "pass" if c.passed else "FAIL", c.source) for c in checks],
    )
    finder, model = costs["detector.tflite"], costs["model.tflite"]
    body = [_cost_row(file, c.size_mb, c.params, c.macs) for file, c in costs.items()]
    files = (model.size_mb + finder.size_mb, model.params + finder.params)
    body.append(_cost_row("model + detector, one run each", *files, model.macs + finder.macs))
    macs = (views + 1) * finder.macs + (1 + refine) * model.macs
    body.append(_cost_row(f"a {PICTURE} x {PICTURE} picture with one face", *files, macs))
    note = (
        "GFLOPs are 2 x multiply-adds of the convolutions and fully connected layers. The face finder "
        f"searches {views} views of such a picture and looks once more at each candidate; the landmark "
        f"model runs {1 + refine} x a face.\n"
    )
    return f"{bounds}\n{markdown_table(('file', 'MB', 'parameters', 'GFLOPs'), body)}\n{note}"


def _cost_row(name: str, size_mb: float, params: int, macs: int) -> tuple[str, ...]:
    return (name, f"{size_mb:.3f}", f"{params}", f"{2 * macs / 1e9:.4f}")


def refuse_failed(checks: Sequence[Check], out_zip: Path) -> None:
    """GateError with a table of all checks when one failed."""
    if all(c.passed for c in checks):
        return
    width = max(len(c.name) for c in checks)
    lines = [f"{'ok  ' if c.passed else 'FAIL'}  {c.name:<{width}}  {c.value}  (limit {c.limit})" for c in checks]
    raise GateError(f"{out_zip} was not written, its budget is broken:\n" + "\n".join(lines))


def _model_files(model_files: Sequence[Path]) -> dict[str, Path]:
    kinds = [p.suffix for p in model_files]
    if kinds.count(".tflite") != 1 or kinds.count(".onnx") > 1 or set(kinds) - {".tflite", ".onnx"}:
        found = ", ".join(p.name for p in model_files) or "none"
        raise PairError(
            "model files",
            "one .tflite and at most one .onnx",
            found,
            "Run pairfld quantize and pass its files.",
        )
    return {f"model{p.suffix}": p for p in sorted(model_files, key=lambda p: p.suffix, reverse=True)}


def _metadata(path: Path) -> dict[str, Any]:
    try:
        return read_metadata(path)
    except (OSError, ValueError) as fault:
        raise PairError(path, "a model with pair_fld metadata", str(fault), "Run pairfld quantize again.") from None


def _finder(metadata: Mapping[str, Any], detector: Path) -> FaceFinder:
    """The face finder, opened; PairError when it cannot be or the model's box policy is not for it."""
    policy = metadata["crop"].get("from_detector")
    if policy is None:
        remedy = "Learn it (pair_fld.evaluate.matching) and store it as crop.from_detector."
        raise PairError("model.tflite", "a box policy in its metadata", "none", remedy)
    try:
        finder = open_detector(detector)
    except (OSError, ValueError) as fault:
        raise PairError(detector, "a face finder", str(fault), "Pass another file.") from None
    if policy.get("detector", finder.name) != finder.name:
        remedy = "Learn the policy for this detector or pass the other one."
        found = f"one for {policy['detector']}"
        raise PairError("model.tflite", f"a box policy for {finder.name}", found, remedy)
    return finder


def _pdf(markdown: str, picture: Path | None) -> bytes:
    handle, name = tempfile.mkstemp(suffix=".pdf")
    os.close(handle)
    path = Path(name)
    try:
        if picture is not None:
            markdown = markdown.replace("(ced.png)", f"({picture.name})")
        write_pdf(markdown, path, picture.parent if picture is not None else None)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
