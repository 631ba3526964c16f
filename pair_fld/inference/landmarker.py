"""Faces in Python: `Landmarker()` opens an archive, calling it gives the faces of an image or of a video's frames."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from pathlib import Path

from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
from pair_fld.runtime.landmarker import Landmarker as _RuntimeLandmarker
from pair_fld.runtime.pipeline import Pipeline, PipelineOptions


class Landmarker(_RuntimeLandmarker):
    """Detects the faces in images, or follows them through the frames of one video, and predicts their 51 landmarks.

    It is `runtime.landmarker.Landmarker`, which opens archives still packed, too. One landmarker serves one thread at
    a time, and in mode "video" one video.

    Args:
        archive: zip of `pairfld package`, or its unpacked folder; None: the shipped one.
        mode: "image": every image for itself. "video": faces are followed, smoothed, and have identities.
        options: refinement, views and scores; None: as the archive says.
        tracking: how faces are followed.

    Raises:
        PairError: it is no such archive. ValueError: `mode` is another.

    >>> from pair_fld.data.synthetic import render_scene
    >>> image = render_scene(1, 0, 512, faces=1).image  # (512, 512, 3) uint8, channels in the order BGR
    >>> landmarker = Landmarker()
    >>> [face] = landmarker(image)
    >>> face.points.shape  # of the 51 landmarks: x, y in image pixels
    (51, 2)
    >>> face.box.round(-2).tolist()  # x0, y0, x1, y1 of the landmarks, to hundreds of pixels
    [100.0, 200.0, 300.0, 300.0]
    >>> 0.5 < face.score < 1.0
    True

    >>> landmarker = Landmarker(mode="video")
    >>> [[face.identity for face in landmarker(image, time)] for time in (0.0, 0.04, 0.08)]
    [[1], [1], [1]]
    """

    def _open(self, archive: str | Path | None, options: PipelineOptions | None) -> Pipeline:
        path = shipped_archive() if archive is None else Path(archive)
        stack = ExitStack()
        folder = stack.enter_context(unpacked(path))
        weakref.finalize(self, stack.close)  # a runtime may read the files for as long as it lives
        (pipeline,) = open_pipelines(folder, path, 1, options)
        return pipeline
