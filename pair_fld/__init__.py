"""pair_fld: from labelled faces to a tiny, measured, verified facial-landmark model and its contest archive."""

__version__ = "0.1.0"
