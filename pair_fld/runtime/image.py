"""Reading pictures: whatever the file holds becomes an upright uint8 BGR array, or one plain sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

# First bytes of a format, and the marker that a whole file has near its end: decoders fill what is missing with
# grey without a word, so a file that was cut short must be recognised before decoding.
_END_MARKERS = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG", b"IEND"))
_TAIL = 4096


def read_image(path: str | Path) -> np.ndarray:
    """Decode a picture file to (H, W, 3) uint8 BGR.

    Grey and palette pictures become three channels, 16-bit ones 8-bit, CMYK is converted, transparency is
    dropped. An EXIF rotation is applied, as every viewer and `cv2.imread` do: coordinates refer to the upright
    picture.

    Raises:
        OSError: the file cannot be read. ValueError: it is empty, cut short or no picture.
    """
    data = np.fromfile(path, np.uint8)  # not cv2.imread: that fails on non-ASCII paths on some systems
    if data.size == 0:
        raise ValueError(f"{path}: the file is empty")
    for start, end in _END_MARKERS:
        if data[: len(start)].tobytes() == start and end not in data[-_TAIL:].tobytes():
            raise ValueError(f"{path}: the picture is cut short (its end marker is missing)")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(f"{path}: not a picture that OpenCV can decode")
    return image
