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
from pair_fld.runtime.face import Face
from pair_fld.runtime.frame import frame_matrix
from pair_fld.runtime.geometry import transform_points, warp
from pair_fld.runtime.scheme import CURVES, NUM_POINTS

CURVE, POINT, RIM = (255, 200, 60), (80, 255, 80), (30, 30, 30)  # BGR
FAINTEST = 0.25  # opacity of the curves of a face whose score is 0
UNCERTAIN = 0.05  # deviation, over the face's size, at which a point has lost most of its colour
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
TILE, COLUMNS, MARGIN = 160, 8, 1.8


def draw_faces(image_bgr: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8 with each face's points and the curves through them.

    A followed face has its identity beside it. What is uncertain is faint: curves by the face's score, each point by
    its deviation.
    """
    drawn = image_bgr.copy()
    for face in faces:
        size = face.frame.size
        line, radius = max(1, round(size / 150)), max(1.0, size / 110)
        fixed = np.rint(np.asarray(face.points, np.float64) * 2**_SHIFT).astype(np.int32)
        over = drawn.copy()
        for curve in CURVES.values():
            cv2.polylines(over, [fixed[list(curve)]], False, CURVE, line, cv2.LINE_AA, _SHIFT)
        strength = FAINTEST + (1 - FAINTEST) * (1.0 if face.score is None else face.score)
        drawn = cv2.addWeighted(over, strength, drawn, 1 - strength, 0)
        certainty = np.ones(len(fixed)) if face.deviations is None else np.exp(-face.deviations / (UNCERTAIN * size))
        for (x, y), share in zip(fixed.tolist(), certainty.tolist(), strict=True):
            for colour, extent in ((RIM, radius + 1), (_faded(POINT, share), radius)):
                cv2.circle(drawn, (x, y), round(extent * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
        if face.identity is not None:
            at = (round(float(face.box[0])), round(float(face.box[1]) - 0.15 * size))
            for colour, width in ((RIM, 3 * line), (POINT, line)):
                cv2.putText(drawn, str(face.identity), at, cv2.FONT_HERSHEY_SIMPLEX, size / 200, colour, width)
    return drawn


def _faded(colour: tuple[int, int, int], share: float) -> tuple[int, ...]:
    """A colour that turns into the rim's as `share` goes from 1 to 0."""
    return tuple(round(share * c + (1 - share) * r) for c, r in zip(colour, RIM, strict=True))


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

    def add(self, image_bgr: np.ndarray, faces: Sequence[Face]) -> None:
        """Add an upright tile around each face."""
        for face in faces:
            if len(self.crops) >= self.most:
                self.left_out += 1
                continue
            matrix = frame_matrix(face.frame, TILE, MARGIN)
            self.crops.append(warp(image_bgr, matrix, TILE))
            self.points.append(transform_points(matrix, face.points))

    def write(self, path: Path) -> None:
        """Write the sheet; PairError when no face was found."""
        if not self.crops:
            raise PairError(path, "faces to show on the sheet", "none in these images", "Leave --sheet out.")
        valid = np.ones((len(self.crops), NUM_POINTS), bool)
        columns = min(COLUMNS, len(self.crops))
        write_image(path, contact_sheet(self.crops, np.stack(self.points), valid, columns))
