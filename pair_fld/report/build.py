"""One report: everything measured, then everything drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.evaluate.report import POINTS, Result
from pair_fld.evaluate.validate import Truth, open_model
from pair_fld.inference.archive import MODEL_FILES, shipped_archive, unpacked
from pair_fld.inference.drawing import write_image
from pair_fld.io import atomic_path, write_json
from pair_fld.progress import Progress
from pair_fld.report.figures import (
    Scored,
    attribute_figures,
    ced_figure,
    curve_figures,
    mean_face_figure,
    reliability_figure,
)
from pair_fld.report.measure import FaceSet, Predictions, load_faces, predict_faces
from pair_fld.report.page import Page, Section, write_page
from pair_fld.report.pareto import Own, pareto_figures, time_ratios
from pair_fld.report.scores import score_faces
from pair_fld.report.style import Plate, slug
from pair_fld.report.subject import Subject
from pair_fld.report.tables import Table, group_table, model_table, region_table, result_regions, stored_regions
from pair_fld.report.tiles import FaceTile, face_tiles, sheet
from pair_fld.runtime.scheme import NUM_POINTS

SCORED_IMAGES = 150  # on which whole archives run
PAGE, FIGURES = "report.html", "report.json"
ProgressOf = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Measured:
    """All that a report shows.

    Attributes:
        subjects: the models.
        faces: the labelled faces; None where none were named.
        predictions: by model.
        scored: by archive, end to end.
        times: by model file, ratio to tiny.
    """

    subjects: Sequence[Subject]
    faces: FaceSet | None = None
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    scored: Mapping[str, Scored] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)

    @property
    def results(self) -> dict[str, Result]:
        return {name: one.result for name, one in self.predictions.items()}


def measure(subjects: Sequence[Subject], truth: Truth | None, progress: ProgressOf) -> Measured:
    """Measure every model on the labelled faces, archives end to end too, and time the model files in turns.

    Args:
        subjects: the models, opened.
        truth: the labelled faces; None leaves what is stored with the models.
        progress: makes a progress line of a name.
    """
    with unpacked(shipped_archive()) as folder:
        timed = {s.name: s.model for s in subjects if s.model.suffix.lower() != ".pt"}
        times = time_ratios(timed, folder / MODEL_FILES[0]) if timed else {}
    if truth is None:
        return Measured(subjects, times=times)
    with progress("faces") as bar:
        faces = load_faces(truth, bar)
    predictions, scored = {}, {}
    for subject in subjects:
        with progress(subject.name) as bar:
            predictions[subject.name] = predict_faces(open_model(subject.model), truth, faces, bar)
        if subject.pipeline is not None:
            with progress(f"{subject.name}, end to end") as bar:
                one = score_faces(subject.pipeline, truth, SCORED_IMAGES, bar)
            if one is not None:
                scored[subject.name] = one
    return Measured(subjects, faces, predictions, scored, times)


def write_report(measured: Measured, folder: Path, about: Mapping[str, Any]) -> None:
    """report.html, report.json and a PNG of each figure, into an empty folder.

    Args:
        measured: what to show.
        folder: of the results.
        about: provenance: versions, commit and how the report was called.
    """
    scores = {name: result.to_json() for name, result in measured.results.items()}
    tables = _tables(measured, scores)
    sheets = {
        name: face_tiles(measured.faces, predictions)
        for name, predictions in measured.predictions.items()
        if measured.faces is not None
    }
    sections = _sections(measured, tables, sheets)
    for plate in (plate for section in sections for plate in section.plates):
        with atomic_path(folder / f"{plate.name}.png") as draft:
            draft.write_bytes(plate.png())
    for name, groups in sheets.items():
        write_image(folder / f"faces-{slug(name)}.png", sheet(groups))
    write_json(folder / FIGURES, to_json(measured, about))
    write_page(Page(_title(measured), _lead(measured), tuple(sections), about), folder / PAGE)


def to_json(measured: Measured, about: Mapping[str, Any]) -> dict[str, Any]:
    """All figures as plain values; what was not measured is absent."""
    models: dict[str, Any] = {}
    for subject in measured.subjects:
        tree: dict[str, Any] = {"kind": subject.kind, "file": subject.model.name}
        tree |= {k: v for k, v in (("size_mb", subject.size_mb), ("gflops", subject.gflops)) if v is not None}
        if subject.name in measured.times:
            tree["time_ratio_to_tiny"] = round(measured.times[subject.name], 3)
        if subject.name in measured.predictions:
            tree["measured"] = measured.predictions[subject.name].result.to_json()
        if (one := measured.scored.get(subject.name)) is not None:
            tree["end_to_end"] = {
                "labelled_faces": one.labelled, "missed_faces": one.missed, "unmatched_faces": one.unmatched,
                "scored_faces": len(one.scores), "expected_calibration_error": round(one.error, 4),
            }  # fmt: skip
        tree["lineage"] = {step.title: list(step.lines) for step in subject.lineage}
        models[subject.name] = tree
    tree = {"models": models, "about": dict(about)}
    if measured.faces is not None:
        tree["faces"] = len(measured.faces.names)
        tree["left_out"] = [entry.sentence for entry in measured.faces.left_out]
    return tree


def _tables(measured: Measured, scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Table]:
    tables = {"models": model_table(measured.subjects, scores, measured.times)}
    groups = {name: result.groups() for name, result in measured.results.items()}
    if any(len(own) > 1 for own in groups.values()):
        trees = {name: {g: one.to_json() for g, one in own.items()} for name, own in groups.items()}
        tables["sources"] = group_table("By source", trees)
    if not groups and (stored := {s.name: s.stored for s in measured.subjects if s.stored}):
        tables["stored"] = group_table("Stored with the archives by pairfld package", stored)
    if regions := _regions(measured):
        tables["regions"] = region_table(regions)
    return tables


def _regions(measured: Measured) -> dict[str, dict[str, float]]:
    if measured.predictions:
        return {name: result_regions(result) for name, result in measured.results.items()}
    stored = {subject.name: stored_regions(subject.stored) for subject in measured.subjects}
    return {name: own for name, own in stored.items() if own}


def _sections(
    measured: Measured, tables: Mapping[str, Table], sheets: Mapping[str, Mapping[str, list[FaceTile]]]
) -> list[Section]:
    shown = tuple(tables[name] for name in ("models", "sources", "stored") if name in tables)
    sections = [Section("models", "Models", tables=shown)]
    if measured.results:
        sections.append(Section("ced", "Cumulative errors", plates=(ced_figure(measured.results),)))
    if "regions" in tables:
        sections.append(Section("regions", "Error on the face", _mean_faces(measured), (tables["regions"],)))
    if sheets:
        sections.append(Section("faces", "Faces", faces=sheets))
    if measured.faces is not None:
        plates = attribute_figures(measured.faces.attributes, measured.results)
        sections.append(Section("attributes", "Pose, size, sharpness, light", tuple(plates)))
    if measured.scored:
        note = " ".join(
            f"{name}: {one.labelled - one.missed} of {one.labelled} labelled faces found; "
            f"{one.unmatched} found faces have no label and are not judged."
            for name, one in measured.scored.items()
        )
        sections.append(Section("scores", "Scores", (reliability_figure(measured.scored),), note=note))
    if plates := _pareto(measured):
        sections.append(Section("pareto", "Size, time and error", tuple(plates)))
    if curves := {s.name: s.curves for s in measured.subjects if s.curves}:
        sections.append(Section("curves", "Training curves", tuple(curve_figures(curves))))
    chains = {s.name: s.lineage for s in measured.subjects if s.lineage}
    if chains:
        sections.append(Section("lineage", "Lineage", chains=chains))
    return [section for section in sections if section.filled]


def _mean_faces(measured: Measured) -> tuple[Plate, ...]:
    points = {name: result.points for name, result in measured.results.items()}
    if not measured.results:
        for subject in measured.subjects:
            own = next((group[POINTS] for group in subject.stored.values() if POINTS in group), None)
            if isinstance(own, list) and len(own) == NUM_POINTS:
                known = [float(v) if isinstance(v, int | float) else np.nan for v in own]
                points[subject.name] = np.array(known)
    finite = np.concatenate([np.asarray(p, float)[np.isfinite(p)] for p in points.values()] or [np.zeros(0)])
    if not len(finite):
        return ()
    limit, regions = float(np.ceil(finite.max())), _regions(measured)
    return tuple(mean_face_figure(name, own, regions.get(name, {}), limit) for name, own in points.items())


def _pareto(measured: Measured) -> list[Plate]:
    models = []
    for subject in measured.subjects:
        groups = dict(subject.stored)
        if subject.name in measured.predictions:
            own = measured.predictions[subject.name].result.groups()
            groups |= {name.replace("/", "-"): group.to_json() for name, group in own.items()}
        models.append(Own(subject.name, groups, subject.size_mb, measured.times.get(subject.name)))
    whole = next((name.replace("/", "-") for one in measured.results.values() for name in one.groups()), None)
    return pareto_figures(models, whole)


def _title(measured: Measured) -> str:
    return ", ".join(subject.name for subject in measured.subjects)


def _lead(measured: Measured) -> str:
    if measured.faces is None:
        return "No labelled faces were named, so only what is stored with the models is shown."
    sources = list(dict.fromkeys(measured.faces.sources))
    text = f"Measured on {len(measured.faces.names)} labelled faces of {', '.join(sources)}, cropped by their labels."
    left = len(measured.faces.left_out)
    return text + (f" {left} could not be used; report.json says why." if left else "")
