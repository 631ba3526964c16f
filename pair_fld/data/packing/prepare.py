"""`prepare`: sources -> checked, split, de-duplicated, packed loose crops (a folder that `dataset.FaceDataset` reads).

Steps: list the samples; load them in parts (resumable, in parallel); decide what stays; write the shards from
the parts, which are removed as they are used up; write the rows, the contact sheets and, last, run.json.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pair_fld.config import DataConfig, current_keys
from pair_fld.data.annotations import RECORD as ANNOTATION_RECORD
from pair_fld.data.conventions import rms
from pair_fld.data.dataset import SHARD, SPLITS, FaceTable, LabelSource
from pair_fld.data.packing.contact_sheet import GREEN, ORANGE, contact_sheet
from pair_fld.data.packing.parts import LoadedFaces, PartJob, damaged_part, make_jobs, read_rows, run_parts
from pair_fld.data.packing.report import add_label_notes, audit_labels, face_report, suspicious
from pair_fld.data.packing.splits import Selection, select
from pair_fld.data.packing.zero_points import shared_convention, source_placements, with_offsets
from pair_fld.data.sample import Excluded, Sample, evenly_spread
from pair_fld.data.second_opinion import consultations, open_reference, with_what_is_there
from pair_fld.data.sources.listing import list_samples
from pair_fld.errors import PairError
from pair_fld.io import atomic_path, read_record, write_json
from pair_fld.progress import Progress, no_progress
from pair_fld.runs import RECORD, claim_folder, provenance

PARTS = "parts"  # folder of an unfinished run
PLAN = "plan.json"  # in it: what the run is about
SHEET_SIDE = 8  # faces along a side of a contact sheet

# columns of a part's rows that the table of faces takes over
_SAME = ("points", "point_mask", "frame", "matrix", "label", "hash", "visibility", "tags")


def prepare(
    config: DataConfig,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Pack the faces of the configured sources into the folder `out`; the sources are only read.

    Args:
        resume: continue an interrupted run of the same configuration in `out`; a finished one just returns.
        overwrite: replace an earlier dataset (finished or not) in `out`.
        progress: called with (samples done, samples in all).

    Returns:
        The report: counts of faces by source and split, what was left out and why, duplicates, time.

    Raises:
        PairError: the configuration or a folder cannot be used, or no face is left.
    """
    out = Path(out)
    config = with_what_is_there(config)[0]
    if resume and (report := _finished_report(config, out)) is not None:
        return report
    started = time.monotonic()
    _refuse_inside_sources(config, out)
    listed = list_samples(config)
    samples, left_out = listed.samples, listed.left_out
    placements = source_placements(config, samples)
    convention = shared_convention(config, placements)
    asked = consultations(config, [None if one is None else one.shift for one in placements], convention)
    sources = with_offsets(config, placements, convention)
    offsets = [source.model_dump(mode="json")["offset"] for source in sources]
    plan = {
        "config": _essence(config),
        "samples": _fingerprint(samples),
        "offsets": offsets,
        "convention": None if convention is None else convention.tolist(),
        "reference": _reference_hash(config),
    }
    _open_folder(out, plan, resume=resume, overwrite=overwrite)
    jobs = make_jobs(out / PARTS, samples, sources, asked, config.pack_size, config.pack_margin)
    with _writing_errors(out):
        loaded = _load(jobs, config.num_workers, progress)
    loading = time.monotonic() - started
    rows, unusable = read_rows(jobs)
    left_out += unusable
    if len(rows):
        rows, doubtful = audit_labels(config, samples, rows)
        left_out += doubtful
    if not len(rows):
        raise PairError(out, "at least one usable face", f"none: {_common(left_out)}", "Check the sources.")
    selection = select(config, samples, rows)
    left_out += selection.left_out
    faces = _faces(samples, rows, selection)
    report = face_report(config, samples, faces, left_out, selection)
    report["warnings"], report["list_warnings"] = suspicious(config, samples, rows, selection)
    add_label_notes(report, config, placements, offsets, asked, samples, rows, selection)
    if convention is not None:
        report["convention"] = _convention_report(config, convention)
    report["passed_over"] = dict(sum(listed.passed_over, Counter()))
    with _writing_errors(out):
        _write_shards(out, jobs, rows, selection.kept)
        with atomic_path(out / "faces.npz") as temporary:
            faces.save(temporary)
        _write_sheets(out, faces)
        report["time"] = {
            "seconds": round(time.monotonic() - started, 1),
            "faces_loaded": loaded,
            "faces_per_second": round(loaded / loading, 1),
        }
        digest = content_hash(faces)
        record = provenance(config.model_dump(mode="json"), seed=config.seed, data_hash=digest)
        write_json(out / RECORD, {**record, "report": report})
        shutil.rmtree(out / PARTS)
    return report


