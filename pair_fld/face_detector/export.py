"""The train-detector stage: the project's own face detector, from training images to one measured int8 file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from pair_fld.config import DetectorConfig, read_recorded
from pair_fld.data.dataset import FaceDataset
from pair_fld.export.model_cost import model_cost
from pair_fld.export.onnx import export_onnx
from pair_fld.export.quantization.formats import quantize
from pair_fld.face_detector.images import faceless_images, faceless_photographs, rendered_scenes, training_images
from pair_fld.face_detector.net import DetectorNet
from pair_fld.face_detector.threshold import LOOSE, tune_threshold
from pair_fld.face_detector.train import STAGE, fit_detector
from pair_fld.face_detector.views import View, draw_view
from pair_fld.io import file_hash, read_record, write_json
from pair_fld.progress import Progress, Say, no_progress, say_nothing
from pair_fld.runs import RECORD, check_claim, provenance
from pair_fld.runtime.blazeface import BlazeFace
from pair_fld.runtime.centre_detector import KEY_POINTS, TASK
from pair_fld.runtime.metadata import FORMAT_VERSION, METADATA_TASK, input_metadata
from pair_fld.runtime.search import SearchConfig, search_to_json
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.trainer import TrainProgress

FILES = ("detector.onnx", "detector.tflite")
METRICS_FILE = "metrics.json"  # written last


def train_detector(
    config: DetectorConfig,
    dataset: FaceDataset,
    teacher: Path,
    run: RunSpec,
    progress: Progress = no_progress,
    say: Say = say_nothing,
) -> dict[str, Any]:
    """Train, export, quantize and choose the threshold; the run folder gets detector.onnx, .tflite and records.

    Args:
        config: network, optimisation and training images.
        dataset: the data whose source images are trained on.
        teacher: a BlazeFace file, whose detections are targets.
        run: where the run is kept, and how it starts.
        progress: called with the number of images and of steps done.
        say: takes a sentence per stage.

    Returns:
        What metrics.json holds: cost, and recall and false alarms at each threshold on validation images.

    Raises:
        PairError: see `training_images`, `Trainer.fit`, `quantize`.
    """
    if not run.resume:  # before the teacher looks for faces, which takes minutes
        check_claim(run.out, STAGE, run.overwrite, run.inputs)
    record = provenance(config.model_dump(mode="json"), seed=config.seed, data_hash=dataset.data_hash)
    record |= {"teacher": file_hash(teacher)}
    guide = BlazeFace(teacher, search=replace(SearchConfig(), first_threshold=0.3, second_threshold=0.3))
    say(f"detecting faces in the training images with {guide.name}")
    images = training_images(dataset, guide, config, progress)
    negatives = faceless_images(config.negative_images)
    negatives += faceless_photographs(images, config.negative_images, np.random.default_rng((config.seed, 2)))
    images += rendered_scenes(config.synthetic_images)
    faces = sum(len(image.boxes) for image in images)
    say(f"training on {len(images)} images with {faces} faces and {len(negatives)} without")

    def report(p: TrainProgress) -> None:
        progress(p.step, p.steps, f"loss {p.losses['loss']:.3f}")

    (run.out / METRICS_FILE).unlink(missing_ok=True)  # of a run that now gets more steps
    net = fit_detector(config, images, negatives, run, record, report, guide, say)
    files = export_detector(net, config, images, negatives, record, run.out)
    say("choosing the threshold on validation images")
    metrics = tune_threshold(files, dataset, config, guide)
    metrics["cost"] = {path.name: model_cost(path).to_json() for path in files}
    write_json(run.out / METRICS_FILE, metrics)
    return metrics


def export_detector(
    net: DetectorNet,
    config: DetectorConfig,
    images: list[View],
    negatives: list[View],
    record: dict[str, Any],
    out: Path,
) -> list[Path]:
    """Write `net` as int8 detector.onnx and detector.tflite, one quantized graph, with a search not yet tuned."""
    metadata = {
        "format_version": FORMAT_VERSION,
        METADATA_TASK: TASK,
        "name": f"centre_{config.input_size}",
        "input": input_metadata(config.input_size),
        "key_points": list(KEY_POINTS),
        "search": search_to_json(LOOSE),
        "trained": record,
    }
    plain = out / "detector-float.onnx"
    export_onnx(net, config.input_size, plain, metadata)
    rng = np.random.default_rng((config.seed, 1))
    drawn = [draw_view(images, negatives, config.input_size, rng).image for _ in range(config.calibration_images)]
    written = quantize(plain, out, np.stack(drawn), ["int8-static"], method="minmax")
    files = []
    for quantized in written:
        files.append(quantized.path.replace(out / f"detector{quantized.path.suffix}"))
    plain.unlink()
    return files


def finished_detector(out: Path, config: DetectorConfig, dataset: FaceDataset) -> bool:
    """Whether `out` holds a detector trained with this configuration and data."""
    if not all((out / name).is_file() for name in (*FILES, METRICS_FILE, RECORD)):
        return False
    record = read_record(out / RECORD, "a run record")
    try:
        recorded = read_recorded(DetectorConfig, record.get("config"))
    except ValidationError:  # settings of another version
        return False
    return recorded == config and record.get("data_hash") == dataset.data_hash and not record.get("unfinished")
