"""The quantize stage: a checkpoint to files of every wanted precision, held by parity gates."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import QuantConfig
from pair_fld.data.dataset import TRAIN, VALID, Pack
from pair_fld.errors import GateError, PairError
from pair_fld.evaluate.metrics import nme
from pair_fld.evaluate.validate import TorchModel, cut, open_model
from pair_fld.export import litert
from pair_fld.export.model_cost import model_cost
from pair_fld.export.onnx import export_onnx
from pair_fld.export.parity import Deviation, LayerNoise, Predict, compare, layer_snr
from pair_fld.export.quantization import qat
from pair_fld.export.quantization.calibrate import METHODS, Method, quantize_static_qdq
from pair_fld.export.quantization.formats import QuantizedFile, choose_method, quantize
from pair_fld.export.tflite.writer import unknown_operators
from pair_fld.io import file_hash, write_json
from pair_fld.runs import provenance
from pair_fld.runtime.session import model_metadata

PARITY_CROPS = 64
SCORE_CROPS = 512  # validation faces at most that a file is scored on
NOISY_LAYERS = 10  # how many the table of a broken gate shows, a file
SIMULATION_DRIFT_PX = 0.25  # mean; runtimes break rounding ties differently, which moves a point by some hundredths

Say = Callable[[str], None]


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
class QatReport:
    """What fine-tuning did. post_training: the int8 files as they were before it, not written.

    simulation_drift_px: mean distance between the points of the graph that was trained and those of the int8 file.
    """

    steps: int
    lr: float
    seconds: float
    loss_first: float
    loss_last: float
    simulation_drift_px: float
    post_training: tuple[FileReport, ...]


@dataclass(frozen=True)
class QuantizeReport:
    """What `quantize_checkpoint` wrote and measured.

    broken: sentences of gates that failed. noisy_layers: of every file that broke one, the layers that deviate most
    from the float graph, worst first.
    """

    checkpoint_nme: float
    method: str
    method_scores: dict[str, float]
    files: tuple[FileReport, ...]
    broken: tuple[str, ...]
    noisy_layers: dict[str, tuple[LayerNoise, ...]]
    qat: QatReport | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class QuantizeGateError(GateError):
    """A file broke a bound; `report` says all that was measured."""

    def __init__(self, report: QuantizeReport) -> None:
        super().__init__("; ".join(report.broken))
        self.report = report


def quantize_checkpoint(
    checkpoint: Path,
    pack: Pack,
    config: QuantConfig,
    out: Path,
    say: Say = lambda _: None,
    *,
    fine_tune: bool = False,
    teachers: Sequence[Path] = (Path("teacher/best.pt"),),
    cache: Path = Path(),
    progress: Callable[[int, int, str], None] | None = None,
) -> QuantizeReport:
    """Export, calibrate on the training split, quantize, and measure every file on the validation split.

    Args:
        out: an empty folder; gets model-KIND.onnx, model-KIND.tflite and run.json.
        fine_tune: quantization-aware fine-tuning of the int8-static files; the others stay the checkpoint's.
        teachers, cache: for fine-tuning, the student's teachers and the folder that may hold their answers.

    Raises:
        QuantizeGateError: a file deviates more than the configuration allows, or an int8-static file has a heavy
            operator that is not int8. The files stay, so that they can be looked at.
    """
    model = TorchModel(checkpoint)
    metadata = model_metadata(
        model.input_size, model.margin, model.net.output_kind,
        model=model.net.config.model_dump(mode="json"), checkpoint=file_hash(checkpoint), data_hash=pack.data_hash,
        trained=model.state["record"],
    )  # fmt: skip
    calibration, _, _ = cut(pack, _spread(pack.rows(TRAIN, labelled=True), config.calibration_images), model)
    rows = pack.rows(VALID, labelled=True)
    if not len(rows):
        remedy = "Prepare data with valid_fraction above 0."
        raise PairError(pack.folder, "validation faces to measure the files on", "none", remedy)
    crops, truth, valid = cut(pack, _spread(rows, SCORE_CROPS), model)

    def score(predict: Predict) -> float:
        return float(np.nanmean(nme(predict(crops), truth, valid)) * 100)

    def report(files: Sequence[QuantizedFile]) -> tuple[FileReport, ...]:
        models = {"checkpoint": model.predict} | {f.path.name: f.path for f in files}
        deviations = compare(models, crops[:PARITY_CROPS])
        return tuple(_report(f, d, score(open_model(f.path).predict)) for f, d in zip(files, deviations, strict=True))

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "model.onnx"
        say("exporting to ONNX")
        export_onnx(model.net, model.input_size, plain, metadata)
        method, scores = _method(plain, calibration, config, lambda path: score(open_model(path).predict), say)
        say("writing the files")
        files = _write(model, plain, out, calibration, config, method, metadata)
        say("measuring the files")
        own, reports, fine, int8_float = score(model.predict), report(files), None, plain
        simulation = 0.0
        if fine_tune:
            before = tuple(r for r in reports if r.kind == "int8-static")
            if not before:
                raise PairError("--qat", "int8-static among quant.precisions", ", ".join(config.precisions), "Add it.")
            say(f"fine-tuning for {config.qat.steps} steps with the rounding of the int8 graph")
            int8_float = Path(folder) / "trained" / "model.onnx"
            qdq = quantize_static_qdq(plain, calibration, metadata, method)
            answers = qat.answers_of(model.state, checkpoint, pack, teachers, cache)
            trained = qat.finetune(model.net, plain, qdq, qat.stage_of(model.state), pack, answers, config.qat,
                                   int8_float, progress)  # fmt: skip
            facts = {"method": f"{method}, then fine-tuned", "qat": config.qat.model_dump()}
            quantize(int8_float, out, calibration, ["int8-static"], method=method, formats=config.formats,
                     tflite_input=config.tflite_input, codes=trained.codes, facts=facts)  # fmt: skip
            reports = report(files)
            shipped = {f.path.name: f.path for f in files if f.kind == "int8-static"}
            drifts = compare({"simulation": trained.simulated} | shipped, crops[:PARITY_CROPS])
            simulation = max(drift.mean_px for drift in drifts)
            fine = QatReport(config.qat.steps, config.qat.lr, trained.seconds, *trained.losses, simulation, before)
        broken, noisy = [], {}
        for file, row in zip(files, reports, strict=True):
            faults = _broken(row, own, config) + _float_operators(file)
            if file.kind == "int8-static" and not simulation <= SIMULATION_DRIFT_PX:
                bound = f"bound {SIMULATION_DRIFT_PX:g} px"
                faults.append(f"{row.file}: {simulation:.3g} px on average from the graph that was trained, {bound}")
            if faults:
                source = int8_float if file.kind == "int8-static" else plain
                noisy[row.file] = tuple(layer_snr(source, file.path, crops[:PARITY_CROPS])[:NOISY_LAYERS])
            broken += faults
    result = QuantizeReport(own, method, scores, reports, tuple(broken), noisy, fine)
    record = provenance(recorded(config, fine_tune), seed=None, data_hash=pack.data_hash)
    record |= {"checkpoint": file_hash(checkpoint), "qat": fine_tune, "passed": not broken, "report": result.to_json()}
    write_json(out / "run.json", record)
    if broken:
        raise QuantizeGateError(result)
    return result


def recorded(config: QuantConfig, fine_tune: bool) -> dict[str, Any]:
    """The configuration that a run record holds: without the settings of --qat where it was not used."""
    return config.model_dump(mode="json", exclude=None if fine_tune else {"qat"})


def _write(
    model: TorchModel, plain: Path, out: Path, calibration: np.ndarray, config: QuantConfig, method: Method,
    metadata: dict[str, Any],
) -> list[QuantizedFile]:  # fmt: skip
    """The configured files; TFLite through litert-torch where our own writer does not know an operator."""
    options: dict[str, Any] = {"method": method, "tflite_input": config.tflite_input}
    unknown = unknown_operators(plain) if "tflite" in config.formats else ""
    if not unknown:
        return quantize(plain, out, calibration, config.precisions, formats=config.formats, **options)
    others = [kind for kind in config.precisions if kind not in litert.KINDS]
    if others or config.tflite_input != "float32":
        found = f"{', '.join(others) or 'a uint8 input'} with {unknown}"
        remedy = "Set quant.precisions=[fp32, fp16], quant.release=fp16 and quant.tflite_input=float32."
        raise PairError(out, "TFLite of fp32 or fp16 for operators that only litert-torch knows", found, remedy)
    litert.require(out, unknown)
    files = quantize(
        plain, out, calibration, config.precisions, formats=[f for f in config.formats if f == "onnx"], **options
    )
    for kind in litert.KINDS:
        if kind in config.precisions:
            path = out / f"{plain.stem}-{kind}.tflite"
            facts = metadata | {"quantization": {"kind": kind}}
            litert.write_with_litert(model.net, model.input_size, path, facts, kind, unknown)
            files.append(QuantizedFile(kind, "tflite", path, None))
    return sorted(files, key=lambda file: (config.precisions.index(file.kind), file.format))


def _method(
    plain: Path, calibration: np.ndarray, config: QuantConfig, score: Callable[[Path], float], say: Say
) -> tuple[Method, dict[str, float]]:
    """The configured calibration method, or the one whose file has the lowest NME."""
    methods: list[Method] = list(METHODS) if config.method == "auto" else [config.method]
    say(f"calibrating on {len(calibration)} training crops ({', '.join(methods)})")
    if "int8-static" not in config.precisions or len(methods) == 1:
        return methods[0], {}
    choice = choose_method(plain, calibration, score, methods)
    return choice.method, {str(k): v for k, v in choice.scores.items()}


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` rows, evenly spread over all."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]


def _report(file: QuantizedFile, deviation: Deviation, nme_percent: float) -> FileReport:
    size_mb = file.path.stat().st_size / 1e6
    return FileReport(file.path.name, file.kind, file.format, size_mb, nme_percent, deviation.mean_px, deviation.max_px)


def _broken(report: FileReport, own_nme: float, config: QuantConfig) -> list[str]:
    """Sentences for the bounds of accuracy that a file breaks."""
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


def _float_operators(file: QuantizedFile) -> list[str]:
    """A sentence when an int8-static file has a convolution or matrix product that is not int8."""
    left = model_cost(file.path).heavy_not_int8() if file.kind == "int8-static" else {}
    if not left:
        return []
    found = ", ".join(f"{n} {op} {kind}" for (op, kind), n in left.items())
    return [f"{file.path.name}: heavy operators that are not int8: {found}, bound 0"]
