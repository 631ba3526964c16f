"""An annotator brought to the convention of a dataset, for whoever learns from its answers or averages them.

An annotator puts points where the labels lay from which its map was learnt. Where a dataset's labels put them is learnt
from the training faces of the sources that its `convention` names, or else of all whose labels people made. Faces that
are held back, or only measured, do not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import ReferenceConfig
from pair_fld.data.annotations import MAP, RECORD
from pair_fld.data.conventions import CONVENTION_FACES, estimate_convention, mean_convention, rms
from pair_fld.data.dataset import FaceDataset, LabelSource, Split
from pair_fld.data.point_map import load_point_map
from pair_fld.data.sample import evenly_spread
from pair_fld.data.second_opinion import Reference, open_reference
from pair_fld.runtime.geometry import transform_points


@dataclass(frozen=True, eq=False)
class AnnotatorConvention:
    """How far an annotator's answers are moved, and where that comes from.

    Attributes:
        offsets: (51, 2) as in `conventions`; zeros where no source shows enough faces.
        faces: how many counted, by source.
        annotator: sha256 of what its answers follow from, see `annotator_sha256`.
        data_hash: of the dataset.
    """

    offsets: np.ndarray
    faces: Mapping[str, int]
    annotator: str
    data_hash: str

    def summary(self) -> dict[str, Any]:
        """How far, on average, and from how many faces."""
        return {"rms_percent": round(rms(self.offsets), 3), "training_faces": dict(self.faces)}

    def to_json(self) -> dict[str, Any]:
        """`summary`, each point's offset, and what it was learnt from."""
        origin = {"annotator_sha256": self.annotator, "data_hash": self.data_hash}
        return self.summary() | {"points_percent": np.round(self.offsets, 3).tolist()} | origin

    def __str__(self) -> str:
        if not self.faces:
            return "its answers stay as they are: too few training faces show where the dataset's labels put points"
        faces = ", ".join(f"{name} {count}" for name, count in self.faces.items())
        return f"its answers are moved by {rms(self.offsets):.2f} % of the eye distance (learnt from {faces} faces)"


def own_convention(folder: Path) -> Reference:
    """An annotator's answers where its map puts them; PairError when its labels or its map cannot be read."""
    return open_reference(ReferenceConfig(labels=str(folder), scheme=str(folder / MAP)))


def convention_of_dataset(folder: Path, dataset: FaceDataset) -> tuple[Reference, AnnotatorConvention]:
    """An annotator's answers in the convention of a dataset, and how they came there. Raises as `own_convention`."""
    reference = own_convention(folder)
    learnt = _learn(reference, dataset, annotator_sha256(folder))
    return replace(reference, convention=learnt.offsets), learnt


def annotator_sha256(folder: Path) -> str:
    """sha256 of what an annotator's answers follow from: its record and its map. PairError without a map."""
    load_point_map(folder / MAP)
    return hashlib.sha256((folder / RECORD).read_bytes() + (folder / MAP).read_bytes()).hexdigest()


def convention_sources(dataset: FaceDataset) -> list[str]:
    """The sources whose labels say where a dataset's points lie, by name."""
    return dataset.config.convention or [source.name for source in dataset.config.sources if source.labels == "human"]


def packed_answer(reference: Reference, dataset: FaceDataset, row: int) -> tuple[np.ndarray, np.ndarray] | None:
    """`Reference.answer` on a face of a dataset, in pixels of its packed crop."""
    key, matrix = str(dataset.faces.path[row]), dataset.faces.matrix[row]
    answer = reference.answer(key, Path(dataset.config.root) / key.partition("#")[0])
    if answer is None:
        return None
    points, apart = answer
    return transform_points(matrix, points), apart * np.sqrt(abs(np.linalg.det(matrix[:, :2])))


def _learn(reference: Reference, dataset: FaceDataset, sha256: str) -> AnnotatorConvention:
    rows, faces = dataset.indices(Split.TRAIN, labelled=True), dataset.faces
    rows = rows[faces.label[rows] == LabelSource.HUMAN]
    names = [source.name for source in dataset.config.sources]
    learnt = {}
    for name in convention_sources(dataset):
        mine = rows[faces.source[rows] == names.index(name)]
        answers, apart, shown = [], [], []
        for row in mine[evenly_spread(len(mine), CONVENTION_FACES)]:
            answer = packed_answer(reference, dataset, int(row))
            if answer is not None:
                answers.append(answer[0])
                apart.append(answer[1])
                shown.append(row)
        if shown:
            found = estimate_convention(
                faces.points[shown].astype(np.float64), np.stack(answers), np.stack(apart), faces.point_mask[shown]
            )
            learnt |= {} if found is None else {name: found}
    offsets = mean_convention(list(learnt.values())) if learnt else np.zeros_like(faces.points[0], np.float64)
    counted = {name: one.faces for name, one in learnt.items()}
    return AnnotatorConvention(offsets, counted, sha256, str(dataset.data_hash))
