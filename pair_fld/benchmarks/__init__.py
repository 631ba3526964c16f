"""Speed, size and accuracy, measured side by side: model files, training, detectors, inference."""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.benchmarks.detectors import CostRow, SetRow
    from pair_fld.benchmarks.model_files import Latency, plot
    from pair_fld.benchmarks.throughput import Throughput, measure_throughput
    from pair_fld.benchmarks.training import Speed

__all__ = ["CostRow", "Latency", "SetRow", "Speed", "Throughput", "measure_throughput", "plot"]

__getattr__ = attach(
    __name__,
    {
        "detectors": ["CostRow", "SetRow"],
        "model_files": ["Latency", "plot"],
        "throughput": ["Throughput", "measure_throughput"],
        "training": ["Speed"],
    },
)
