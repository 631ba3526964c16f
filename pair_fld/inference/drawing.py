"""Found faces for people: drawings, and a sheet of faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pair_fld.data.packing.contact_sheet import contact_sheet
from pair_fld.errors import PairError
from pair_fld.io import atomic_path
from pair_fld.runtime.geometry import crop_matrix, points_box, transform_points, warp
from pair_fld.runtime.scheme import CURVES, NUM_POINTS

CURVE, POINT, RIM = (255, 200, 60), (80, 255, 80), (30, 30, 30)  # BGR
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
TILE, COLUMNS, MARGIN = 160, 8, 1.8


def draw_faces(image_bgr: np.ndarray, faces: Sequence[np.ndarray]) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8 with each face's (51, 2) _img points and the curves through them."""
    drawn = image_bgr.copy()
    for face in faces:
        box = points_box(face)
        side = float(max(box[2:] - box[:2]))
        line, radius = max(1, round(side / 150)), max(1.0, side / 110)
        fixed = np.rint(np.asarray(face, np.float64) * 2**_SHIFT).astype(np.int32)
        for curve in CURVES.values():
            cv2.polylines(drawn, [fixed[list(curve)]], False, CURVE, line, cv2.LINE_AA, _SHIFT)
        for x, y in fixed.tolist():
            for colour, size in ((RIM, radius + 1), (POINT, radius)):
                cv2.circle(drawn, (x, y), round(size * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
    return drawn


def check_image_format(path: Path) -> None:
    """PairError when OpenCV writes no image of the path's suffix."""
    # the suffix alone: OpenCV ends the process over a name that is no UTF-8
    if not path.suffix.isascii() or not path.suffix or not cv2.haveImageWriter(f"x{path.suffix}"):
        raise PairError(path, "an image format that OpenCV writes", path.suffix or "no suffix", "Use .png or .jpg.")


def write_image(path: Path, image_bgr: np.ndarray) -> None:
    """Encode by the path's suffix and write whole or not at all. Raises as `check_image_format`."""
    check_image_format(path)
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix.lower() in (".jpg", ".jpeg") else []
    good, data = cv2.imencode(path.suffix, image_bgr, options)
    if not good:
        raise PairError(path, "an image that can be encoded", f"{image_bgr.shape}", "Use another format.")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


@dataclass
class FaceSheet:
    """Collects faces for one contact sheet, `most` at most; `left_out` counts the rest."""

    most: int = 400
    crops: list[np.ndarray] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    left_out: int = 0

    def add(self, image_bgr: np.ndarray, faces: Sequence[np.ndarray]) -> None:
        """Add a tile around each face."""
        for face in faces:
            if len(self.crops) >= self.most:
                self.left_out += 1
                continue
            matrix = crop_matrix(points_box(face), TILE, MARGIN)
            self.crops.append(warp(image_bgr, matrix, TILE))
            self.points.append(transform_points(matrix, face))

    def write(self, path: Path) -> None:
        """Write the sheet; PairError when no face was found."""
        if not self.crops:
            raise PairError(path, "faces to show on the sheet", "none in these images", "Leave --sheet out.")
        valid = np.ones((len(self.crops), NUM_POINTS), bool)
        columns = min(COLUMNS, len(self.crops))
        write_image(path, contact_sheet(self.crops, np.stack(self.points), valid, columns))
