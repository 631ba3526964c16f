"""An image in two sizes: reduced, to look for faces in, and whole, for the crops that need its pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Optional

import numpy as np

from .frame import Frame
from .geometry import warp
from .image import decode, decode_reduced, enlarge, read_bytes

# Longer side at which faces are looked for in a large JPEG; libjpeg decodes that for a fraction of the work.
SEARCH_SIDE = 800
KEPT_CROPS = 16


class ImageFile:
    """An image whose whole pixels are decoded only when a crop asks for them.

    Attributes:
        reduced: (H, W, 3) uint8 BGR. factor: whole pixels per reduced pixel along a side; 1 when `reduced` is whole.
    """

    def __init__(self, reduced: np.ndarray, factor: int, load: Callable[[], np.ndarray]) -> None:
        self.reduced, self.factor, self._load = reduced, factor, load
        self._whole: Optional[np.ndarray] = reduced if factor == 1 else None  # noqa: UP045 (Python 3.9)
        self._crops: dict[tuple[bytes, int], np.ndarray] = {}

    @classmethod
    def of_array(cls, image_bgr: np.ndarray) -> ImageFile:
        """An image that is decoded already, (H, W, 3) uint8 BGR."""
        return cls(image_bgr, 1, lambda: image_bgr)

    @classmethod
    def open(cls, path: Path) -> ImageFile:
        """An image file. Raises OSError, ValueError as `image.read_image`."""
        data = read_bytes(path)
        reduced, factor = decode_reduced(data, path, SEARCH_SIDE)
        return cls(reduced, factor, lambda: decode(data, path))

    @property
    def whole_is_decoded(self) -> bool:
        """Whether the image was needed in full size."""
        return self._whole is not None

    @property
    def whole(self) -> np.ndarray:
        """The image in full size, (H, W, 3) uint8 BGR."""
        if self._whole is None:
            self._whole = self._load()
        return self._whole

    def enlarge_frame(self, frame: Frame) -> Frame:
        """A frame of the reduced image in pixels of the whole one."""
        x, y = enlarge(np.array(frame.centre), self.factor)
        return Frame((float(x), float(y)), frame.size * self.factor, frame.roll)

    def crop(self, matrix: np.ndarray, size: int) -> np.ndarray:
        """The (S, S, 3) crop of `matrix` (whole image -> crop), from the reduced image where that loses nothing.

        The last crops are kept, read-only: of a followed face's the points are found in it, and then smoothed.
        """
        key = (matrix.tobytes(), size)
        if key not in self._crops:
            if len(self._crops) == KEPT_CROPS:
                self._crops.pop(next(iter(self._crops)))
            self._crops[key] = self._cut(matrix, size)
            self._crops[key].setflags(write=False)
        return self._crops[key]

    def _cut(self, matrix: np.ndarray, size: int) -> np.ndarray:
        pixel = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))  # whole pixels per crop pixel
        if self.factor == 1 or pixel < self.factor:
            return warp(self.whole, matrix, size)
        # reduced pixel j lies at whole pixel k j + (k - 1) / 2
        shift = matrix[:, :2] @ np.full(2, (self.factor - 1) / 2) + matrix[:, 2]
        return warp(self.reduced, np.column_stack([matrix[:, :2] * self.factor, shift]), size)
