"""`pairfld compare`: whole submissions side by side, end to end, on the same labelled images.

Each archive is run as a grader would run it, in an environment of its own that is made once and kept; nothing of it is
imported here. Times are taken in turn (A, B, A, B) within one run, so their ratio means something on a busy machine
where the times alone do not.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.errors import PairError
from pair_fld.progress import Progress, no_progress
from pair_fld.submit.verify import VerifyReport, verify

ROUNDS = 2
FAILURE = 0.08  # NME, outer corners: a face above it has failed, and so has one that was not found


@dataclass(frozen=True)
class Compared:
    """One submission. seconds: of the quickest round. ratio: of its time to the first submission's."""

    name: str
    archive_mb: float
    report: VerifyReport
    seconds: float
    ratio: float = 1.0

    @property
    def failure_percent(self) -> float | None:
        """Labelled faces that were not found, or found with an NME above FAILURE, or None without labels."""
        report = self.report
        if not report.labelled:
            return None
        failed = 0
        if report.result is not None:
            failed = int((report.result.nme["outer_corners"] > FAILURE).sum())
        return 100 * (report.missed + failed) / report.labelled

    def to_json(self) -> dict[str, Any]:
        report, result = self.report, self.report.result
        nme = removed = shift = None
        if result is not None:
            nme = result.overall["outer_corners"].nme_percent
            removed, shift = result.shift_removed_percent(), next(iter(result.shifts.values())).to_json()
        return {
            "name": self.name,
            "archive_mb": round(self.archive_mb, 3),
            "labelled_faces": report.labelled,
            "found_faces": report.labelled - report.missed,
            "unmatched_faces": report.unmatched,
            "nme_outer_corners_percent": _plain(nme),
            "nme_outer_corners_shift_removed_percent": _plain(removed),
            "label_shift": shift,
            f"failure_at_{FAILURE:.2f}_end_to_end_percent": _plain(self.failure_percent),
            "run_seconds": round(self.seconds, 2),
            "time_ratio": round(self.ratio, 3),
        }


def compare(
    archives: Sequence[Path],
    images: Sequence[Path],
    truth: Mapping[str, Sequence[np.ndarray]],
    *,
    python: str = sys.executable,
    install: bool = True,
    progress: Progress = no_progress,
) -> list[Compared]:
    """Run every archive on the images and measure it; arguments and errors as `submit.verify.verify`.

    Raises:
        PairError: also for fewer than two archives, or two of one name.
    """
    names = [path.stem for path in archives]
    if len(archives) < 2 or len(set(archives)) < len(archives):
        raise PairError("compare", "two or more different archives", ", ".join(names) or "none", "Name another one.")
    best: dict[int, VerifyReport] = {}
    for step in range(ROUNDS * len(archives)):
        k = step % len(archives)
        progress(step, ROUNDS * len(archives), names[k])
        report = verify(archives[k], images, truth, python=python, install=install, cached=True)
        if k not in best or report.run_s < best[k].run_s:
            best[k] = report if k not in best else replace(best[k], run_s=report.run_s)
    progress(ROUNDS * len(archives), ROUNDS * len(archives))
    first = best[0].run_s
    return [
        Compared(name, path.stat().st_size / 1e6, best[k], best[k].run_s, best[k].run_s / first)
        for k, (name, path) in enumerate(zip(names, archives, strict=True))
    ]


def _plain(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)
