"""Cluttered or plain scenes without faces."""

from __future__ import annotations

import cv2
import numpy as np

from pair_fld.data.synthetic.curves import disc, fill, spline, stroke
from pair_fld.data.synthetic.noise import crop


def _colour(rng: np.random.Generator) -> np.ndarray:
    return np.clip(rng.uniform(10, 235) + rng.normal(0, 1, 3) * (5.0, 14.0, 28.0, 50.0)[int(rng.integers(4))], 0, 255)


def background(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A cluttered or plain scene without faces, (h, w, 3) uint8."""
    if rng.random() < 0.6:  # out of focus: draw it small
        factor = int(rng.integers(2, 6))
        small = _sharp((-(-shape[0] // factor), -(-shape[1] // factor)), rng)
        return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return _sharp(shape, rng)


def _sharp(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The same with every edge sharp."""
    height, width = shape
    a, b = _colour(rng), _colour(rng)
    if rng.random() < 0.4:
        b = a * rng.uniform(0.6, 1.2)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.add.outer(np.linspace(0, np.sin(angle), height), np.linspace(0, np.cos(angle), width)).astype(np.float32)
    ramp += np.float32(rng.uniform(0, 0.4)) * crop("soft", shape, rng)
    stops = np.linspace(0, 1, 256)[:, None]
    wave = rng.normal(0, 6, (3, 3))  # a little colour that neither end has
    table = a + stops * (b - a) + np.sin(np.outer(stops[:, 0], np.arange(1, 4)) * np.pi) @ wave
    level = cv2.convertScaleAbs(np.clip(ramp, 0, 1), alpha=255)
    image = cv2.LUT(cv2.merge([level] * 3), np.clip(table, 0, 255).astype(np.uint8)[None])
    count = int(rng.integers(3, 16)) if rng.random() < 0.75 else 0
    side = max(shape)
    for kind in rng.integers(0, 5, count):
        colour = _colour(rng).tolist()
        at = rng.uniform(-0.1, 1.1, 2) * (width, height)
        span = rng.uniform(0.03, 0.35, 2) * side
        if kind == 0:
            disc(image, at, (span[0] / 2, span[1] / 2), colour, float(rng.uniform(0, 180)))
        elif kind == 1:
            turn = rng.uniform(-0.3, 0.3)
            box = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * span / 2
            fill(
                image,
                at + box @ np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))]),
                colour,
            )
        elif kind == 2:
            stroke(image, at + rng.normal(0, 0.4, (2, 2)) * side, colour, rng.uniform(0.004, 0.03) * side)
        elif kind == 3:
            steps = np.arange(int(rng.integers(3, 10)))
            for s in steps:
                x = at[0] + s * span[0] * 0.35
                fill(
                    image,
                    np.array(
                        [
                            (x, at[1]),
                            (x + span[0] * 0.15, at[1]),
                            (x + span[0] * 0.15, at[1] + 2 * span[1]),
                            (x, at[1] + 2 * span[1]),
                        ]
                    ),
                    colour,
                )
        else:
            fill(image, spline(at + rng.normal(0, 0.25, (6, 2)) * span.max(), closed=True), colour)
    return image
