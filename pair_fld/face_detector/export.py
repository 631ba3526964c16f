"""The train-detector stage: the project's own face finder, from training pictures to one measured int8 file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import DetectorConfig, current_keys
from pair_fld.data.dataset import VALID, Pack
from pair_fld.data.source_images import pack_pictures
from pair_fld.evaluate.matching import MATCH_IOU, match_boxes
from pair_fld.export.metadata import replace_metadata
from pair_fld.export.model_cost import model_cost
from pair_fld.export.onnx import export_onnx
from pair_fld.export.quantization.formats import quantize
from pair_fld.face_detector.net import DetectorNet
from pair_fld.face_detector.train import Report, fit_detector, rendered_scenes, scrambled, teaching_pictures
from pair_fld.face_detector.views import SECOND_LOOK, Shown, draw_view
from pair_fld.io import file_hash, read_json, write_json
from pair_fld.models.checkpoint import load_run
from pair_fld.runs import RECORD, provenance
from pair_fld.runtime.blazeface import BlazeFace
from pair_fld.runtime.centre_detector import TASK, CentreDetector
from pair_fld.runtime.detection import Detection
from pair_fld.runtime.metadata import FORMAT_VERSION, METADATA_TASK, input_metadata
from pair_fld.runtime.search import SearchConfig, SearchingDetector, search_to_json
from pair_fld.runtime.session import read_metadata

FILES = ("detector.onnx", "detector.tflite")
_EMPTY_SEED = 12  # rendered pictures without faces that the threshold is chosen on; training draws from another seed
_EMPTIES = 200
FALSE_ALARMS = 0.01  # share of faceless pictures that may hold one
UNCONFIRMED = 0.04  # finds a photograph that nobody labelled and the teacher does not see
_THRESHOLDS = np.arange(0.3, 0.96, 0.05)
_LOOSE = SearchConfig(candidate=0.2, threshold=0.2, second_look=SECOND_LOOK)


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
    metrics = choose_threshold(files, pack, config, guide)
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
        "search": search_to_json(_LOOSE),
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


def choose_threshold(
    files: Sequence[Path], pack: Pack, config: DetectorConfig, teacher: SearchingDetector
) -> dict[str, Any]:
    """Stamp the best threshold into the files.

    Of those that keep false alarms under FALSE_ALARMS of the faceless pictures and UNCONFIRMED finds a photograph
    (neither labelled nor seen by the teacher, with low scores too), the one with the highest recall; of several alike
    the middle one, which is farthest from both faults. Measured on the pack's validation split and on rendered
    faceless pictures, never on test pictures.
    """
    finder = CentreDetector(next(f for f in files if f.suffix == ".tflite"), search=_LOOSE)
    matched, unconfirmed, pictures, faces = [], [], 0, 0
    for picture in pack_pictures(pack, VALID, config.valid_images_per_source):
        boxes, scores = _arrays(finder.detect(picture.image))
        pictures, faces = pictures + 1, faces + len(picture.faces)
        matches = match_boxes(boxes, picture.boxes, MATCH_IOU)
        matched += [scores[i] for i, _ in matches.pairs]
        rest = list(matches.unmatched)
        doubtful = match_boxes(boxes[rest], _arrays(teacher.detect(picture.image))[0], MATCH_IOU / 2).unmatched
        unconfirmed += [scores[rest[i]] for i in doubtful]
    _, empty = rendered_scenes(0, _EMPTIES, _EMPTY_SEED)
    alarms = [float(scores.max(initial=0.0)) for scores in (_arrays(finder.detect(e.image))[1] for e in empty)]
    table = [
        {
            "threshold": round(float(t), 2),
            "recall_percent": round(100 * _above(matched, t) / max(faces, 1), 2),
            "unconfirmed_finds_per_100_photographs": round(100 * _above(unconfirmed, t) / max(pictures, 1), 2),
            "faceless_with_alarm_percent": round(100 * _above(alarms, t) / len(empty), 2),
        }
        for t in _THRESHOLDS
    ]
    good = [
        row
        for row in table
        if row["faceless_with_alarm_percent"] <= 100 * FALSE_ALARMS
        and row["unconfirmed_finds_per_100_photographs"] <= 100 * UNCONFIRMED
    ] or table[-1:]
    best = [row for row in good if row["recall_percent"] == max(r["recall_percent"] for r in good)]
    chosen = best[(len(best) - 1) // 2]
    for path in files:
        search = replace(_LOOSE, threshold=chosen["threshold"])
        replace_metadata(path, read_metadata(path) | {"search": search_to_json(search)})
    cost = {path.name: model_cost(path).to_json() for path in files}
    return {
        "chosen": chosen,
        "valid_pictures": pictures,
        "valid_faces": faces,
        "faceless_pictures": len(empty),
        "thresholds": table,
        "cost": cost,
    }


def _arrays(detections: Sequence[Detection]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) and scores (n,)."""
    return np.array([d.box for d in detections]).reshape(-1, 4), np.array([d.score for d in detections])


def _above(scores: Sequence[float], threshold: float) -> int:
    return int(np.sum(np.array(scores) >= threshold))


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
