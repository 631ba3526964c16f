"""What quantization measured of each file, and the bounds that it is held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.config import QuantConfig
from pair_fld.errors import GateError
from pair_fld.export.model_cost import model_cost
from pair_fld.export.parity import LayerNoise, compare, layer_snr
from pair_fld.export.quantization.formats import Format, Precision, QuantizedFile

SIMULATION_DRIFT_PX = 0.25  # mean; runtimes break rounding ties differently, which moves a point by some hundredths
DECODING_DRIFT_PX = 0.01  # worst point, crop pixels; float32 sums in another order move it by a thousandth of that
NOISY_LAYERS = 10  # rows per file in the table of a broken gate


@dataclass(frozen=True)
class FileReport:
    """One file as measured on the validation split.

    Attributes:
        nme_outer_corners_percent: NME in percent of the outer eye corners' distance.
        mean_drift_px, max_drift_px: distance of its points from the checkpoint's, in crop pixels.
    """

    file: str
    precision: Precision
    format: Format
    size_mb: float
    nme_outer_corners_percent: float
    mean_drift_px: float
    max_drift_px: float


@dataclass(frozen=True)
class QatReport:
    """What fine-tuning did.

    Attributes:
        loss_first, loss_last: means of the first and of the last tenth of the steps.
        simulation_drift_px: mean distance between the points of the trained graph and those of the int8 file.
        post_training: the int8 files as they were before, no longer on disk.
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

    Attributes:
        checkpoint_nme_outer_corners_percent: of the float checkpoint, on the same faces as the files.
        method: of calibration.
        method_nme_outer_corners_percent: of each calibration method that was tried; empty where only one was.
        broken: one sentence per broken bound.
        noisy_layers: by name of a file that broke a bound, the layers that deviate most from the float graph.
    """

    checkpoint_nme_outer_corners_percent: float
    method: str
    method_nme_outer_corners_percent: dict[str, float]
    files: tuple[FileReport, ...]
    broken: tuple[str, ...]
    noisy_layers: dict[str, tuple[LayerNoise, ...]]
    qat: QatReport | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class QuantizeGateError(GateError):
    """A file broke a bound; `report` holds everything that was measured."""

    def __init__(self, report: QuantizeReport) -> None:
        super().__init__("; ".join(report.broken))
        self.report = report


def broken_gates(
    file: QuantizedFile, report: FileReport, checkpoint_nme: float, simulation_drift_px: float, config: QuantConfig
) -> list[str]:
    """One sentence per bound that a file breaks.

    Args:
        file: the file on disk.
        report: its figures.
        checkpoint_nme: NME of the float checkpoint, percent of the outer corners' distance.
        simulation_drift_px: mean distance of int8-static files from the fine-tuned graph; 0 without fine-tuning.
        config: the bounds.
    """
    broken = []
    limit = config.max_fp32_drift_px if report.precision == "fp32" else config.max_drift_px
    if not report.max_drift_px <= limit:
        broken.append(
            f"{report.file}: worst point {report.max_drift_px:.4g} px from the checkpoint, bound {limit:g} px"
        )
    loss = report.nme_outer_corners_percent - checkpoint_nme
    if not loss <= config.max_nme_loss:
        broken.append(f"{report.file}: loses {loss:.3f} points of NME (outer corners), bound {config.max_nme_loss:g}")
    if report.precision != "int8-static":
        return broken
    if left := model_cost(file.path).heavy_not_int8():
        found = ", ".join(f"{n} {op} {dtype}" for (op, dtype), n in left.items())
        broken.append(f"{report.file}: heavy operators that are not int8: {found}, bound 0")
    if not simulation_drift_px <= SIMULATION_DRIFT_PX:
        found = f"{simulation_drift_px:.3g} px on average from the graph that was trained"
        broken.append(f"{report.file}: {found}, bound {SIMULATION_DRIFT_PX:g} px")
    return broken


def broken_decoding(file: QuantizedFile, crops: np.ndarray) -> list[str]:
    """A sentence when a file that decodes in its graph has a point elsewhere than the runtime decodes it."""
    if file.raw is None:
        return []
    (drift,) = compare({file.raw.name: file.raw, file.path.name: file.path}, crops)
    if drift.max_px <= DECODING_DRIFT_PX:
        return []
    found = f"{drift.max_px:.3g} px from what the runtime decodes, bound {DECODING_DRIFT_PX:g} px"
    return [f"{file.path.name}: worst point {found}"]


def noisy_layers(float_graph: Path, file: Path, crops: np.ndarray) -> tuple[LayerNoise, ...]:
    """The layers of a file that deviate most from the float graph that it was made from, worst first."""
    return tuple(layer_snr(float_graph, file, crops)[:NOISY_LAYERS])


def of_precision(reports: Sequence[FileReport], precision: Precision) -> tuple[FileReport, ...]:
    """The reports of the files of one precision."""
    return tuple(report for report in reports if report.precision == precision)
