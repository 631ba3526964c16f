"""A small annotator whose answers are known, and a folder of images for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.runtime.frame import Frame, place
from pair_fld.runtime.landmark_files import write_faces

# Finds the one blob of red on grey, and answers 5 points: its middle and the four ends of its box. It notes every call.
SCRIPT = """
import sys
from pathlib import Path
import cv2
import numpy as np

out = Path(sys.argv[2]); out.mkdir()
names = Path(sys.argv[1]).read_text().splitlines()
with (Path(__file__).parent / "calls.txt").open("a") as calls:
    calls.write(f"{len(names)}\\n")
for name in names:
    image = cv2.imread(name)
    rows, columns = np.nonzero(image[..., 2] > 200)
    text = ""
    if len(rows) and min(image.shape[:2]) >= LEAST:
        x0, x1, y0, y1 = columns.min(), columns.max(), rows.min(), rows.max()
        points = [((x0 + x1) / 2, (y0 + y1) / 2), (x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        lines = "".join(f"{x:.3f} {y:.3f}\\n" for x, y in points)
        text = "version: 1\\nn_points: 5\\n{\\n" + lines + "}\\n"
    (out / (Path(name).stem + ".txt")).write_text(text)
"""


@pytest.fixture
def red_annotator(tmp_path: Path) -> Path:
    """Its folder; calls.txt in it has the number of images of each call."""
    folder = tmp_path / "red"
    folder.mkdir()
    (folder / "run_model.py").write_text(SCRIPT.replace("LEAST", "0"))
    (folder / "requirements.txt").write_text("")
    (folder / "about.yaml").write_text("title: red blobs\npoints: 5\n")
    return folder


def red_image(path: Path, centre: tuple[int, int], half: int, size: tuple[int, int] = (300, 400)) -> None:
    """A grey image of (height, width) with a red square."""
    image = np.full((*size, 3), 90, np.uint8)
    x, y = centre
    cv2.rectangle(image, (x - half, y - half), (x + half, y + half), (0, 0, 255), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def red_face(folder: Path, name: str, centre: tuple[int, int], half: int = 20, roll: float = 0.0) -> np.ndarray:
    """An image with a red square and a label of 51 points around it; the points."""
    red_image(folder / "images" / f"{name}.png", centre, half)
    points = place(Frame(centre, 60.0, roll))
    (folder / "labels").mkdir(exist_ok=True)
    write_faces(folder / "labels" / f"{name}.pts", [points])
    return points
