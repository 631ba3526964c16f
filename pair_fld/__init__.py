"""pair_fld: from labelled faces to a tiny, measured, verified facial-landmark model and its contest archive."""

from pair_fld import runtime as runtime  # first of all: it sets what ONNX Runtime reads when it is imported

__version__ = "0.1.0"
