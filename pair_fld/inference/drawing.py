"""Found faces for people and for programs: drawings, a sheet of faces, JSON, CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    """A copy of the picture (H, W, 3) uint8 with each face's (51, 2) _img points and the curves through them."""
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


def write_picture(path: Path, image_bgr: np.ndarray) -> None:
    """Encode by the path's suffix and write whole or not at all."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix.lower() in (".jpg", ".jpeg") else []
    try:
        good, data = cv2.imencode(path.suffix, image_bgr, options)
    except cv2.error:
        good, data = False, np.zeros(0, np.uint8)
    if not good:
        raise PairError(path, "a picture format that OpenCV writes", path.suffix, "Use .png or .jpg.")
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
        """Cut a tile around each face."""
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
            raise PairError(path, "faces to show on the sheet", "none in these pictures", "Leave --sheet out.")
        valid = np.ones((len(self.crops), NUM_POINTS), bool)
        columns = min(COLUMNS, len(self.crops))
        write_picture(path, contact_sheet(self.crops, np.stack(self.points), valid, columns))


def picture_json(name: str, picture: str, faces: Sequence[np.ndarray]) -> dict[str, Any]:
    """One picture's faces: box (x0, y0, x1, y1) and 51 points each, picture pixels, from right to left."""
    rows = [{"box": _rounded(points_box(face)), "points": [_rounded(p) for p in face]} for face in faces]
    return {"name": name, "picture": picture, "faces": rows}


def fault_json(name: str, picture: str, fault: str) -> dict[str, Any]:
    """One picture that could not be answered."""
    return {"name": name, "picture": picture, "fault": fault}


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(v), 3) for v in values]


def json_text(pictures: Sequence[dict[str, Any]]) -> str:
    """A JSON list with one picture a line."""
    lines = [json.dumps(entry, ensure_ascii=False) for entry in pictures]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def write_csv(path: Path, pictures: Sequence[dict[str, Any]]) -> None:
    """One line a face: name, picture, number of the face from the right, x0 y0 ... x50 y50. A picture without
    faces has no line."""
    heading = ["name", "picture", "face", *(f"{axis}{k}" for k in range(NUM_POINTS) for axis in "xy")]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(heading)
        for entry in pictures:
            for number, face in enumerate(entry.get("faces", ())):
                writer.writerow([entry["name"], entry["picture"], number, *(v for p in face["points"] for v in p)])
