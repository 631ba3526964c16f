"""From one float graph to files of every precision: calibration, static int8, fine-tuning, gates."""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.export.quantization.formats import PRECISIONS, Precision, QuantizedFile, choose_method, quantize
    from pair_fld.export.quantization.gates import FileReport, QatReport, QuantizeGateError, QuantizeReport
    from pair_fld.export.quantization.run import FineTuning, Quantizer, quantize_checkpoint

__all__ = [
    "PRECISIONS",
    "FileReport",
    "FineTuning",
    "Precision",
    "QatReport",
    "QuantizeGateError",
    "QuantizeReport",
    "QuantizedFile",
    "Quantizer",
    "choose_method",
    "quantize",
    "quantize_checkpoint",
]

__getattr__ = attach(
    __name__,
    {
        "formats": ["PRECISIONS", "Precision", "QuantizedFile", "choose_method", "quantize"],
        "gates": ["FileReport", "QatReport", "QuantizeGateError", "QuantizeReport"],
        "run": ["FineTuning", "Quantizer", "quantize_checkpoint"],
    },
)
