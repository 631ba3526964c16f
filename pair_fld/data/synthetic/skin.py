"""Skin in texture space: tone, soft shadows, creases, nostrils, beard."""

from __future__ import annotations

import cv2
import numpy as np

from pair_fld.data.synthetic.curves import disc, fill, lay, soften, spline, stroke
from pair_fld.data.synthetic.expression import Expression
from pair_fld.data.synthetic.look import Look
from pair_fld.data.synthetic.noise import crop

# Texture frame: x right and y down from this place of the head frame, and its extent.
LEFT_MM, TOP_MM, WIDTH_MM, HEIGHT_MM = -84.0, 126.0, 168.0, 268.0


def skin(points: np.ndarray, look: Look, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Skin with soft darker and redder places, computed at 4 mm and enlarged, plus pores."""
    step = 4.0
    y = np.arange(TOP_MM - step / 2, TOP_MM - HEIGHT_MM, -step, dtype=np.float32)
    x = np.arange(LEFT_MM + step / 2, -LEFT_MM, step, dtype=np.float32)

    # Every spot: strength as a darkening and as a reddening, centre, radii.
    spots: list[tuple[float, float, float, float, float, float]] = []
    for inner, outer, middle, ala in ((22, 19, 21, 14), (25, 28, 26, 18)):
        side = 1.0 if ala == 18 else -1.0
        cx, cy = (points[inner, :2] + points[outer, :2]) / 2
        ax, ay = points[ala, :2]
        spots += [
            (0.15, 0, points[inner, 0], points[inner, 1] + 3, 8, 9),
            (0.05 + 0.10 * look.age, 0, cx, cy - 9, 15, 4),
            (0.08, 0, points[middle, 0], points[middle, 1] + 5, 14, 5),
            (0.16, 0, ax + side * 3, ay - 1, 4.5, 6),
            (0, look.blush, (ax + points[outer, 0]) / 2 + side * 16, (ay + points[outer, 1]) / 2 - 6, 18, 13),
        ]
    spots += [
        (0.26, 0, points[16, 0], points[16, 1] - 3, 13, 5),
        (0.16, 0, points[40, 0], points[40, 1] - 5, 15, 4),
        (0.10, 0, points[31, 0] - 3, points[31, 1], 5, 5),
        (0.10, 0, points[37, 0] + 3, points[37, 1], 5, 5),
        (0, 0.25, points[13, 0], points[13, 1], 11, 9),
    ]
    black, crimson, sx, sy, rx, ry = np.array(spots).T[..., None]
    across, down = np.exp(-(((x - sx) / rx) ** 2)), np.exp(-(((y - sy) / ry) ** 2))
    dark, red = (down * black).T @ across, (down * crimson).T @ across + rng.uniform(0, 0.12)
    shade = np.stack([1 - dark * 1.05 - 0.16 * red, 1 - dark - 0.18 * red, 1 - dark * 0.85 + 0.02 * red], axis=-1)
    small = np.clip(shade * look.skin, 0, 255).astype(np.uint8)
    field = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR)
    grain = 1 + np.float32(0.018) * crop("fine", shape, rng) + np.float32(0.03) * crop("soft", shape, rng)
    return cv2.multiply(field, cv2.merge([grain, grain, grain]), dtype=cv2.CV_8U)


def creases(
    image: np.ndarray,
    flat: np.ndarray,
    points: np.ndarray,
    e: Expression,
    look: Look,
    k: float,
    rng: np.random.Generator,
) -> None:
    """Soft lines: wing of the nose, cheek folds, lid creases, wrinkles; and the nostrils."""
    lines = np.zeros(image.shape[:2], np.uint8)
    smile = max(e.smile, 0.0)
    for side, ala, corner, eye in ((-1, 14, 31, (19, 20, 21, 22)), (1, 18, 37, (28, 27, 26, 25))):
        wing = (
            flat[ala] + np.array([(side * 0.5, 1.0), (side * 3.2, -2.0), (side * 3.4, -6.0), (side * 0.5, -10.5)]) * k
        )
        stroke(lines, spline(wing), 150, 1.3 * k)
        fold = np.stack(
            [
                wing[2],
                (wing[1] + flat[corner]) / 2 + (side * 5 * k, -2 * k),
                flat[corner] + (side * (5 + 3 * smile) * k, -1 * k),
            ]
        )
        stroke(lines, spline(fold), int(30 + 80 * look.age * rng.random() + 90 * smile), 1.6 * k)
        lid = spline(flat[list(eye)])
        drop = np.linspace(0, np.pi, len(lid))
        crease = lid - np.stack([0 * drop, (1.3 + 2.6 * np.sin(drop)) * k], axis=1)
        stroke(lines, crease, int(rng.uniform(40, 170)), 0.9 * k)
        bag = flat[list(eye)].mean(axis=0) + np.array([(-10.0, 6), (0, 9.5), (10, 8)]) * (k * -side, k)
        stroke(lines, spline(bag), int(20 + 90 * look.age), 1.0 * k)
    base = spline(flat[14:19])
    stroke(lines, base, 120, 1.2 * k)
    if look.age > 0.6:
        for _ in range(int(rng.integers(1, 4))):
            y = flat[:10, 1].min() - rng.uniform(8, 34) * k
            x = flat[13, 0] + np.linspace(-32, 32, 5) * k
            stroke(
                lines,
                spline(np.stack([x, y + rng.normal(0, 1.0, 5) * k], 1)),
                int(rng.uniform(30, 80)),
                0.9 * k,
            )
    top, bottom = max(0, int(flat[:, 1].min() - 40 * k)), int(flat[40, 1])
    left, right = int(flat[:, 0].min() - 8 * k), int(flat[:, 0].max() + 8 * k)
    lines = soften(lines[top:bottom, left:right], 0.8 * k)
    lay(image[top:bottom, left:right], look.skin * 0.15, lines, 0.6)
    x0, y0 = (flat[[14, 10]].min(axis=0) - 4 * k).astype(int)
    x1, y1 = (flat[[18, 16]].max(axis=0) + 5 * k).astype(int)
    holes = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for side, ala in ((-1, 14), (1, 18)):
        centre = 0.45 * flat[ala] + 0.25 * flat[16] + 0.3 * flat[16 + side] + (0, -1.6 * k)
        disc(holes, centre - (x0, y0), (4.0 * k, 1.9 * k), 255, side * -14.0)
    lay(image[y0:y1, x0:x1], look.skin * 0.18, soften(holes, 0.55 * k), 0.85)


def facial_hair(image: np.ndarray, flat: np.ndarray, look: Look, k: float, rng: np.random.Generator) -> None:
    amount = max(look.beard, look.moustache, look.stubble)
    if amount < 0.08:
        return
    chin = flat[40] + (0, 30 * k)
    step = 4
    small = np.zeros((image.shape[0] // step, image.shape[1] // step), np.uint8)
    left, right = flat[31], flat[37]
    jaw = np.array(
        [
            left + (-40 * k, -42 * k),
            left + (-30 * k, -12 * k),
            left + (-8 * k, 4 * k),
            flat[41] + (0, 6 * k),
            flat[39] + (0, 6 * k),
            right + (8 * k, 4 * k),
            right + (30 * k, -12 * k),
            right + (40 * k, -42 * k),
            right + (46 * k, 60 * k),
            chin + (0, 60 * k),
            left + (-46 * k, 60 * k),
        ]
    )
    beard = max(look.beard, look.stubble)
    fill(small, jaw / step, int(255 * beard))
    upper = spline(flat[31:38])
    under = np.concatenate(
        [
            upper + (0, -0.5 * k),
            flat[[37]] + (7 * k, 6 * k),
            flat[18:13:-1] + (0, 4.0 * k),
            flat[[31]] + (-7 * k, 6 * k),
        ]
    )
    fill(small, under / step, int(255 * max(look.moustache, look.stubble)))
    top = int(flat[13, 1])
    mask = cv2.resize(soften(small, 2.4 * k / step), image.shape[1::-1])[top:]
    strong = look.beard > 0 or look.moustache > 0
    grain = crop("curl" if strong else "fine", mask.shape, rng)
    mask = cv2.multiply(mask, np.clip((0.75 if strong else 0.4) + np.float32(0.3) * grain, 0, 1), dtype=cv2.CV_8U)
    lay(image[top:], look.hair * 0.8 if strong else look.skin * 0.45, mask)
