"""The quantize stage: a checkpoint to files of every wanted precision, held by parity gates."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import QuantConfig
from pair_fld.data.dataset import FaceDataset, Split
from pair_fld.data.sample import evenly_spread
from pair_fld.errors import PairError
from pair_fld.evaluate.metrics import nme
from pair_fld.evaluate.validate import TorchModel, cut, open_model
from pair_fld.export import litert
from pair_fld.export.onnx import export_onnx
from pair_fld.export.parity import Predict, compare
from pair_fld.export.quantization import qat
from pair_fld.export.quantization.calibrate import METHODS, Method, quantize_static_qdq
from pair_fld.export.quantization.formats import Format, QuantizedFile, choose_method, quantize
from pair_fld.export.quantization.gates import (
    FileReport,
    QatReport,
    QuantizeGateError,
    QuantizeReport,
    broken_decoding,
    broken_gates,
    noisy_layers,
    of_precision,
)
from pair_fld.export.tflite.writer import unknown_operators
from pair_fld.io import file_hash, write_json
from pair_fld.progress import Progress, Say, no_progress, say_nothing
from pair_fld.runs import RECORD, provenance
from pair_fld.runtime.metadata import model_metadata
from pair_fld.train.run_folder import RunSpec

PARITY_CROPS = 64
SCORE_CROPS = 512  # validation faces at most that a file is scored on


@dataclass(frozen=True)
class FineTuning:
    """What --qat needs beside its configuration.

    Attributes:
        run: where the fine-tuning is kept, and how it starts.
        teachers: checkpoints that the student was distilled from.
        cache: folder that may hold their predictions.
        progress: called with the number of steps done.
    """

    run: RunSpec
    teachers: Sequence[Path] = (Path("teacher/best.pt"),)
    cache: Path = Path()
    progress: Progress = no_progress


def quantize_checkpoint(
    checkpoint: Path, dataset: FaceDataset, config: QuantConfig, out: Path, say: Say = say_nothing,
    fine_tuning: FineTuning | None = None,
) -> QuantizeReport:  # fmt: skip
    """Export, calibrate on the training split, quantize, and measure every file on the validation split.

    Args:
        checkpoint: a trained student.
        dataset: the data set that it was trained on.
        config: precisions, formats, calibration and bounds.
        out: an empty folder; gets model-PRECISION.onnx, model-PRECISION.tflite and run.json.
        say: takes sentences on the progress.
        fine_tuning: quantization-aware fine-tuning of the int8-static files; the others stay the checkpoint's.

    Raises:
        QuantizeGateError: a file deviates more than the configuration allows, or an int8-static file has a heavy
            operator that is not int8. The files stay, so that they can be examined.
        PairError: no validation faces, or an operator that no writer knows.
    """
    with tempfile.TemporaryDirectory() as scratch:
        quantizer = Quantizer(checkpoint, dataset, config, out, Path(scratch), say)
        quantizer.export()
        quantizer.post_training()
        if fine_tuning is not None:
            quantizer.fine_tune(fine_tuning)
        report = quantizer.gates()
    record = provenance(recorded(config, fine_tuning is not None), seed=None, data_hash=dataset.data_hash)
    record |= {"checkpoint": file_hash(checkpoint), "qat": fine_tuning is not None, "passed": not report.broken}
    write_json(out / RECORD, record | {"report": report.to_json()})
    if report.broken:
        raise QuantizeGateError(report)
    return report


def recorded(config: QuantConfig, fine_tune: bool) -> dict[str, Any]:
    """The configuration that a run record holds: without the settings of --qat where it was not used."""
    return config.model_dump(mode="json", exclude=None if fine_tune else {"qat"})


class Quantizer:
    """The steps of `quantize_checkpoint`, in the order export, post_training, fine_tune (if wanted), gates.

    Args:
        scratch: a folder for the float graphs, which are not kept.
        checkpoint, dataset, config, out, say: see `quantize_checkpoint`.
    """

    def __init__(
        self,
        checkpoint: Path,
        dataset: FaceDataset,
        config: QuantConfig,
        out: Path,
        scratch: Path,
        say: Say = say_nothing,
    ) -> None:
        self.checkpoint, self.dataset, self.config, self.out, self.say = checkpoint, dataset, config, out, say
        self.model = TorchModel(checkpoint)
        self.metadata = model_metadata(
            self.model.input_size, self.model.margin, self.model.net.output_kind,
            model=self.model.net.config.model_dump(mode="json"), checkpoint=file_hash(checkpoint),
            data_hash=dataset.data_hash, trained=self.model.state["record"],
        )  # fmt: skip
        train_rows, rows = dataset.indices(Split.TRAIN, labelled=True), dataset.indices(Split.VALID, labelled=True)
        if not len(rows):
            remedy = "Prepare data with valid_fraction above 0."
            raise PairError(dataset.folder, "validation faces to measure the files on", "none", remedy)
        self.calibration, _, _ = cut(
            dataset, train_rows[evenly_spread(len(train_rows), config.calibration_images)], self.model
        )
        self.crops, self.truth, self.point_mask = cut(dataset, rows[evenly_spread(len(rows), SCORE_CROPS)], self.model)
        self.float_graph = scratch / "model.onnx"
        self.int8_float_graph = self.float_graph  # the one that the int8-static files are made from
        self.trained_graph = scratch / "trained" / "model.onnx"
        self.method: Method = METHODS[0]
        self.method_nme: dict[str, float] = {}
        self.files: list[QuantizedFile] = []
        self.reports: tuple[FileReport, ...] = ()
        self.qat: QatReport | None = None

    def export(self) -> None:
        """The checkpoint as a float ONNX graph."""
        self.say("exporting to ONNX")
        export_onnx(self.model.net, self.model.input_size, self.float_graph, self.metadata)

    def post_training(self) -> None:
        """Choose the calibration method, write all files and measure them."""
        self.method, self.method_nme = self._choose_method()
        self.say("writing the files")
        self.files = self._write()
        self.say("measuring the files")
        self.reports = self._measure()

    def fine_tune(self, tuning: FineTuning) -> None:
        """Train the graph with the rounding of its int8 file, then write and measure the int8-static files again.

        Raises:
            PairError: no int8-static file is wanted, or see `qat.predictions_of` and `qat.finetune`.
        """
        config, before = self.config, of_precision(self.reports, "int8-static")
        if not before:
            raise PairError("--qat", "int8-static among quant.precisions", ", ".join(config.precisions), "Add it.")
        self.say(f"fine-tuning for {config.qat.steps} steps with the rounding of the int8 graph")
        qdq = quantize_static_qdq(self.float_graph, self.calibration, self.metadata, self.method)
        stage = qat.stage_of(self.model.state)
        predictions = qat.predictions_of(self.model.state, self.checkpoint, self.dataset, tuning.teachers, tuning.cache)
        student = qat.Student(self.model.net, file_hash(self.checkpoint), stage, predictions)
        trained = qat.finetune(
            student, self.float_graph, qdq, self.dataset, config.qat, tuning.run, self.trained_graph, tuning.progress
        )
        self.int8_float_graph = self.trained_graph
        facts = {"method": f"{self.method}, then fine-tuned", "qat": config.qat.model_dump()}
        quantize(
            self.trained_graph, self.out, self.calibration, ["int8-static"], method=self.method, codes=trained.codes,
            formats=config.formats, tflite_input=config.tflite_input, facts=facts, decode=config.decode,
        )  # fmt: skip
        self.reports = self._measure()
        int8 = {file.path.name: file.path for file in self.files if file.precision == "int8-static"}
        drifts = compare({"simulation": trained.simulated} | int8, self.crops[:PARITY_CROPS])
        drift = max(one.mean_px for one in drifts)
        self.qat = QatReport(config.qat.steps, config.qat.lr, trained.seconds, *trained.losses, drift, before)

    def gates(self) -> QuantizeReport:
        """Hold every file to its bounds; of each file that breaks one, find the layers that deviate most."""
        own, broken, noisy = self._score(self.model.predict), list[str](), {}
        drift = self.qat.simulation_drift_px if self.qat else 0.0
        for file, report in zip(self.files, self.reports, strict=True):
            found = broken_gates(file, report, own, drift, self.config) + broken_decoding(
                file, self.crops[:PARITY_CROPS]
            )
            if found:
                source = self.int8_float_graph if file.precision == "int8-static" else self.float_graph
                noisy[report.file] = noisy_layers(source, file.path, self.crops[:PARITY_CROPS])
            broken += found
        return QuantizeReport(own, self.method, self.method_nme, self.reports, tuple(broken), noisy, self.qat)

    def _score(self, predict: Predict) -> float:
        """NME on the validation crops, percent of the outer corners' distance."""
        return float(np.nanmean(nme(predict(self.crops), self.truth, self.point_mask)) * 100)

    def _score_file(self, path: Path) -> float:
        return self._score(open_model(path).predict)

    def _measure(self) -> tuple[FileReport, ...]:
        models = {"checkpoint": self.model.predict} | {file.path.name: file.path for file in self.files}
        deviations = compare(models, self.crops[:PARITY_CROPS])
        return tuple(
            FileReport(file.path.name, file.precision, file.format, file.path.stat().st_size / 1e6,
                       self._score_file(file.path), deviation.mean_px, deviation.max_px)
            for file, deviation in zip(self.files, deviations, strict=True)
        )  # fmt: skip

    def _choose_method(self) -> tuple[Method, dict[str, float]]:
        """The configured calibration method, or the one whose file has the lowest NME; and the NME of those tried."""
        config = self.config
        methods: list[Method] = list(METHODS) if config.method == "auto" else [config.method]
        self.say(f"calibrating on {len(self.calibration)} training crops ({', '.join(methods)})")
        if "int8-static" not in config.precisions or len(methods) == 1:
            return methods[0], {}
        choice = choose_method(self.float_graph, self.calibration, self._score_file, methods)
        return choice.method, {str(method): score for method, score in choice.scores.items()}

    def _write(self) -> list[QuantizedFile]:
        """The configured files; TFLite through litert-torch where our own writer does not know an operator."""
        config, graph = self.config, self.float_graph
        options: dict[str, Any] = {"method": self.method, "tflite_input": config.tflite_input, "decode": config.decode}
        unknown = unknown_operators(graph) if "tflite" in config.formats else ""
        if not unknown:
            return quantize(graph, self.out, self.calibration, config.precisions, formats=config.formats, **options)
        others = [precision for precision in config.precisions if precision not in litert.PRECISIONS]
        if config.decode == "in-graph":
            remedy = "Set quant.decode=runtime."
            raise PairError(self.out, "operators of the TFLite writer, for a decoding in the graph", unknown, remedy)
        if others or config.tflite_input != "float32":
            found = f"{', '.join(others) or 'a uint8 input'} with {unknown}"
            remedy = "Set quant.precisions=[fp32, fp16], quant.release=fp16 and quant.tflite_input=float32."
            expected = "TFLite of fp32 or fp16 for operators that only litert-torch knows"
            raise PairError(self.out, expected, found, remedy)
        litert.require(self.out, unknown)
        onnx_only: list[Format] = ["onnx"] if "onnx" in config.formats else []
        files = quantize(graph, self.out, self.calibration, config.precisions, formats=onnx_only, **options)
        for precision in litert.PRECISIONS:
            if precision in config.precisions:
                path = self.out / f"{graph.stem}-{precision}.tflite"
                metadata = self.metadata | {"quantization": {"precision": precision}}
                litert.write_with_litert(self.model.net, self.model.input_size, path, metadata, precision, unknown)
                files.append(QuantizedFile(precision, "tflite", path, None))
        return sorted(files, key=lambda file: (config.precisions.index(file.precision), file.format))
