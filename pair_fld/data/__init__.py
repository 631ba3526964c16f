"""From folders of faces to packed crops, and from packed crops to batches."""

from typing import TYPE_CHECKING

from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.data.annotations import Annotations
    from pair_fld.data.dataset import FaceDataset, FaceTable, LabelSource, Split
    from pair_fld.data.packing.prepare import prepare
    from pair_fld.data.point_map import PointMap, load_point_map

__all__ = [
    "Annotations",
    "FaceDataset",
    "FaceTable",
    "LabelSource",
    "PointMap",
    "Split",
    "load_point_map",
    "prepare",
]

__getattr__ = attach(
    __name__,
    {
        "annotations": ["Annotations"],
        "dataset": ["FaceDataset", "FaceTable", "LabelSource", "Split"],
        "packing.prepare": ["prepare"],
        "point_map": ["PointMap", "load_point_map"],
    },
)
