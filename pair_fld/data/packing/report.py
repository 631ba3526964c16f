"""What `prepare` reports of a dataset (in run.json, on screen, for the card), and the audit of its labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import DataConfig
from pair_fld.data.annotations import Annotations
from pair_fld.data.audit import CERTAIN, check_shapes, image_points
from pair_fld.data.dataset import LABEL_SOURCES, SPLITS, FaceTable, LabelSource
from pair_fld.data.packing.parts import LoadedFaces
from pair_fld.data.packing.splits import Selection
from pair_fld.data.packing.zero_points import Placement
from pair_fld.data.sample import BEHIND, SELF_HIDDEN, STORED_FRAME, Excluded, Sample
from pair_fld.data.second_opinion import Consultation, open_reference


def face_report(
    config: DataConfig, samples: list[Sample], faces: FaceTable, left_out: list[Excluded], selection: Selection
) -> dict[str, Any]:
    """Counts of the packed faces by source, split and kind of label, and of what was left out, by reason."""
    sources = []
    for number, source in enumerate(config.sources):
        mine = faces.source == number
        people = {s.identity for s in samples if s.source == number and s.identity is not None}
        missing = int((~faces.point_mask[mine & (faces.label != LabelSource.NONE)]).sum())
        sources.append(
            {
                "name": source.name,
                "kind": source.kind,
                "labels": source.labels,
                "listed": sum(s.source == number for s in samples),
                **{name: int((mine & (faces.split == split)).sum()) for split, name in enumerate(SPLITS)},
                "people": len(people),  # 0: the source does not know; each face is split by itself
                # people that the pattern does not name are split face by face: they may stand on both sides
                "without_identity": sum(s.source == number and s.identity is None for s in samples)
                if source.identity is not None
                else None,
                "masked_points": missing,
                "points_behind_something": int((faces.visibility[mine] == BEHIND).sum()),
                "points_hidden_by_the_head": int((faces.visibility[mine] == SELF_HIDDEN).sum()),
                "left_out": dict(Counter(o.reason for o in left_out if o.source == number)),
            }
        )
    return {
        "faces": len(faces),
        **{name: int((faces.split == split).sum()) for split, name in enumerate(SPLITS)},
        "by_label": {kind: int((faces.label == k).sum()) for k, kind in enumerate(LABEL_SOURCES)},
        "sources": sources,
        "left_out": dict(Counter(o.reason for o in left_out).most_common()),
        "near_pairs_kept": selection.near_kept,
        "duplicate_pairs_in_test": selection.test_pairs,
        "list_left_out": [{**asdict(o), "source": config.sources[o.source].name} for o in left_out],
    }


def add_label_notes(
    report: dict[str, Any],
    config: DataConfig,
    placements: Sequence[Placement | None],
    offsets: Sequence[Any],
    asked: Sequence[Consultation | None],
    samples: list[Sample],
    rows: LoadedFaces,
    selection: Selection,
) -> None:
    """Add to each source of a report where its labels lay against the reference (shift; convention of each point), the
    offset as it was applied, what a second opinion changed, and the annotator whose points it has."""
    for number, (entry, source) in enumerate(zip(report["sources"], config.sources, strict=True)):
        placement, wish = placements[number], asked[number]
        entry["shift"] = None if placement is None else placement.shift.to_json()
        by_point = None if placement is None else placement.convention
        entry["convention"] = None if by_point is None else by_point.to_json()
        entry["offset"] = offsets[number]
        entry["second_opinion"] = None if wish is None else _opinion_counts(number, samples, rows, selection)
        # for the card of what learns from it
        if source.kind == "annotation":
            entry["annotator"] = Annotations(Path(config.root) / (source.path or "")).record.get("about", {})
        elif wish is not None:
            entry["annotator"] = open_reference(wish.reference).labels.record.get("about", {})


def audit_labels(config: DataConfig, samples: list[Sample], rows: LoadedFaces) -> tuple[LoadedFaces, list[Excluded]]:
    """The rows with labels that are not the shape of a face noted as `warning`, or taken out where `audit: drop`."""
    if config.audit == "off":
        return rows, []
    labelled = np.flatnonzero(rows.label != LabelSource.NONE)
    points = image_points(rows.points[labelled].astype(np.float64), rows.matrix[labelled])
    verdicts = {v.row: v for v in check_shapes(points, rows.point_mask[labelled])}
    wrong = {int(labelled[row]): v for row, v in verdicts.items() if v.reason in CERTAIN}
    if config.audit == "warn":
        warning = rows.warning.astype(object)
        for row, verdict in wrong.items():
            warning[row] = warning[row] or verdict.reason
        return replace(rows, warning=warning.astype(str)), []
    keep = np.ones(len(rows), bool)
    keep[list(wrong)] = False
    left_out = []
    for row, verdict in wrong.items():
        sample = samples[rows.index[row]]
        sentence = f"{sample.key}: {verdict.reason}, {verdict.detail}"
        left_out.append(Excluded(sample.key, sample.source, f"audit: {verdict.reason}", sentence))
    return rows.take(keep), left_out


def suspicious(
    config: DataConfig, samples: list[Sample], rows: LoadedFaces, selection: Selection
) -> tuple[dict[str, int], list[dict[str, str]]]:
    """How many packed faces may be wrong, by reason, and which.

    Where most turned images of a source are suspicious, all of them are: a nearly symmetric face that is mirrored does
    not show it.
    """
    kept = selection.kept
    sources = np.array([samples[k].source for k in rows.index[kept]], int)
    turned, warning = rows.turned[kept], rows.warning[kept].astype(object)
    for source in range(len(config.sources)):
        mine = turned & (sources == source)
        if 2 * (warning[mine] == STORED_FRAME).sum() > mine.sum():
            warning[mine] = STORED_FRAME
    listed = [
        {"path": samples[k].key, "source": config.sources[samples[k].source].name, "reason": str(reason)}
        for k, reason in zip(rows.index[kept], warning, strict=True)
        if reason
    ]
    return dict(Counter(entry["reason"] for entry in listed)), listed


def _opinion_counts(source: int, samples: list[Sample], rows: LoadedFaces, selection: Selection) -> dict[str, int]:
    """What a second opinion changed in the packed faces of a source."""
    mine = np.array([k for k in selection.kept if samples[rows.index[k]].source == source], int)
    relabelled, filled = rows.relabelled[mine], int(rows.filled[mine].sum(dtype=int))
    return {
        "labelled_points": int(rows.point_mask[mine][~relabelled].sum()) - filled,
        "averaged_points": int(rows.averaged[mine].sum(dtype=int)),
        "filled_points": filled,
        "relabelled_faces": int(relabelled.sum()),
    }
