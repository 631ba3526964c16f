"""Faces of images and videos in Python. Beside an unpacked archive: `from runtime import Landmarker`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .face import Face
from .image import read_image
from .pipeline import Pipeline, PipelineOptions, load_pipeline
from .tracker import Tracker, TrackerConfig

MODES = ("image", "video")
FRAME_SECONDS = 1 / 30  # between the frames of a video whose times are not given


class Landmarker:
    """Detects the faces in images, or follows them through the frames of one video, and predicts their 51 landmarks.

    One landmarker serves one thread at a time, and in mode "video" one video.

    Args:
        archive: folder of an unpacked archive; None: the one that this package lies in.
        mode: "image": every image for itself. "video": faces are followed, smoothed, and have identities.
        options: refinement, views and scores; None: as the archive says.
        tracking: how faces are followed.

    Raises:
        ValueError: files are missing, no installed runtime opens them, or `mode` is another.
    """

    def __init__(
        self,
        archive: str | Path | None = None,
        mode: str = "image",
        options: PipelineOptions | None = None,
        tracking: TrackerConfig | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode: expected one of {', '.join(MODES)}, found {mode!r}")
        self.mode = mode
        self._pipeline = self._open(archive, options)
        self._tracker = Tracker(self._pipeline, tracking) if mode == "video" else None
        self._time = 0.0

    def _open(self, archive: str | Path | None, options: PipelineOptions | None) -> Pipeline:
        return load_pipeline(Path(__file__).parents[1] if archive is None else archive, options=options)

    def __call__(self, image: str | Path | np.ndarray, time: float | None = None) -> list[Face]:
        """The faces of an image, from its right to its left.

        Args:
            image: a file, or (H, W, 3) uint8 BGR.
            time: in mode "video" the frame's time in seconds, greater than the last one's; None: 1/30 s after it.

        Raises:
            ValueError: an array of another shape or type, a file that is no image, or a time that does not go forward.
            OSError: the file cannot be read.
        """
        if isinstance(image, np.ndarray) and (image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8):
            raise ValueError(
                f"image: expected an array (H, W, 3) of uint8, BGR, found {image.shape} of {image.dtype}. "
                "Convert it: (image * 255).astype('uint8') where values are 0 to 1, cv2.cvtColor for grey or RGBA."
            )
        if self._tracker is None:
            if isinstance(image, np.ndarray):
                return self._pipeline.faces(image)
            return self._pipeline.faces_of_file(Path(image))
        whole = image if isinstance(image, np.ndarray) else read_image(Path(image))
        self._time = self._time + FRAME_SECONDS if time is None else time
        return self._tracker(whole, self._time)
