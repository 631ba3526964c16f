"""Reading images: whatever the file holds becomes an upright uint8 BGR array, or one plain sentence."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

# What a folder is searched for. .jfif and .jpe are JPEG files; builds of OpenCV differ in the later formats, and where
# one writes a format it reads it.
SUFFIXES = (
    *(
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".dib",
        ".webp",
        ".tif",
        ".tiff",
        ".pbm",
        ".pgm",
        ".ppm",
        ".pnm",
    ),
    *(s for s in (".gif", ".avif", ".jp2", ".sr", ".ras", ".hdr", ".pic") if cv2.haveImageWriter(f"x{s}")),
)

# First bytes of a format, and the marker that a whole file has near its end: decoders fill what is missing with
# grey without a word, so a file that was cut short must be recognised before decoding.
_END_MARKERS = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG", b"IEND"))
_TAIL = 4096


# libjpeg decodes at these fractions for a fraction of the work, averaging whole blocks of k x k pixels
_REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
_ORIENTATION = 0x0112  # EXIF tag


def read_image(path: str | Path) -> np.ndarray:
    """Decode an image file to (H, W, 3) uint8 BGR.

    Grey and palette images become three channels, 16-bit ones 8-bit, CMYK is converted, transparency is
    dropped. An EXIF rotation is applied, as every viewer and `cv2.imread` do: coordinates refer to the upright
    image.

    Raises:
        OSError: the file cannot be read. ValueError: it is empty, cut short or no image.
    """
    return decode(read_bytes(path), path)


def read_bytes(path: str | Path) -> np.ndarray:
    """An image file's bytes (n,) uint8. Raises as `read_image`, but for files that are no images."""
    data = np.fromfile(path, np.uint8)  # not cv2.imread: that fails on non-ASCII paths on some systems
    if data.size == 0:
        raise ValueError(f"{path}: the file is empty")
    for start, end in _END_MARKERS:
        cut = data[: len(start)].tobytes() == start and end not in data[-_TAIL:].tobytes()
        if cut and not _has_trailer(data.tobytes()):
            raise ValueError(f"{path}: the image is cut short (its end marker is missing)")
    return data


def _has_trailer(raw: bytes) -> bool:
    """Whether a JPEG ends before its file does, as motion photos do: an end marker behind the first scan's start.

    The search starts at that scan because a thumbnail in the metadata before it has an end marker of its own.
    """
    at = 2
    while at + 4 <= len(raw) and raw[at] == 0xFF:
        if raw[at + 1] == 0xDA:
            return raw.find(b"\xff\xd9", at) >= 0
        at += 1 if raw[at + 1] == 0xFF else 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    return False


def decode(data: np.ndarray, path: str | Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """`read_image` of bytes that were read from `path`; ValueError when they are no image."""
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(f"{path}: not an image that OpenCV can decode")
    return image


def decode_reduced(data: np.ndarray, path: str | Path, at_least: int) -> tuple[np.ndarray, int]:
    """A JPEG at 1/8, 1/4 or 1/2 of its size, whichever is the smallest with a longer side of `at_least` or more.

    Other files, small ones, and those whose EXIF rotation would move the blocks' grid are decoded whole.

    Returns:
        The image, and the factor k: its pixel j stands for the pixels k j ... k j + k - 1 of the whole one.
    """
    header = jpeg_header(data)
    if header is not None:
        width, height, upright = header
        for factor, flags in _REDUCED:
            whole_blocks = width % factor == 0 and height % factor == 0
            if max(width, height) >= factor * at_least and (upright or whole_blocks):
                return decode(data, path, flags), factor
    return decode(data, path), 1


def enlarge(points: np.ndarray, factor: int) -> np.ndarray:
    """Points or box corners (..., 2 or 4) of an image of `decode_reduced` in pixels of the whole one."""
    return (np.asarray(points, np.float64) + 0.5) * factor - 0.5


def jpeg_header(data: np.ndarray) -> tuple[int, int, bool] | None:
    """(stored width, height, whether EXIF asks for no rotation) of a JPEG's bytes; None for anything else.

    Follows the segments of ITU-T T.81 up to the frame header.
    """
    raw = data[: 1 << 20].tobytes()  # metadata may hold a thumbnail; no frame header lies this far in
    if raw[:2] != b"\xff\xd8":
        return None
    at, upright = 2, True
    while at + 9 < len(raw) and raw[at] == 0xFF:
        marker, length = raw[at + 1], int.from_bytes(raw[at + 2 : at + 4], "big")
        if marker == 0xE1 and raw[at + 4 : at + 10] == b"Exif\0\0":
            upright = _exif_orientation(raw[at + 10 : at + 2 + length]) == 1
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", raw[at + 5 : at + 9])
            return width, height, upright
        at += 1 if marker == 0xFF else 2 + length  # 0xFF: fill byte
    return None


def _exif_orientation(tiff: bytes) -> int:
    """The orientation tag of a TIFF block, 1 (upright) when there is none, 0 when the block is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            return 0
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return value
    except struct.error:
        return 0
    return 1
