"""The package stage: calibration and provenance into the model files, figures into the card, all into the archive."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import RecipeConfig
from pair_fld.data.dataset import FaceDataset, Split
from pair_fld.data.source_images import read_source_images, source_image_count
from pair_fld.data.synthetic.faceless import draw_faceless, scrambled
from pair_fld.errors import GateError, PairError
from pair_fld.evaluate.confidence import collect_candidates, learn_confidence
from pair_fld.evaluate.detector_calibration import measured_calibration
from pair_fld.evaluate.label_convention import LabelConvention, learn_convention, open_convention
from pair_fld.evaluate.report import Result
from pair_fld.evaluate.validate import labelled_faces, open_model, validate_model
from pair_fld.export.metadata import replace_metadata
from pair_fld.export.model_cost import model_cost
from pair_fld.io import file_hash, read_json, write_json
from pair_fld.progress import Say, say_nothing
from pair_fld.report.documents import document_figures
from pair_fld.report.measure import load_faces, predict_faces
from pair_fld.runs import RECORD, provenance
from pair_fld.runtime.calibration import DetectorCalibration
from pair_fld.runtime.confidence import Confidence
from pair_fld.runtime.detector import open_detector
from pair_fld.runtime.label_convention import NEUTRAL
from pair_fld.runtime.metadata import has_heatmaps
from pair_fld.runtime.pipeline import Pipeline, PipelineOptions
from pair_fld.runtime.session import load_model, read_metadata
from pair_fld.submit.archive import PackageReport, package, runtime_hash

CONFIDENCE_FACES = 60  # held-back training images per source that the scores are learnt on
# Images without a face beside them: so many for each with one, and at most.
FACELESS_PER_FACE, FACELESS = 2, 420
SCRAMBLED_SIDE = 900  # longest side of these: larger ones cost more and tell the same
SCRAMBLED_PER_SOURCE = 16  # training images of each source whose blocks are mixed, beside these


def learned_confidence(
    dataset: FaceDataset, model: Path, detector: Path, calibration: DetectorCalibration, say: Say
) -> Confidence | None:
    """What a face's score means, learnt on the held-back training images and on others without a face: drawn ones, and
    training images whose blocks are mixed.

    None for a model without heatmaps, and where the held-back faces are too few: the detector then decides alone.
    """
    opened = load_model(model)
    if not has_heatmaps(opened.metadata):
        return None
    opened.metadata["crop"]["detector_calibration"] = calibration.to_json()
    say("learning what a face's score means, on held-back training images")
    held_back = ((p.image, p.faces) for p in read_source_images(dataset, Split.VALID, CONFIDENCE_FACES))
    count = min(FACELESS, FACELESS_PER_FACE * source_image_count(dataset, Split.VALID, CONFIDENCE_FACES))
    drawn = ((draw_faceless(0, number)[1], ()) for number in range(count))
    pipeline = Pipeline(open_detector(detector), opened)
    try:
        return learn_confidence(collect_candidates(pipeline, chain(held_back, drawn, _scrambled_images(dataset))))
    except ValueError as error:
        say(f"scores are the detector's alone: {error}")
        return None


def _scrambled_images(dataset: FaceDataset) -> Iterator[tuple[np.ndarray, Sequence[np.ndarray]]]:
    """(image, no faces): the textures of training images, in blocks of all sizes, which seldom hold a whole face."""
    rng = np.random.default_rng(0)
    for source in read_source_images(dataset, Split.TRAIN, SCRAMBLED_PER_SOURCE):
        if max(source.image.shape[:2]) <= SCRAMBLED_SIDE:
            yield scrambled(source.image, rng, int(rng.integers(8, 21))), ()


@dataclass(frozen=True)
class ArchiveSpec:
    """What an archive is made of.

    Attributes:
        recipe: budget and provenance.
        name: of the archive, without its suffix.
        tflite: the released model file.
        onnx: the same model for ONNX Runtime; None leaves it out.
        detector: .tflite and licence text of the face detector.
        teacher: a checkpoint that the recipe's teacher section may describe.
        convention: whose labels the points follow: neutral, or a name or path of configs/convention.
        options: what the archive does where its call says nothing; None leaves it to the detector and the runtime.
    """

    recipe: RecipeConfig
    name: str
    tflite: Path
    onnx: Path | None
    detector: tuple[Path, str]
    teacher: Path | None = None
    convention: str = NEUTRAL
    options: PipelineOptions = field(default_factory=PipelineOptions)

    @property
    def inputs(self) -> list[Path]:
        """Every file that is read."""
        return [path for path in (self.tflite, self.onnx, self.detector[0], self.teacher) if path is not None]

    def check(self) -> None:
        """PairError for a missing model file or convention, GateError for one whose own quantize run broke a gate."""
        open_convention(self.convention)
        if not self.tflite.is_file():
            remedy = "Run pairfld quantize first."
            raise PairError(self.tflite, "a .tflite of pairfld quantize", "no such file", remedy)
        if self.onnx is not None and not self.onnx.is_file():
            remedy = "Quantize with format onnx too."
            raise PairError(self.onnx, "the .onnx beside the .tflite", "no such file", remedy)
        record = self.tflite.parent / RECORD
        if record.is_file() and read_json(record, "a quantize record").get("passed") is False:
            raise GateError(f"{self.tflite}: broke a parity gate of pairfld quantize, see {record}; "
                            "quantize again before packing")  # fmt: skip

    def key(self) -> dict[str, Any]:
        """What the run record of a finished archive holds, if it was made of the same things."""
        return {
            "config": self.recipe.model_dump(mode="json"),
            "model": file_hash(self.tflite),
            "onnx": self.onnx is not None,
            "detector": file_hash(self.detector[0]),
            "runtime": runtime_hash(),
            "convention": self.convention,
            "options": asdict(self.options),
        }


@dataclass(frozen=True)
class Built:
    """An archive, and the scores of its model on labelled boxes."""

    report: PackageReport
    result: Result


def build(
    spec: ArchiveSpec, dataset: FaceDataset, out: Path, say: Say = say_nothing, *, calibration_cache: Path | None = None
) -> Built:
    """Write metadata, measure and pack.

    Args:
        spec: what to pack.
        dataset: the data set that the model was trained on; its test faces are measured.
        out: an empty folder; gets NAME.zip, the model files, the figures, metrics.json and run.json.
        say: takes sentences on the progress.
        calibration_cache: a file that keeps the detector's calibration from one call to the next, where the data
            folder has none of this detector.

    Raises:
        GateError: a bound of the budget is broken.
        PairError: inputs that cannot be used.
    """
    spec.check()
    _check_data(spec.tflite, dataset)
    source = open_convention(spec.convention)
    detector, _ = spec.detector
    detector_onnx = detector.with_suffix(".onnx") if spec.onnx and detector.with_suffix(".onnx").is_file() else None
    calibration = measured_calibration(dataset, detector, calibration_cache, say)
    confidence = learned_confidence(dataset, spec.tflite, detector, calibration, say)
    convention = None
    if source is not None:
        say(f"learning where the labels of {source.name} lie, on its training faces")
        convention = learn_convention(open_model(spec.tflite, threads=2), source)
    files = [file for file in (spec.tflite, spec.onnx) if file is not None]
    models = [with_metadata(file, calibration, confidence, convention, spec.options, out) for file in files]
    say("measuring the released file on the test faces")
    truth = labelled_faces(dataset.config)
    faces = load_faces(truth)
    result = predict_faces(open_model(models[0], threads=2), truth, faces).result
    plates = document_figures(spec.name, result, faces.attributes, model_cost(models[0]).size_mb)
    for plate in plates:
        (out / f"{plate.name}.png").write_bytes(plate.png())
    record = _record(spec.recipe, dataset, read_metadata(models[0]), spec.teacher)
    say("packing")
    report = package(
        models, out / f"{spec.name}.zip", spec.recipe.budget, scores=result.groups(), record=record, name=spec.name,
        detector=spec.detector, detector_onnx=detector_onnx, figures=plates,
    )  # fmt: skip
    figures = {"metrics": _scores_json(result), "package": report.to_json()}
    figures["detector_calibration"] = calibration.to_json()
    float_file = spec.tflite.with_name("model-fp32.tflite")
    if float_file.is_file() and float_file != spec.tflite:
        say("measuring the float file beside it")
        float_result, _ = validate_model(open_model(float_file, threads=2), truth)
        figures["float_file"] = _scores_json(float_result)
    write_json(out / "metrics.json", figures)
    write_json(out / RECORD, record | spec.key())
    return Built(report, result)


def with_metadata(
    file: Path, calibration: DetectorCalibration, confidence: Confidence | None, convention: LabelConvention | None,
    options: PipelineOptions, out: Path,
) -> Path:  # fmt: skip
    """A copy of a model file in `out` that carries the detector's calibration, its own confidence, a convention and
    the options."""
    metadata = read_metadata(file)
    metadata["crop"]["detector_calibration"] = calibration.to_json()
    if confidence is not None:
        metadata["confidence"] = confidence.to_json()
    for earlier in ("convention", "search"):  # of an archive that is packed again
        metadata.pop(earlier, None)
    metadata["crop"].pop("refine", None)
    if convention is not None:
        metadata["convention"] = convention.to_json()
    chosen = {name: value for name, value in asdict(options).items() if value is not None}
    if "refine" in chosen:
        metadata["crop"]["refine"] = chosen.pop("refine")
    if chosen:
        metadata["search"] = chosen
    copy = out / file.name
    shutil.copyfile(file, copy)
    replace_metadata(copy, metadata)
    return copy


def _scores_json(result: Result) -> dict[str, Any]:
    return {name: group.to_json() for name, group in result.groups().items()}


def _check_data(tflite: Path, dataset: FaceDataset) -> None:
    """PairError when a file was made from other data: its card would describe the wrong faces."""
    own = read_metadata(tflite).get("data_hash")
    if own is not None and own != dataset.data_hash:
        found = f"one of {own[:12]}"
        remedy = "Give the dataset that it was quantized with (--dataset), or quantize again."
        raise PairError(tflite, f"a model of the data {dataset.data_hash[:12]} in {dataset.folder}", found, remedy)


def _record(
    recipe: RecipeConfig, dataset: FaceDataset, metadata: dict[str, Any], teacher: Path | None
) -> dict[str, Any]:
    """Provenance of the released model: the student as it was trained, the teacher only if it is the recipe's."""
    config = recipe.model_dump(mode="json")
    trained = metadata.get("trained") or {}
    if "config" in trained:
        config["student"] = trained["config"]
    here = file_hash(teacher) if teacher is not None and teacher.is_file() else None
    if here is None or trained.get("teacher") != here:
        config.pop("teacher")
    record = provenance(config, seed=trained.get("seed"), data_hash=dataset.data_hash)
    about = {"trained_at_commit": trained.get("commit"), "trained_data_hash": trained.get("data_hash")}
    about |= {"teacher_sha256": trained.get("teacher")}
    about |= {"annotators": trained.get("annotators", [])}
    return record | about | {"data_report": {"sources": dataset.record["report"]["sources"]}}
