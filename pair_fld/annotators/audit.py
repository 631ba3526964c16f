"""`pairfld audit`: every doubt about the faces of a dataset, ranked; a sheet of the worst, a table of verdicts."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pair_fld.config import ReferenceConfig
from pair_fld.data import audit as checks
from pair_fld.data.audit import Verdict, rank, sharpness
from pair_fld.data.conventions import PointConvention, estimate_convention
from pair_fld.data.dataset import SPLITS, FaceDataset, LabelSource
from pair_fld.data.packing.contact_sheet import ORANGE, contact_sheet
from pair_fld.data.packing.duplicates import SAME_IMAGE, difference_hash, find_near, thumbnail
from pair_fld.data.second_opinion import open_reference
from pair_fld.data.zero_points import Shift
from pair_fld.io import atomic_path
from pair_fld.progress import Progress, no_progress

CHUNK = 256
SHEET_FACES, SHEET_COLUMNS = 64, 8
COLUMNS = ("rank", "path", "source", "split", "weight", "reason", "detail", "certain")


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        faces: labelled faces of the dataset.
        ranked: rows of the dataset with their doubts, the worst first.
        shifts: of the packed labels against the reference, by the sources' names; empty without a reference.
        conventions: where the packed labels lie against it point by point, of the sources where that is known.
    """

    faces: int
    ranked: list[tuple[int, list[Verdict]]]
    shifts: dict[str, Shift] = field(default_factory=dict)
    conventions: dict[str, PointConvention] = field(default_factory=dict)

    @property
    def shifted_sources(self) -> list[str]:
        """Sources whose labels lie too far to one side."""
        return [name for name, shift in self.shifts.items() if shift.size > checks.OFF_SOURCE]

    @property
    def reasons(self) -> dict[str, int]:
        """Faces by reason, the most frequent first; a face counts for each of its doubts."""
        counts = Counter(v.reason for _, mine in self.ranked for v in mine)
        return dict(counts.most_common())

    def to_json(self, dataset: FaceDataset, limit: int | None = None) -> dict[str, Any]:
        worst = [
            {
                "path": str(dataset.faces.path[row]),
                "source": _source(dataset, row),
                "verdicts": [v.to_json() for v in mine],
            }
            for row, mine in self.ranked[:limit]
        ]
        tree: dict[str, Any] = {
            "faces": self.faces,
            "doubtful": len(self.ranked),
            "reasons": self.reasons,
            "worst": worst,
        }
        if self.shifts:
            off = self.shifted_sources
            tree["shifts"] = {name: {**shift.to_json(), "off": name in off} for name, shift in self.shifts.items()}
            tree["conventions"] = {name: one.to_json() for name, one in self.conventions.items()}
        return tree


def audit_dataset(dataset: FaceDataset, reference: ReferenceConfig | None, progress: Progress = no_progress) -> Audit:
    """Check every labelled face of a dataset; with a reference, also against that.

    Raises:
        PairError: the reference cannot be read.
    """
    faces = dataset.faces
    rows = np.flatnonzero(faces.label != LabelSource.NONE)
    points, mask = faces.points[rows].astype(np.float64), faces.point_mask[rows]
    points_img = checks.image_points(points, faces.matrix[rows])
    sharp, hashes, thumbs = _look(dataset, rows, progress)
    scale = np.sqrt(np.abs(np.linalg.det(faces.matrix[rows][:, :, :2])))
    found = checks.check_shapes(points_img, mask) + checks.check_quality(faces.frame[rows, 2] / scale, sharp)
    pairs, similarity = find_near(hashes, thumbs, dataset.config.near_duplicate_distance)
    found += checks.check_duplicates(points, mask, pairs[similarity >= SAME_IMAGE])
    shifts: dict[str, Shift] = {}
    conventions: dict[str, PointConvention] = {}
    if reference is not None:
        said, asked, apart, known = _reference(dataset, rows, reference, progress)
        median = None if apart is None else np.median(apart, axis=1)
        found += checks.check_reference(points_img, mask & known, said, asked, faces.source[rows], median)
        by_number = checks.label_shifts(points_img, mask & known, said, faces.source[rows])
        shifts = {dataset.config.sources[number].name: shift for number, shift in by_number.items()}
        for number, name in enumerate(source.name for source in dataset.config.sources):
            mine = faces.source[rows] == number
            if apart is not None and name in shifts:
                by_point = estimate_convention(points_img[mine], said[mine], apart[mine], (mask & known)[mine])
                conventions |= {} if by_point is None else {name: by_point}
    verdicts = [Verdict(int(rows[v.row]), v.reason, v.weight, v.detail) for v in found]
    return Audit(len(rows), rank(verdicts), shifts, conventions)