def _convention_report(config: DataConfig, convention: np.ndarray) -> dict[str, Any]:
    """The convention (51, 2), % of the eye distance, and the sources whose mean it is."""
    return {
        "sources": config.convention,
        "rms_percent": round(rms(convention), 3),
        "points_percent": np.round(convention, 3).tolist(),
    }


def _load(jobs: list[PartJob], workers: int, progress: Progress) -> int:
    """Do the open parts; returns how many samples were loaded now, not by an earlier, interrupted run."""
    total = sum(len(job.samples) for job in jobs)
    before = done = 0
    for number, done in enumerate(itertools.accumulate(run_parts(jobs, workers))):
        before = done if number == 0 else before
        progress(done, total)
    return done - before


@contextmanager
def _writing_errors(out: Path) -> Generator[None]:
    """Say in a sentence what stopped the writing of a dataset; what is written is kept for --resume."""
    try:
        yield
    except BrokenProcessPool:
        remedy = "Run again with --resume and fewer `num_workers`."
        message = f"{out}: a loading process was killed, probably for lack of memory."
        raise PairError(out, message=message, remedy=remedy) from None
    except OSError as error:
        remedy = "Make room or correct the permissions and run again with --resume."
        raise PairError(out, "a folder that can be written", str(error), remedy) from None


def content_hash(faces: FaceTable) -> str:
    """sha256 over what a model learns from: the crops' hashes, points, validity, kinds of label, splits, and visibility
    where a source knows it."""
    digest = hashlib.sha256()
    digest.update("\n".join(faces.hash.tolist()).encode())
    visibility = [faces.visibility] if faces.visibility.any() else []
    for column in (faces.points, faces.point_mask, faces.label, faces.split, *visibility):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _essence(config: DataConfig) -> dict[str, Any]:
    """The part of a configuration that decides what is packed."""
    return _decisive(config.model_dump(mode="json"))


def _decisive(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key != "num_workers"}


def _finished_report(config: DataConfig, out: Path) -> dict[str, Any] | None:
    """The report of a finished dataset of this configuration; None when `out` holds no finished dataset."""
    if not (out / RECORD).is_file():
        return None
    record = read_record(out / RECORD, "a prepare record")
    whole = isinstance(record.get("report"), dict) and isinstance(record.get("config"), dict)
    if not whole or not (out / "faces.npz").is_file():
        raise PairError(out, "a dataset", "a run of another stage", "Choose another output folder.")
    if _essence(config) != _decisive(current_keys(record["config"])):
        remedy = "Choose another folder, or --overwrite to replace it."
        raise PairError(out, "a dataset of this configuration to resume", "one of another configuration", remedy)
    shutil.rmtree(out / PARTS, ignore_errors=True)  # left when the run was killed just before its last step
    return record["report"]


def _refuse_inside_sources(config: DataConfig, out: Path) -> None:
    """An output folder below a source would add files to what must not change and what the next run lists."""
    for source in config.sources:
        if source.path is None:
            continue
        folder = (Path(config.root) / source.path).resolve()
        if out.resolve() == folder or folder in out.resolve().parents:
            found = f"one inside the data of source {source.name!r}"
            raise PairError(out, "an output folder outside the data", found, "Choose another output folder.")


def _fingerprint(samples: list[Sample]) -> str:
    """sha256 over names, sizes and times of all files: a run is resumed over the same files only."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(sample.key.encode("utf-8", errors="replace"))
        for path in (sample.path, sample.label):
            if path is not None and path != Path():
                found = path.stat()
                digest.update(f"{found.st_size}:{found.st_mtime_ns};".encode())
        if sample.points is not None:
            digest.update(sample.points.tobytes())
    return digest.hexdigest()


def _open_folder(out: Path, plan: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Make the output folder, or take up the unfinished one that `plan` describes."""
    plan_path = out / PARTS / PLAN
    if resume and plan_path.is_file() and not (out / RECORD).is_file():
        _check_plan(out, read_record(plan_path, "the plan of an unfinished run"), plan)
        for stray in (out / PARTS).glob(".*"):  # half-written files of the killed run
            stray.unlink()
        return
    claim_folder(out, "prepare", overwrite=overwrite)
    write_json(plan_path, plan)


