"""Prove an archive: unpack it, install what it asks for in a fresh environment, run it, read what it
wrote."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.errors import GateError, PairError
from pair_fld.evaluate.matching import match_faces
from pair_fld.evaluate.report import Result, evaluate
from pair_fld.runtime.landmark_files import order_right_to_left, read_faces
from pair_fld.runtime.scheme import NUM_POINTS, to_51

TIMEOUT_S = 1800


@dataclass(frozen=True)
class VerifyReport:
    """What a clean run of the archive did.

    faces: by picture stem, what was written. setup_s: making the environment; run_s: run_model.py, start
    included.
    matched, missed, unmatched: faces against truth, 0 without truth; unmatched finds may be faces nobody
    labelled.
    result: NME end to end of the matched faces.
    """

    pictures: int
    faces: Mapping[str, int]
    setup_s: float
    run_s: float
    labelled: int = 0
    missed: int = 0
    unmatched: int = 0
    result: Result | None = None

    def to_json(self) -> dict[str, Any]:
        tree: dict[str, Any] = {
            "pictures": self.pictures,
            "faces": sum(self.faces.values()),
            "faces_by_picture": dict(self.faces),
            "setup_seconds": round(self.setup_s, 1),
            "run_seconds": round(self.run_s, 2),
        }
        if self.labelled:
            tree |= {
                "labelled_faces": self.labelled,
                "missed_faces": self.missed,
                "unmatched_faces": self.unmatched,
            }
        if self.result is not None:
            tree["end_to_end"] = self.result.to_json()
        return tree


def verify(
    archive: Path,
    pictures: Sequence[Path],
    truth: Mapping[str, Sequence[np.ndarray]] | None = None,
    *,
    python: str = sys.executable,
    install: bool = True,
) -> VerifyReport:
    """Run an archive as a grader would.

    Args:
        pictures: what to run on. truth: faces (N, 2) _img in any supported scheme by picture stem.
        python: the interpreter to build the environment with. install: False runs in `python` as it stands
        (no
            environment is made: quick, and no proof of requirements.txt).

    Raises:
        PairError: no archive or no pictures. GateError: the installation or the run failed, or what it wrote
            is not what the contest asks for; the message says which.
    """
    if not zipfile.is_zipfile(archive):
        raise PairError(archive, "a submission archive (zip)", "no such file or no zip", "Run pairfld package first.")
    if not pictures:
        raise PairError("pictures", "at least one to run the archive on", "none", "Name some.")
    with tempfile.TemporaryDirectory(prefix="pairfld-verify-") as scratch:
        folder = Path(scratch) / "archive"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        started = time.perf_counter()
        interpreter = _environment(Path(scratch) / "venv", folder, python) if install else python
        setup_s = time.perf_counter() - started
        listing, out = Path(scratch) / "list.txt", Path(scratch) / "out"
        listing.write_text("".join(f"{p.resolve()}\n" for p in pictures), encoding="utf-8")
        started = time.perf_counter()
        _call([interpreter, "run_model.py", str(listing), str(out)], folder, "run_model.py")
        run_s = time.perf_counter() - started
        answers = {p.stem: _read_answer(out / f"{p.stem}.txt") for p in pictures}
    counts = {stem: len(faces) for stem, faces in answers.items()}
    if not truth:
        return VerifyReport(len(pictures), counts, setup_s, run_s)
    return _score(answers, truth, VerifyReport(len(pictures), counts, setup_s, run_s))


def _environment(venv: Path, folder: Path, python: str) -> str:
    """A fresh virtual environment with the archive's requirements; its interpreter."""
    _call([python, "-m", "venv", str(venv)], folder, "making a virtual environment")
    binary = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pip = [str(binary), "-m", "pip", "install", "--disable-pip-version-check", "-q", "-r", "requirements.txt"]
    _call(pip, folder, "installing requirements.txt")
    return str(binary)


def _call(command: Sequence[str], folder: Path, what: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, env=_clean_environment()
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise GateError(f"{what} failed: {fault}") from None
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise GateError(f"{what} ended with exit code {done.returncode}:\n{last}")


def _clean_environment() -> dict[str, str]:
    """The environment without what would let the caller's packages in."""
    import os

    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}


def _read_answer(path: Path) -> list[np.ndarray]:
    if not path.is_file():
        raise GateError(f"run_model.py wrote no {path.name}")
    try:
        faces = read_faces(path)
    except ValueError as fault:
        raise GateError(f"run_model.py wrote what cannot be read: {fault}") from None
    for face in faces:
        if face.shape != (NUM_POINTS, 2) or not np.isfinite(face).all():
            raise GateError(f"{path.name}: expected {NUM_POINTS} finite points a face, found an array {face.shape}")
    ordered = order_right_to_left(faces)
    if any(a is not b for a, b in zip(faces, ordered, strict=True)):
        raise GateError(f"{path.name}: expected the faces from the picture's right to its left, found another order")
    return faces


def _score(
    answers: Mapping[str, Sequence[np.ndarray]],
    truth: Mapping[str, Sequence[np.ndarray]],
    report: VerifyReport,
) -> VerifyReport:
    """Pair answers with labels by box overlap and measure the pairs."""
    predicted, labels, masks, names = [], [], [], []
    labelled = missed = unmatched = 0
    for stem, raw in truth.items():
        if stem not in answers:
            continue
        known = [to_51(face) for face in raw]
        matches = match_faces(answers[stem], [np.where(valid[:, None], p, np.nan) for p, valid in known])
        labelled, missed = labelled + len(known), missed + len(matches.missed)
        unmatched += len(matches.unmatched)
        for i, j in matches.pairs:
            predicted.append(answers[stem][i])
            labels.append(known[j][0])
            masks.append(known[j][1])
            names.append(stem)
    result = None
    if predicted:
        sources = ["end to end"] * len(names)
        result = evaluate(np.stack(predicted), np.stack(labels), np.stack(masks), sources, names)
    return VerifyReport(
        report.pictures, report.faces, report.setup_s, report.run_s, labelled, missed, unmatched, result
    )
