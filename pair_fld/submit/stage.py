"""The package stage: box policy and provenance into the model files, figures into the card, all into the archive."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pair_fld.config import DataConfig, RecipeConfig
from pair_fld.data.loading import read_face
from pair_fld.data.pack import NONE, TRAIN, Pack
from pair_fld.data.sample import Sample, SkipFace
from pair_fld.data.sources import list_samples
from pair_fld.data.synthetic import render_scene
from pair_fld.errors import PairError
from pair_fld.evaluate.detection import learn_box_policy, measure_detector
from pair_fld.evaluate.predict import Truth, labelled_faces, open_model, validate_model
from pair_fld.evaluate.report import Result, ced_plot
from pair_fld.export.metadata import stamp
from pair_fld.runs import file_hash, provenance, read_json, write_json
from pair_fld.runtime.detector import BlazeFace
from pair_fld.runtime.geometry import points_box
from pair_fld.runtime.scheme import to_51
from pair_fld.runtime.session import read_metadata
from pair_fld.submit.detector_file import find_detector
from pair_fld.submit.pack import PackageReport, package

Say = Callable[[str], None]
POLICY_FACES = 400  # training pictures that the box policy is learnt on
SCENES = 12  # rendered pictures for verification where a recipe has no photographs


def box_policy(pack: Pack, detector: Path, cache: Path, say: Say) -> dict[str, Any]:
    """How the finder's boxes relate to 51-point boxes, learnt on labelled training pictures; kept in `cache`.

    Raises:
        PairError: the finder saw too few of them to learn from.
    """
    key = {"detector": file_hash(detector), "data_hash": pack.data_hash, "faces": POLICY_FACES}
    if cache.is_file() and (kept := read_json(cache, "a box policy"))["key"] == key:
        return kept["policy"]
    finder = BlazeFace(detector)
    say(f"learning the box policy of {finder.name} on training pictures")
    result = measure_detector(finder, _training_pictures(pack))
    if len(result.boxes) < 20:
        found = f"{len(result.boxes)} of {result.faces}"
        remedy = "Train on pictures that show whole heads."
        raise PairError("face finder", "20 or more training faces found to learn from", found, remedy)
    policy = learn_box_policy(result.boxes, result.truth, finder.name)
    write_json(cache, {"key": key, "policy": policy, "measured": result.to_json()})
    return policy


def _training_pictures(pack: Pack) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(picture, 51-point box (1, 4) _img) of training faces, evenly spread over the labelled sources."""
    config = DataConfig.model_validate_json(json.dumps(pack.record["config"]))
    samples = {sample.key: sample for sample in list_samples(config)[0]}
    faces = pack.faces
    labelled = np.flatnonzero((faces.split == TRAIN) & (faces.label != NONE))
    sources = np.unique(faces.source[labelled])
    for source in sources:
        rows = labelled[faces.source[labelled] == source]
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, POLICY_FACES // len(sources)).astype(int))]
        for row in chosen:
            sample = samples.get(str(faces.path[row]))
            if sample is None:
                continue
            image, points, valid = _face(sample, config)
            yield image, points_box(points, valid)[None]


def _face(sample: Sample, config: DataConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image, raw = read_face(sample, config.sources[sample.source])
    assert raw is not None, "labelled faces have points"
    return image, *to_51(raw)


@dataclass(frozen=True)
class Built:
    """An archive, the figures of its model on labelled boxes, and its provenance."""

    report: PackageReport
    result: Result
    record: dict[str, Any]


def build(recipe: RecipeConfig, pack: Pack, tflite: Path, onnx: Path | None, out: Path, name: str, say: Say) -> Built:
    """Stamp, measure and pack; `out` is an empty folder and gets NAME.zip, the models, metrics.json, ced.png.

    Raises:
        GateError: a bound of the budget is broken. PairError: inputs that cannot be used.
    """
    detector, licence = find_detector()
    policy = box_policy(pack, detector, out.parent / "box-policy.json", say)
    models = []
    for source in (tflite, *([onnx] if onnx else [])):
        metadata = read_metadata(source)
        metadata["crop"]["from_detector"] = policy
        models.append(out / source.name)
        shutil.copyfile(source, models[-1])
        stamp(models[-1], metadata)
    say("measuring the shipped file on the test faces")
    result, _ = validate_model(open_model(models[0], threads=2), labelled_faces(recipe.data))
    metrics = _by_source(result)
    ced_plot({name: result}, out / "ced.png")
    record = provenance(recipe.model_dump(mode="json"), seed=recipe.student.train.seed, data_hash=pack.data_hash)
    record["data_report"] = {"sources": pack.record["report"]["sources"]}
    say("packing")
    report = package(
        models, out / f"{name}.zip", recipe.budget, metrics=metrics, record=record, name=name,
        detector=(detector, licence), ced_png=out / "ced.png",
    )  # fmt: skip
    write_json(out / "metrics.json", {"metrics": metrics, "package": report.to_json(), "box_policy": policy})
    return Built(report, result, record)


def _by_source(result: Result) -> dict[str, dict[str, Any]]:
    """`Result.to_json()` by source, with the regions only where there is one source."""
    tree = result.to_json()
    if len(result.sources) == 1:
        return {next(iter(result.sources)): tree}
    return {"all": tree, **tree["sources"]}


def verification_pictures(truth: Truth, folder: Path, limit: int) -> tuple[list[Path], dict[str, list[np.ndarray]]]:
    """Pictures to run an archive on, and their faces by stem: photographs of the test sources, else rendered scenes.

    Args:
        folder: where rendered scenes are written. limit: photographs at most, evenly spread over each source.
    """
    pictures: list[Path] = []
    faces: dict[str, list[np.ndarray]] = {}
    kinds = {source.kind for source in truth.config.sources}
    if kinds <= {"ibug", "ivslab", "csv"}:
        for number in range(len(truth.config.sources)):
            mine = [s for s in truth.samples if s.source == number]
            share = max(1, limit // len(truth.config.sources))
            for k in np.unique(np.linspace(0, len(mine) - 1, min(share, len(mine))).astype(int)):
                sample = mine[int(k)]
                if sample.path.stem in faces:
                    continue  # a second picture of that name would overwrite the first one's answer
                try:
                    raw = read_face(sample, truth.config.sources[sample.source])[1]
                except SkipFace:
                    continue
                pictures.append(sample.path)
                faces[sample.path.stem] = [] if raw is None else [raw]
        return pictures, faces
    folder.mkdir(parents=True, exist_ok=True)
    seed = 1 + max(source.seed for source in truth.config.sources)
    for k in range(SCENES):
        scene = render_scene(seed, k, faces=(1, 1, 2, 0)[k % 4])
        path = folder / f"scene{k:03d}.png"
        cv2.imwrite(str(path), scene.image)
        pictures.append(path)
        faces[path.stem] = [np.asarray(points) for points in scene.faces]
    return pictures, faces
