"""What lies before the face: glasses, strands of hair, hands, masks, microphones, plain blocks."""

from __future__ import annotations

import numpy as np

from pair_fld.data.synthetic.camera import Camera
from pair_fld.data.synthetic.curves import disc, fill, soften, spline, stroke
from pair_fld.data.synthetic.look import Look, pick
from pair_fld.data.synthetic.noise import crop
from pair_fld.data.synthetic.shape import Head


def _overlay(image: np.ndarray, mask: np.ndarray, tone: np.ndarray) -> None:
    weight = mask.astype(np.float32)[..., None] / 255
    image[:] = (image + weight * (tone - image)).clip(0, 255).astype(np.uint8)


def glasses(image: np.ndarray, head: Head, camera: Camera, look: Look, rng: np.random.Generator) -> None:
    """Frames in three dimensions before the eyes, with arms to the ears; dark ones hide the eyes."""
    p, k = head.points, camera.scale
    dark = look.glasses == "dark"
    square = rng.uniform(2.0, 4.5)
    wide, tall = rng.uniform(23, 28), rng.uniform(15, 22)
    colour = (
        np.array([20, 20, 24]) if rng.random() < 0.6 else np.array([60, 90, 130]) * rng.uniform(0.4, 1.6, 3)
    ) * 1.0
    thick = rng.uniform(0.8, 3.2)
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    cosine, sine = np.cos(t), np.sin(t)
    x = np.sign(cosine) * np.abs(cosine) ** (2 / square) * wide
    y = np.sign(sine) * np.abs(sine) ** (2 / square) * tall
    lenses = np.zeros(image.shape[:2], np.uint8)
    rims = np.zeros(image.shape[:2], np.uint8)
    for side, eye in ((-1, p[19:25]), (1, p[25:31])):
        centre = np.array([side * max(abs(eye[:, 0].mean()), wide + 8), eye[:, 1].mean() - 3, 0])
        depth = 21 - 0.011 * (centre[0] + x) ** 2
        rim, _ = camera.project(np.stack([centre[0] + x, centre[1] + y, depth], axis=1))
        fill(lenses, rim, 255)
        stroke(rims, rim, 255, thick * k, closed=True)
        hinge = np.array(
            [
                (centre[0] + side * wide, centre[1] + 6, depth[0 if side > 0 else 14]),
                (side * 77, 6, -30),
                (side * 79, 4, -80),
            ]
        )
        outward = camera.turn[2, 0] * side
        if outward > -0.25:  # the far arm hides behind the head
            arm, _ = camera.project(hinge)
            stroke(rims, arm[: 3 if outward > 0.05 else 2], 255, thick * k)
    bridge, _ = camera.project(
        np.array(
            [
                (-9, p[19:31, 1].mean() + 2, 22),
                (0, p[19:31, 1].mean() + 5, 25),
                (9, p[19:31, 1].mean() + 2, 22),
            ]
        )
    )
    stroke(rims, spline(bridge), 255, thick * k)
    if dark:
        tone = np.float32(rng.uniform(8, 50)) + np.linspace(0, 30, image.shape[0], dtype=np.float32)[:, None, None]
        _overlay(image, (lenses * rng.uniform(0.82, 1.0)).astype(np.uint8), np.broadcast_to(tone, image.shape))
    else:
        glare = np.clip(crop("soft", lenses.shape, rng) * 60 + 20, 0, 255).astype(np.float32)
        weight = lenses.astype(np.float32) * glare * np.float32(rng.uniform(0, 0.4) / 255 / 255)
        image[:] = (image + weight[..., None] * (250 - image.astype(np.float32))).astype(np.uint8)
    _overlay(image, rims, np.broadcast_to(colour.astype(np.float32), image.shape))


