"""Faces of images in Python: `pair_fld.load()` opens an archive, calling it gives the faces of an image."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from pair_fld.errors import PairError
from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
from pair_fld.runtime.face import Face
from pair_fld.runtime.pipeline import PipelineOptions


class Landmarker:
    """Detects the faces in images and predicts their 51 landmarks, with the models of one archive.

    One landmarker serves one thread at a time.

    Args:
        archive: zip of `pairfld package`, or its unpacked folder; None: the shipped one.
        options: refinement, views and scores; None: as the archive says.

    Raises:
        PairError: it is no such archive.

    >>> from pair_fld.data.synthetic import render_scene
    >>> image = render_scene(1, 0, 512, faces=1).image  # (512, 512, 3) uint8, channels in the order BGR
    >>> landmarker = Landmarker()
    >>> [face] = landmarker(image)
    >>> face.points.shape  # of the 51 landmarks: x, y in image pixels
    (51, 2)
    >>> face.box.round(-1).tolist()  # x0, y0, x1, y1 of the landmarks
    [140.0, 160.0, 330.0, 340.0]
    >>> 0.5 < face.score < 1.0
    True
    """

    def __init__(self, archive: str | Path | None = None, options: PipelineOptions | None = None) -> None:
        path = shipped_archive() if archive is None else Path(archive)
        stack = ExitStack()
        folder = stack.enter_context(unpacked(path))
        weakref.finalize(self, stack.close)  # a runtime may read the files for as long as it lives
        (self._pipeline,) = open_pipelines(folder, path, 1, options)

    def __call__(self, image: str | Path | np.ndarray) -> list[Face]:
        """The faces of an image, from its right to its left.

        Args:
            image: a file, or (H, W, 3) uint8 BGR.

        Raises:
            PairError: an array of another shape or type.
            OSError: the file cannot be read.
            ValueError: it is no image.
        """
        if not isinstance(image, np.ndarray):
            return self._pipeline.faces_of_file(Path(image))
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            found = f"{image.shape} of {image.dtype}"
            raise PairError("image", "an array (H, W, 3) of uint8, BGR", found, "Convert it, e.g. with cv2.cvtColor.")
        return self._pipeline.faces(image)


def load(archive: str | Path | None = None, options: PipelineOptions | None = None) -> Landmarker:
    """A `Landmarker` with the models of an archive, the shipped one's by default. Raises as it."""
    return Landmarker(archive, options)
