"""The train-detector stage: the project's own face finder, from training pictures to one measured int8 file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import DetectorConfig, current_keys
from pair_fld.data.dataset import Pack
from pair_fld.export.model_cost import model_cost
from pair_fld.export.onnx import export_onnx
from pair_fld.export.quantization.formats import quantize
from pair_fld.face_detector.net import DetectorNet
from pair_fld.face_detector.threshold import LOOSE, tune_threshold
from pair_fld.face_detector.train import Report, fit_detector, rendered_scenes, scrambled, teaching_pictures
from pair_fld.face_detector.views import Shown, draw_view
from pair_fld.io import file_hash, read_json, write_json
from pair_fld.models.checkpoint import load_run
from pair_fld.runs import RECORD, provenance
from pair_fld.runtime.blazeface import BlazeFace
from pair_fld.runtime.centre_detector import TASK
from pair_fld.runtime.metadata import FORMAT_VERSION, METADATA_TASK, input_metadata
from pair_fld.runtime.search import SearchConfig, search_to_json

FILES = ("detector.onnx", "detector.tflite")


def train_detector(
    config: DetectorConfig, pack: Pack, teacher: Path, out: Path, report: Report, say: Callable[[str], None]
) -> dict[str, Any]:
    """Train, export, quantize, choose the threshold; `out` gets detector.onnx, .tflite and records.

    Args:
        teacher: a BlazeFace file, whose answers are learnt from.

    Returns:
        What metrics.json holds: cost, and recall and false alarms at each threshold on validation pictures.

    Raises:
        PairError: see `teaching_pictures`, `quantize`.
    """
    record = provenance(config.model_dump(mode="json"), seed=config.seed, data_hash=pack.data_hash)
    record |= {"teacher": file_hash(teacher)}
    write_json(out / RECORD, record | {"unfinished": True})
    guide = BlazeFace(teacher, search=replace(SearchConfig(), candidate=0.3, threshold=0.3))
    say(f"looking at training pictures with {guide.name}")
    shown = teaching_pictures(pack, guide, config, report)
    scenes, empty = rendered_scenes(config.synthetic_images, config.negative_images)
    rng = np.random.default_rng((config.seed, 2))
    for photograph in shown[:: max(1, 2 * len(shown) // config.negative_images)]:
        empty.append(Shown(scrambled(photograph.image, rng), np.zeros((0, 4)), np.zeros(0, bool)))
    shown += scenes
    say(f"training on {len(shown)} pictures with {sum(len(s.boxes) for s in shown)} faces and {len(empty)} without")
    net = fit_detector(config, shown, empty, out, record, report)
    files = export_detector(net, config, shown, empty, record, out)
    say("choosing the threshold on validation pictures")
    metrics = tune_threshold(files, pack, config, guide)
    metrics["cost"] = {path.name: model_cost(path).to_json() for path in files}
    write_json(out / "metrics.json", metrics)
    write_json(out / RECORD, record)
    return metrics


def export_detector(
    net: DetectorNet,
    config: DetectorConfig,
    shown: list[Shown],
    empty: list[Shown],
    record: dict[str, Any],
    out: Path,
) -> list[Path]:
    """Write `net` as int8 detector.onnx and detector.tflite, one quantized graph, with a search not yet tuned."""
    metadata = {
        "format_version": FORMAT_VERSION,
        METADATA_TASK: TASK,
        "name": f"own_{config.input_size}",
        "input": input_metadata(config.input_size),
        "search": search_to_json(LOOSE),
        "trained": record,
    }
    plain = out / "detector-float.onnx"
    export_onnx(net, config.input_size, plain, metadata)
    rng = np.random.default_rng((config.seed, 1))
    drawn = [draw_view(shown, empty, config.input_size, rng).image for _ in range(config.calibration_images)]
    written = quantize(plain, out, np.stack(drawn), ["int8-static"], method="minmax")
    files = []
    for quantized in written:
        files.append(quantized.path.replace(out / f"detector{quantized.path.suffix}"))
    plain.unlink()
    return files


def finished_detector(out: Path, config: DetectorConfig, pack: Pack) -> bool:
    """Whether `out` holds a finder trained with this configuration and data."""
    if not all((out / name).is_file() for name in (*FILES, RECORD)):
        return False
    record = read_json(out / RECORD, "a run record")
    same = (
        current_keys(record.get("config")) == config.model_dump(mode="json")
        and record.get("data_hash") == pack.data_hash
    )
    return same and not record.get("unfinished")


def resumable(out: Path, config: DetectorConfig, pack: Pack) -> bool:
    """Whether `out`/last.pt belongs to an unfinished run with this configuration and data."""
    if not (out / "last.pt").is_file():
        return False
    record = load_run(out / "last.pt")["record"]
    same = current_keys(record["config"]) == config.model_dump(mode="json")
    return same and record.get("data_hash") == pack.data_hash
