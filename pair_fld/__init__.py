"""pair_fld: from labelled faces to a tiny, measured, verified facial-landmark model and its contest archive.

>>> from pair_fld import Landmarker
>>> from pair_fld.data.synthetic import render_scene
>>> landmarker = Landmarker()
>>> for face in landmarker(render_scene(1, 0, 512, faces=1).image):
...     print(face.points.shape, face.box.shape, face.score > 0.5)
(51, 2) (4,) True
"""

from typing import TYPE_CHECKING

from pair_fld import runtime as runtime  # first of all: it sets what ONNX Runtime reads when it is imported
from pair_fld.lazy import attach

if TYPE_CHECKING:
    from pair_fld.errors import GateError, PairError
    from pair_fld.inference.landmarker import Landmarker
    from pair_fld.runtime.face import Face
    from pair_fld.runtime.tracker import TrackerConfig

__version__ = "0.1.0"
__all__ = ["Face", "GateError", "Landmarker", "PairError", "TrackerConfig"]

__getattr__ = attach(
    __name__,
    {
        "errors": ["GateError", "PairError"],
        "inference.landmarker": ["Landmarker"],
        "runtime.face": ["Face"],
        "runtime.tracker": ["TrackerConfig"],
    },
)