def _check_plan(out: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    remedy = "Choose another folder, or --overwrite to start again."
    if old.get("config") != new["config"]:
        raise PairError(out, "an unfinished run of this configuration", "one of another configuration", remedy)
    if old.get("samples") != new["samples"]:
        raise PairError(out, "the source files of the interrupted run", "added, removed or changed files", remedy)
    if old.get("reference") != new["reference"]:
        raise PairError(out, "the reference of the interrupted run", "another one", remedy)
    if any(old.get(key, new[key]) != new[key] for key in ("offsets", "convention")):
        message = f"{out}: the reference has changed since the interrupted run."
        raise PairError(out, message=message, remedy=remedy)


def _write_shards(out: Path, jobs: list[PartJob], rows: LoadedFaces, kept: np.ndarray) -> None:
    """Gather the kept crops into shards; parts are removed once no later shard needs them."""
    part, place = rows.part[kept], rows.place[kept]
    for shard, first in enumerate(range(0, len(kept), SHARD)):
        last = min(first + SHARD, len(kept))
        target = out / f"shard-{shard:05d}.npy"
        if not target.is_file():
            temporary = out / PARTS / f".{target.name}"
            shape = (last - first, jobs[0].size, jobs[0].size, 3)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            # written, not memory-mapped: on a full disk a map ends the process with a signal
            with temporary.open("wb") as stream:
                np.lib.format.write_array_header_1_0(stream, header)
                for number in np.unique(part[first:last]):  # rows lie in the order of their parts
                    mine = place[first:last][part[first:last] == number]
                    stream.write(_crops_of(jobs[number])[mine].tobytes())
            os.replace(temporary, target)
        needed = part[last] if last < len(kept) else len(jobs)
        for job in jobs[:needed]:
            job.crops.unlink(missing_ok=True)


def _crops_of(job: PartJob) -> np.ndarray:
    try:
        crops = np.load(job.crops, mmap_mode="r", allow_pickle=False)
        if not isinstance(crops, np.memmap) or crops.dtype != np.uint8 or crops.shape[1:] != (job.size, job.size, 3):
            raise ValueError(f"no crops of {job.size} pixels")
    except (OSError, ValueError, EOFError, MemoryError, SyntaxError) as error:
        raise damaged_part(job, job.crops, error) from None
    return crops


def _faces(samples: list[Sample], rows: LoadedFaces, selection: Selection) -> FaceTable:
    kept = selection.kept
    mine = [samples[k] for k in rows.index[kept]]
    same = {name: getattr(rows, name)[kept] for name in _SAME}
    return FaceTable(
        **same,
        split=selection.split[kept],
        source=np.array([s.source for s in mine], np.int16),
        path=np.array([s.key for s in mine], str),
    )


def _reference_hash(config: DataConfig) -> str | None:
    """Of what the reference's answers follow from: its record and its map."""
    if config.reference is None:
        return None
    open_reference(config.reference)  # which says in a sentence what cannot be read
    record = (Path(config.reference.labels) / ANNOTATION_RECORD).read_bytes()
    return hashlib.sha256(record + Path(config.reference.scheme).read_bytes()).hexdigest()


def _common(left_out: list[Excluded]) -> str:
    counts = Counter(o.reason for o in left_out).most_common(3)
    return ", ".join(f"{count} x {reason}" for reason, count in counts)


def _write_sheets(out: Path, faces: FaceTable) -> None:
    """sheet-SPLIT.png: faces evenly spread over each split; machine-made points in orange."""
    shards = [np.load(path, mmap_mode="r") for path in sorted(out.glob("shard-*.npy"))]
    for split, name in enumerate(SPLITS):
        rows = np.flatnonzero(faces.split == split)
        if not len(rows):
            continue
        rows = rows[evenly_spread(len(rows), SHEET_SIDE**2)]
        crops = [shards[row // SHARD][row % SHARD] for row in rows]
        colours = [ORANGE if kind == LabelSource.MACHINE else GREEN for kind in faces.label[rows]]
        sheet = contact_sheet(crops, faces.points[rows], faces.point_mask[rows], SHEET_SIDE, 1.0, colours)
        with atomic_path(out / f"sheet-{name}.png") as temporary:
            temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
