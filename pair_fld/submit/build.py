"""The package stage: box policy and provenance into the model files, figures into the card, all into the archive."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pair_fld.config import RecipeConfig
from pair_fld.data.dataset import TRAIN, Pack
from pair_fld.data.load_face import read_face
from pair_fld.data.sample import SkipFace
from pair_fld.data.source_images import pack_pictures
from pair_fld.data.synthetic import render_scene
from pair_fld.errors import PairError
from pair_fld.evaluate.matching import learn_box_policy, measure_detector
from pair_fld.evaluate.report import Result, ced_plot
from pair_fld.evaluate.validate import Truth, labelled_faces, open_model, validate_model
from pair_fld.export.metadata import stamp
from pair_fld.face_detector.files import find_detector
from pair_fld.io import file_hash, read_json, write_json
from pair_fld.runs import provenance
from pair_fld.runtime.detector import open_detector
from pair_fld.runtime.session import read_metadata
from pair_fld.submit.archive import PackageReport, package

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
    finder = open_detector(detector)
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
    sources = len(np.unique(pack.faces.source[pack.rows(TRAIN, labelled=True)]))
    for picture in pack_pictures(pack, TRAIN, POLICY_FACES // max(1, sources)):
        yield picture.image, picture.boxes


@dataclass(frozen=True)
class Built:
    """An archive, the figures of its model on labelled boxes, and its provenance."""

    report: PackageReport
    result: Result
    record: dict[str, Any]


def build(
    recipe: RecipeConfig,
    pack: Pack,
    tflite: Path,
    onnx: Path | None,
    out: Path,
    name: str,
    say: Say,
    finder: tuple[Path, str] | None = None,
    teacher: Path | None = None,
) -> Built:
    """Stamp, measure and pack; `out` is an empty folder and gets NAME.zip, the models, metrics.json, ced.png.

    finder: the face finder's .tflite and licence, default `find_detector`'s. With `onnx` a finder.onnx beside it goes
    along. teacher: a checkpoint that the recipe's teacher section describes.

    Raises:
        GateError: a bound of the budget is broken. PairError: inputs that cannot be used.
    """
    detector, licence = finder or find_detector()
    beside = detector.with_suffix(".onnx") if onnx and detector.with_suffix(".onnx").is_file() else None
    _check_data(tflite, pack)
    policy = box_policy(pack, detector, out.parent / "box-policy.json", say)
    models = []
    for source in (tflite, *([onnx] if onnx else [])):
        metadata = read_metadata(source)
        metadata["crop"]["from_detector"] = policy
        models.append(out / source.name)
        shutil.copyfile(source, models[-1])
        stamp(models[-1], metadata)
    say("measuring the shipped file on the test faces")
    result, _ = validate_model(open_model(models[0], threads=2), labelled_faces(pack.config))
    metrics = _by_source(result)
    ced_plot({name: result}, out / "ced.png")
    record = _record(recipe, pack, read_metadata(models[0]), teacher)
    record["data_report"] = {"sources": pack.record["report"]["sources"]}
    say("packing")
    report = package(
        models, out / f"{name}.zip", recipe.budget, metrics=metrics, record=record, name=name,
        detector=(detector, licence), detector_onnx=beside, ced_png=out / "ced.png",
    )  # fmt: skip
    tree = {"metrics": metrics, "package": report.to_json(), "box_policy": policy}
    plain = tflite.with_name("model-fp32.tflite")
    if plain.is_file() and plain != tflite:
        say("measuring the float file beside it")
        float_result, _ = validate_model(open_model(plain, threads=2), labelled_faces(pack.config))
        tree["float_file"] = _by_source(float_result)
    write_json(out / "metrics.json", tree)
    return Built(report, result, record)


def _check_data(tflite: Path, pack: Pack) -> None:
    """PairError when a file was made from other data: its card would describe the wrong faces."""
    own = read_metadata(tflite).get("data_hash")
    if own is not None and own != pack.data_hash:
        found = f"one of {own[:12]}"
        remedy = "Give the pack that it was quantized with (--data), or quantize anew."
        raise PairError(tflite, f"a model of the data {pack.data_hash[:12]} in {pack.folder}", found, remedy)


def _record(recipe: RecipeConfig, pack: Pack, metadata: dict[str, Any], teacher: Path | None) -> dict[str, Any]:
    """Provenance of the shipped model: the student as it was really trained, the teacher only if it is the recipe's."""
    config = recipe.model_dump(mode="json")
    trained = metadata.get("trained") or {}
    if "config" in trained:
        config["student"] = trained["config"]
    if trained.get("teacher") != (file_hash(teacher) if teacher is not None and teacher.is_file() else None):
        config.pop("teacher")
    record = provenance(config, seed=trained.get("seed"), data_hash=pack.data_hash)
    about = {"trained_at_commit": trained.get("commit"), "teacher_sha256": trained.get("teacher")}
    return record | about


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
