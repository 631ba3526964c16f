"""Speed of the renderer, and a contact sheet: `python -m pair_fld.benchmarks.renderer [SHEET.png [--points]]`."""

from __future__ import annotations

import sys
import time

import cv2
import numpy as np

from pair_fld.data.synthetic.render import render_face


def sheet(count: int = 64, seed: int = 0, size: int = 192, points: bool = False) -> np.ndarray:
    """`count` faces in rows of eight, (rows * size, 8 * size, 3) uint8, with the points as dots if asked."""
    tiles = []
    for index in range(count):
        face = render_face(seed, index, size)
        image = face.image.copy()
        if points:
            for (x, y), seen in zip(face.points, face.visible, strict=True):
                at = (round(float(x) * 16), round(float(y) * 16))
                cv2.circle(image, at, 20, (0, 255, 0) if seen else (0, 0, 255), -1, cv2.LINE_AA, 4)
        tiles.append(image)
    return np.concatenate([np.concatenate(tiles[i : i + 8], axis=1) for i in range(0, count, 8)])


def faces_per_second(count: int = 200, size: int = 192) -> float:
    """Measured on one thread after warming up."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        render_face(0, 0, size)
        start = time.process_time()
        for index in range(count):
            render_face(1, index, size)
        return count / (time.process_time() - start)
    finally:
        cv2.setNumThreads(threads)


if __name__ == "__main__":
    print(f"{faces_per_second():.0f} faces/s on one core at 192 x 192")
    if len(sys.argv) > 1:
        cv2.imwrite(sys.argv[1], sheet(points="--points" in sys.argv))