def occlude(image: np.ndarray, points: np.ndarray, camera: Camera, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Lay one random thing before the face.

    Args:
        points: (51, 2) pixels.

    Returns:
        (h, w) uint8, 255 where the face is hidden.
    """
    mask = np.zeros(image.shape[:2], np.uint8)
    draw = (_hand, _strands, _block, _microphone, _surgical_mask)[pick(rng, (0.3, 0.25, 0.25, 0.1, 0.1))]
    # drawn for every kind, so that a seed stands for the same draws
    tone = look.skin * look.exposure * rng.uniform(0.8, 1.05)
    own_tone = draw(mask, points, camera.scale, look, rng)
    tone = tone if own_tone is None else own_tone
    soft = soften(mask, 0.6 * camera.scale + 0.2)
    level = 1 + 0.09 * crop("soft", mask.shape, rng)
    _overlay(image, soft, level[..., None] * np.asarray(tone, np.float32))
    return mask


# Each of these fills the mask with one thing before a face with these points, k pixels per millimetre. It returns the
# thing's colour (BGR), or None where that is the skin's.


def _hand(mask: np.ndarray, points: np.ndarray, k: float, look: Look, rng: np.random.Generator) -> None:
    low, high = points.min(axis=0), points.max(axis=0)
    at = low + rng.uniform(0, 1, 2) * (high - low) * (1, 0.8) + (0, 30 * k)
    turn = _turn(rng.uniform(-0.6, 0.6))
    palm = np.array([(-38, 10), (-30, -18), (30, -18), (40, 20), (34, 200), (-30, 200)]) * k
    fill(mask, at + spline(palm, closed=True) @ turn, 255)
    for j in range(int(rng.integers(2, 5))):
        root, length = -27 + 18 * j, rng.uniform(30, 65)
        outline = [(root - 8, 0), (root - 7, -length), (root, -length - 9), (root + 7, -length), (root + 8, 0)]
        fill(mask, at + spline(np.array(outline) * k) @ turn, 255)


def _strands(mask: np.ndarray, points: np.ndarray, k: float, look: Look, rng: np.random.Generator) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    count = int(rng.integers(5, 40))
    start = np.stack([rng.uniform(low[0] - 20 * k, high[0] + 20 * k, count), np.full(count, low[1] - 45 * k)], axis=1)
    centre = start.mean(axis=0)
    start = centre + (start - centre) * rng.uniform(0.2, 0.7)
    bend = rng.normal(0, 25, 2) * (k, 0)
    end = start + bend * 2 + np.array([0, rng.uniform(50, 150) * k]) + rng.normal(0, 6, (count, 2)) * k
    middle = (start + end) / 2 + bend * 0.6 + rng.normal(0, 4, (count, 2)) * k
    for a, b, c in zip(start, middle, end, strict=True):
        stroke(mask, spline(np.stack([a, b, c])), 235, rng.uniform(0.4, 1.6) * k)
    return look.hair * look.exposure * 0.9


def _block(mask: np.ndarray, points: np.ndarray, k: float, look: Look, rng: np.random.Generator) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    at = low + rng.uniform(-0.1, 1.1, 2) * (high - low)
    span = rng.uniform(12, 55, 2) * k
    turn = _turn(rng.uniform(0, np.pi))
    fill(mask, at + (np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * span) @ turn, 255)
    return np.clip(rng.uniform(10, 240) + rng.normal(0, 40, 3), 0, 255)


def _microphone(mask: np.ndarray, points: np.ndarray, k: float, look: Look, rng: np.random.Generator) -> np.ndarray:
    at = points[40] + rng.normal(0, 8, 2) * k + (0, 28 * k)
    disc(mask, at, (17 * k, 20 * k), 255)
    stroke(mask, np.stack([at, at + (rng.normal(0, 40) * k, 150 * k)]), 255, 16 * k)
    return np.full(3, rng.uniform(15, 90))


def _surgical_mask(mask: np.ndarray, points: np.ndarray, k: float, look: Look, rng: np.random.Generator) -> np.ndarray:
    outline = [
        points[11],
        points[14] + (-36 * k, -8 * k),
        points[31] + (-28 * k, 8 * k),
        points[40] + (-22 * k, 38 * k),
        points[40] + (22 * k, 38 * k),
        points[37] + (28 * k, 8 * k),
        points[18] + (36 * k, -8 * k),
    ]
    fill(mask, spline(np.array(outline), closed=True), 255)
    return np.array([(225, 205, 170), (235, 235, 235), (30, 30, 32)])[rng.integers(3)] * look.exposure


def _turn(angle: float) -> np.ndarray:
    """(2, 2), for points as rows; radians."""
    return np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
