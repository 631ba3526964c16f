"""The quantize stage: a checkpoint to files of every wanted precision, held by parity gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import QuantConfig
from pair_fld.data.pack import TRAIN, VALID, Pack
from pair_fld.errors import GateError, PairError
from pair_fld.evaluate.nme import nme
from pair_fld.evaluate.predict import Predictor, TorchModel, cut, open_model
from pair_fld.export.calibrate import METHODS, Method
from pair_fld.export.onnx import export_onnx
from pair_fld.export.parity import Deviation, compare, layer_snr
from pair_fld.export.quantize import QuantizedFile, choose_method, quantize
from pair_fld.runs import file_hash, provenance, write_json
from pair_fld.runtime.session import model_metadata

PARITY_CROPS = 64
SCORE_CROPS = 512  # validation faces at most that a file is scored on
NOISY_LAYERS = 8  # how many the table of a broken gate shows


@dataclass(frozen=True)
class FileReport:
    """One written file. nme: on the validation split, percent of outer corners; drift: against the checkpoint."""

    file: str
    kind: str
    format: str
    size_mb: float
    nme_outer_corners_percent: float
    mean_drift_px: float
    max_drift_px: float


@dataclass(frozen=True)
class QuantizeReport:
    """What `quantize_checkpoint` wrote and measured. broken: sentences of gates that failed."""

    checkpoint_nme: float
    method: str
    method_scores: dict[str, float]
    files: tuple[FileReport, ...]
    broken: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def quantize_checkpoint(
    checkpoint: Path, pack: Pack, config: QuantConfig, out: Path, say: Callable[[str], None] = lambda _: None
) -> QuantizeReport:
    """Export, calibrate on the training split, quantize, and measure every file on the validation split.

    Args:
        out: an empty folder; gets model-KIND.onnx, model-KIND.tflite and run.json.

    Raises:
        GateError: a file deviates more than the configuration allows; the message names gate, value and the
            noisiest layers. The files stay, so that they can be looked at.
    """
    model = TorchModel(checkpoint)
    metadata = model_metadata(
        model.input_size, model.margin, model.net.output_kind,
        model=model.net.config.model_dump(mode="json"), checkpoint=file_hash(checkpoint), data_hash=pack.data_hash,
        trained=model.state["record"],
    )  # fmt: skip
    plain = out / "model.onnx"
    say("exporting to ONNX")
    export_onnx(model.net, model.input_size, plain, metadata)
    calibration, _, _ = cut(pack, _spread(pack.rows(TRAIN, labelled=True), config.calibration_images), model)
    rows = pack.rows(VALID, labelled=True)
    if not len(rows):
        remedy = "Prepare data with valid_fraction above 0."
        raise PairError(pack.folder, "validation faces to measure the files on", "none", remedy)
    crops, truth, valid = cut(pack, _spread(rows, SCORE_CROPS), model)

    def score(predictor: Predictor) -> float:
        return float(np.nanmean(nme(predictor.predict(crops), truth, valid)) * 100)

    methods: list[Method] = list(METHODS) if config.method == "auto" else [config.method]
    say(f"calibrating on {len(calibration)} training crops ({', '.join(methods)})")
    if "int8-static" in config.kinds and len(methods) > 1:
        choice = choose_method(plain, calibration, lambda path: score(open_model(path)), methods)
        method, scores = choice.method, {str(k): v for k, v in choice.scores.items()}
    else:
        method, scores = methods[0], {}
    say("writing the files")
    files = quantize(plain, out, calibration, config.kinds, method=method, formats=config.formats,
                     tflite_input=config.tflite_input)  # fmt: skip
    plain.unlink()
    say("measuring the files")
    own = score(model)
    deviations = compare({"checkpoint": model.predict} | {f.path.name: f.path for f in files}, crops[:PARITY_CROPS])
    reports = tuple(_report(f, d, score(open_model(f.path))) for f, d in zip(files, deviations, strict=True))
    broken = tuple(sentence for report in reports for sentence in _broken(report, own, config))
    result = QuantizeReport(own, method, scores, reports, broken)
    record = provenance(config.model_dump(mode="json"), seed=None, data_hash=pack.data_hash)
    write_json(
        out / "run.json",
        record | {"checkpoint": file_hash(checkpoint), "passed": not broken, "report": result.to_json()},
    )
    if broken:
        raise GateError("; ".join(broken) + _layer_table(files, crops[:PARITY_CROPS]))
    return result


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` rows, evenly spread over all."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]


def _report(file: QuantizedFile, deviation: Deviation, nme_percent: float) -> FileReport:
    size_mb = file.path.stat().st_size / 1e6
    return FileReport(file.path.name, file.kind, file.format, size_mb, nme_percent, deviation.mean_px, deviation.max_px)


def _broken(report: FileReport, own_nme: float, config: QuantConfig) -> list[str]:
    broken = []
    limit = config.max_fp32_drift_px if report.kind == "fp32" else config.max_drift_px
    if not report.max_drift_px <= limit:
        broken.append(
            f"{report.file}: worst point {report.max_drift_px:.4g} px from the checkpoint, bound {limit:g} px"
        )
    loss = report.nme_outer_corners_percent - own_nme
    if not loss <= config.max_nme_loss:
        broken.append(f"{report.file}: loses {loss:.3f} points of NME (outer corners), bound {config.max_nme_loss:g}")
    return broken


def _layer_table(files: list[QuantizedFile], crops: np.ndarray) -> str:
    paths = {f.kind: f.path for f in files if f.format == "onnx"}
    if not {"fp32", "int8-static"} <= set(paths):
        return ""
    rows = layer_snr(paths["fp32"], paths["int8-static"], crops)[:NOISY_LAYERS]
    lines = [f"  {row.snr_db:6.1f} dB  {row.op:10s} {row.layer}" for row in rows]
    return "\nnoisiest layers of the int8 graph:\n" + "\n".join(lines)
