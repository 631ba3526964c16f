"""Speed, size and accuracy, measured side by side: model files, training, detectors, inference."""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.benchmarks.detectors import CostRow, SetRow, compare_detectors
    from pair_fld.benchmarks.model_files import Latency, ModelRow, measure_models, plot_models
    from pair_fld.benchmarks.throughput import Throughput, measure_throughput
    from pair_fld.benchmarks.training import Speed

__all__ = [
    "CostRow",
    "Latency",
    "ModelRow",
    "SetRow",
    "Speed",
    "Throughput",
    "compare_detectors",
    "measure_models",
    "measure_throughput",
    "plot_models",
]

__getattr__ = attach(
    __name__,
    {
        "detectors": ["CostRow", "SetRow", "compare_detectors"],
        "model_files": ["Latency", "ModelRow", "measure_models", "plot_models"],
        "throughput": ["Throughput", "measure_throughput"],
        "training": ["Speed"],
    },
)
