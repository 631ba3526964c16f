"""The project's own face detector: net, training data, training, export."""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.face_detector.export import export_detector, train_detector
    from pair_fld.face_detector.files import find_detector
    from pair_fld.face_detector.net import DetectorNet
    from pair_fld.face_detector.threshold import choose_threshold, measure_thresholds

__all__ = [
    "DetectorNet",
    "choose_threshold",
    "export_detector",
    "find_detector",
    "measure_thresholds",
    "train_detector",
]

__getattr__ = attach(
    __name__,
    {
        "export": ["export_detector", "train_detector"],
        "files": ["find_detector"],
        "net": ["DetectorNet"],
        "threshold": ["choose_threshold", "measure_thresholds"],
    },
)