def _look(dataset: FaceDataset, rows: np.ndarray, progress: Progress) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sharpness (n,), difference hashes (n,) and small copies (n, T) of the crops."""
    sharp, hashes, thumbs = [], [], []
    # the face alone: a crop may reach beyond the image, whose edge is sharp
    margin = round(dataset.size * (1 - 1 / dataset.margin) / 2)
    face = slice(margin, dataset.size - margin)
    for start in range(0, len(rows), CHUNK):
        progress(start, len(rows), "images")
        for crop in dataset.images(rows[start : start + CHUNK]):
            sharp.append(sharpness(crop[face, face]))
            hashes.append(difference_hash(crop))
            thumbs.append(thumbnail(crop))
    return np.array(sharp), np.array(hashes, np.uint64), np.array(thumbs, np.uint8)


def _reference(
    dataset: FaceDataset, rows: np.ndarray, reference: ReferenceConfig, progress: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """What the reference says (n, 51, 2) _img, nan without a face; who was asked (n,); how far its flips lie apart (n,
    51) _img, None where it was asked on one only; its points (51,)."""
    opened = open_reference(reference)
    root = Path(dataset.config.root)
    said, asked = np.full((len(rows), 51, 2), np.nan), np.zeros(len(rows), bool)
    apart = np.full((len(rows), 51), np.nan)
    for k, row in enumerate(rows.tolist()):
        if k % CHUNK == 0:
            progress(k, len(rows), "reference")
        key = str(dataset.faces.path[row])
        annotation = opened.labels.find(key, root / key.partition("#")[0])
        if annotation is None:
            continue
        asked[k] = True
        if (merged := opened.point_map.merge(annotation)) is not None:
            said[k], apart[k] = merged
    return said, asked, None if np.isnan(apart).all() else apart, opened.point_map.mask


def write_csv(audit: Audit, dataset: FaceDataset, path: Path) -> None:
    """One line a doubt, the worst face first."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, (row, mine) in enumerate(audit.ranked, 1):
            head = [number, str(dataset.faces.path[row]), _source(dataset, row), SPLITS[dataset.faces.split[row]]]
            for v in mine:
                certain = "yes" if v.reason in checks.CERTAIN else "no"
                writer.writerow([*head, f"{v.weight:.2f}", v.reason, v.detail, certain])


def write_sheet(audit: Audit, dataset: FaceDataset, path: Path) -> bool:
    """The SHEET_FACES worst faces with their points, in reading order; False when there is no doubt at all."""
    rows = np.array([row for row, _ in audit.ranked[:SHEET_FACES]], int)
    if not len(rows):
        return False
    faces, colours = dataset.faces, [ORANGE] * len(rows)
    sheet = contact_sheet(dataset.images(rows), faces.points[rows], faces.point_mask[rows], SHEET_COLUMNS, 1.0, colours)
    with atomic_path(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
    return True


def table_rows(audit: Audit, dataset: FaceDataset, limit: int) -> Sequence[tuple[str, ...]]:
    """(rank, path, source, reason, detail) of the worst."""
    return [
        (str(number), str(dataset.faces.path[row]), _source(dataset, row), mine[0].reason, mine[0].detail)
        for number, (row, mine) in enumerate(audit.ranked[:limit], 1)
    ]


def _source(dataset: FaceDataset, row: int) -> str:
    return dataset.config.sources[int(dataset.faces.source[row])].name
