"""The head seen from the front as a flat image: every feature is drawn through the 51 points.

Texture frame: x right and y down from the head frame's (-84, 126), `scale` pixels per millimetre.
"""

from __future__ import annotations

import numpy as np

from pair_fld.data.synthetic import features, hairline, skin
from pair_fld.data.synthetic.expression import Expression
from pair_fld.data.synthetic.look import Look
from pair_fld.data.synthetic.skin import HEIGHT_MM, LEFT_MM, TOP_MM, WIDTH_MM


def to_texture(points: np.ndarray, scale: float) -> np.ndarray:
    """Head frame (..., 2 or 3), frontal, to texture pixels (..., 2)."""
    return np.stack([(points[..., 0] - LEFT_MM) * scale, (TOP_MM - points[..., 1]) * scale], axis=-1) - 0.5


def paint(points: np.ndarray, expression: Expression, look: Look, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Paint one face.

    Args:
        points: (51, 3) head frame.

    Returns:
        (h, w, 3) uint8 albedo, BGR.
    """
    shape = (round(HEIGHT_MM * scale), round(WIDTH_MM * scale))
    flat = to_texture(points, scale)
    image = skin.skin(points, look, shape, rng)
    skin.creases(image, flat, points, expression, look, scale, rng)
    skin.facial_hair(image, flat, look, scale, rng)
    features.brow(image, flat[0:5], look, scale, rng)
    features.brow(image, flat[9:4:-1], look, scale, rng)
    gaze = np.array([expression.gaze[0], -expression.gaze[1]]) * scale
    pupil = rng.uniform(1.5, 3.0)
    features.eye(image, flat[19:25], gaze, pupil, look, scale)
    features.eye(image, flat[[28, 27, 26, 25, 30, 29]], gaze, pupil, look, scale)
    features.mouth(image, flat, look, scale, rng)
    hairline.draw(image, flat, look, scale, rng)
    return image
