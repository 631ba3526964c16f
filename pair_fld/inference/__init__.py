"""Applying a trained model: inputs, archives, drawings, and the landmarker of the Python interface."""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
    from pair_fld.inference.landmarker import Landmarker

__all__ = ["Landmarker", "open_pipelines", "shipped_archive", "unpacked"]

__getattr__ = attach(
    __name__,
    {
        "archive": ["open_pipelines", "shipped_archive", "unpacked"],
        "landmarker": ["Landmarker"],
    },
)
