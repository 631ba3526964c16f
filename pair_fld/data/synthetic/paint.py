"""The head seen from the front as a flat picture: every feature is drawn through the 51 points.

Texture frame: x right and y down from the head frame's (-84, 126), `scale` pixels a millimetre.
"""

from __future__ import annotations

import cv2
import numpy as np

from pair_fld.data.synthetic import hairline
from pair_fld.data.synthetic.curves import disc, fill, lay, soften, spline, stroke
from pair_fld.data.synthetic.expression import Expression
from pair_fld.data.synthetic.look import Look
from pair_fld.data.synthetic.noise import crop

LEFT_MM, TOP_MM, WIDTH_MM, HEIGHT_MM = -84.0, 126.0, 168.0, 268.0


def to_texture(points: np.ndarray, scale: float) -> np.ndarray:
    """Head frame (..., 2 or 3), frontal, to texture pixels (..., 2)."""
    return np.stack([(points[..., 0] - LEFT_MM) * scale, (TOP_MM - points[..., 1]) * scale], axis=-1) - 0.5


def paint(
    points: np.ndarray, expression: Expression, look: Look, scale: float, rng: np.random.Generator
) -> np.ndarray:
    """Paint one face.

    Args:
        points: (51, 3) head frame.

    Returns:
        (h, w, 3) uint8 albedo, BGR.
    """
    shape = (round(HEIGHT_MM * scale), round(WIDTH_MM * scale))
    flat = to_texture(points, scale)
    image = _skin(points, look, shape, rng)
    _creases(image, flat, points, expression, look, scale, rng)
    _facial_hair(image, flat, look, scale, rng)
    _brow(image, flat[0:5], look, scale, rng)
    _brow(image, flat[9:4:-1], look, scale, rng)
    gaze = np.array([expression.gaze[0], -expression.gaze[1]]) * scale
    pupil = rng.uniform(1.5, 3.0)
    _eye(image, flat[19:25], gaze, pupil, look, scale)
    _eye(image, flat[[28, 27, 26, 25, 30, 29]], gaze, pupil, look, scale)
    _mouth(image, flat, look, scale, rng)
    hairline.draw(image, flat, look, scale, rng)
    return image


def _skin(points: np.ndarray, look: Look, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
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
    shade = np.stack(
        [1 - dark * 1.05 - 0.16 * red, 1 - dark - 0.18 * red, 1 - dark * 0.85 + 0.02 * red], axis=-1
    )
    small = np.clip(shade * look.skin, 0, 255).astype(np.uint8)
    field = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR)
    grain = 1 + np.float32(0.018) * crop("fine", shape, rng) + np.float32(0.03) * crop("soft", shape, rng)
    return cv2.multiply(field, cv2.merge([grain, grain, grain]), dtype=cv2.CV_8U)


def _creases(
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
            flat[ala]
            + np.array([(side * 0.5, 1.0), (side * 3.2, -2.0), (side * 3.4, -6.0), (side * 0.5, -10.5)]) * k
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


def _facial_hair(image: np.ndarray, flat: np.ndarray, look: Look, k: float, rng: np.random.Generator) -> None:
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
    mask = cv2.multiply(
        mask, np.clip((0.75 if strong else 0.4) + np.float32(0.3) * grain, 0, 1), dtype=cv2.CV_8U
    )
    lay(image[top:], look.hair * 0.8 if strong else look.skin * 0.45, mask)


def _brow(image: np.ndarray, curve: np.ndarray, look: Look, k: float, rng: np.random.Generator) -> None:
    """One brow whose upper edge runs just above the points, from tail to head."""
    x0, y0 = np.floor(curve.min(axis=0) - 8 * k).astype(int).clip(0)
    x1, y1 = np.ceil(curve.max(axis=0) + 14 * k).astype(int)
    patch = image[y0:y1, x0:x1]
    mask = np.zeros(patch.shape[:2], np.uint8)
    top = spline(curve - (x0, y0), 8)
    t = np.linspace(0, 1, len(top))
    thick = np.interp(t, (0, 0.25, 0.6, 1), (0.15, 0.7, 1.0, 0.85))[:, None] * look.brow_thick * k
    down = np.array([0.0, 1.0])
    upper, lower = top - down * (0.22 * thick), top + down * (0.78 * thick)
    fill(mask, np.concatenate([upper, lower[::-1]]), int(110 + 80 * look.brow_dense))
    count = 44
    at = rng.integers(0, len(top) - 3, count)
    root = lower[at] + (upper[at] - lower[at]) * rng.uniform(-0.05, 0.7, (count, 1))
    along = (top[0] - top[-1]) / (np.linalg.norm(top[0] - top[-1]) + 1e-6)
    tip = root + along * rng.uniform(2.0, 4.5, (count, 1)) * k - down * rng.uniform(0.0, 2.8, (count, 1)) * k
    hairs = np.rint(np.stack([root, tip], axis=1) * 16).astype(np.int32)
    cv2.polylines(mask, list(hairs), False, 255, max(1, round(0.5 * k)), cv2.LINE_AA, 4)  # type: ignore[call-overload]
    mask = soften(mask, 0.6 * k)
    lay(patch, look.brow, mask, look.brow_dense)


def _eye(image: np.ndarray, e: np.ndarray, gaze: np.ndarray, pupil: float, look: Look, k: float) -> None:
    """One eye; e: (6, 2) texture pixels from the outer corner over the upper lid to the inner corner and back."""
    x0, y0 = np.floor(e.min(axis=0) - 9 * k).astype(int).clip(0)
    x1, y1 = np.ceil(e.max(axis=0) + 9 * k).astype(int)
    patch = image[y0:y1, x0:x1]
    e = e - (x0, y0)
    upper, lower = spline(e[:4], 6), spline(e[[3, 4, 5, 0]], 6)
    outline = np.concatenate([upper, lower])
    opening = (lower[:, 1].max() - upper[:, 1].min()) / k
    skin = look.skin
    if look.shadow is not None:
        tint = np.zeros(patch.shape[:2], np.uint8)
        fill(tint, np.concatenate([upper, upper[::-1] - (0, 6 * k)]), 150)
        lay(patch, look.shadow * 0.9, soften(tint, 1.8 * k))
    if opening > 1.0:
        ball = np.empty_like(patch)
        white = np.array([216, 221, 228]) * (0.7 + 0.3 * min(skin.mean() / 180, 1.0))
        ball[:] = white
        disc(ball, e[3] + (e[0] - e[3]) * 0.06, (2.6 * k, 2.2 * k), (skin * (0.75, 0.7, 0.95)).tolist())
        centre = np.array([(e[0, 0] + e[3, 0]) / 2, 0.52 * e[[1, 2], 1].mean() + 0.48 * e[[4, 5], 1].mean()])
        centre = centre + gaze * (1, 0.6) - (0, 0.6 * k)
        disc(ball, centre, (6.1 * k, 6.1 * k), (look.iris * 0.5).tolist())
        disc(ball, centre, (5.3 * k, 5.3 * k), look.iris.tolist())
        disc(ball, centre + (0, 1.5 * k), (3.9 * k, 3.2 * k), np.minimum(look.iris * 1.35, 255).tolist())
        disc(ball, centre, (pupil * k, pupil * k), (10, 9, 9))
        shade = np.zeros(patch.shape[:2], np.uint8)
        stroke(shade, upper + (0, 0.8 * k), 170, 2.6 * k)
        shade = soften(shade, 0.9 * k)
        mask = np.zeros(patch.shape[:2], np.uint8)
        fill(mask, outline, 255)
        lay(ball, skin * 0.2, shade, 0.5)
        lay(patch, ball, mask)
        glint = centre + np.array([look.light[0] * 2.4, -1.5 - look.light[1]]) * k
        if glint[1] > upper[:, 1].min() + 0.5 * k:
            disc(patch, glint, (1.1 * k, 1.1 * k), (245, 245, 245))
    dark = (skin * (0.42 - 0.3 * look.liner)).tolist()
    stroke(patch, upper, dark, (0.9 + 1.0 * look.liner) * k)
    stroke(patch, upper[: len(upper) // 2] - (0, 0.5 * k), dark, (0.9 + 1.2 * look.liner) * k)
    stroke(patch, lower + (0, 0.4 * k), (skin * (0.72 - 0.35 * look.liner)).tolist(), 0.6 * k)


def _mouth(image: np.ndarray, flat: np.ndarray, look: Look, k: float, rng: np.random.Generator) -> None:
    """Lips between the outer and the inner contour; teeth and dark inside the inner contour."""
    lips = flat[31:51]
    x0, y0 = np.floor(lips.min(axis=0) - 8 * k).astype(int).clip(0)
    x1, y1 = np.ceil(lips.max(axis=0) + 8 * k).astype(int)
    patch = image[y0:y1, x0:x1]
    p = lips - (x0, y0)
    top, bottom = spline(p[0:7]), spline(p[[6, 7, 8, 9, 10, 11, 0]])
    in_top, in_bottom = spline(p[12:17]), spline(p[[16, 17, 18, 19, 12]])
    layer = np.empty_like(patch)
    layer[:] = np.clip(look.lips * 0.86, 0, 255)
    fill(layer, np.concatenate([in_bottom[::-1], bottom[::-1]]), (look.lips * 1.03).tolist())
    shine = p[9] * 0.55 + p[18] * 0.45
    disc(layer, shine, (6.0 * k, 1.3 * k), (look.lips * 1.12 + 14).tolist())
    layer = soften(layer, 1.1 * k)
    grain = 1 + np.float32(0.05) * crop("strand", layer.shape[:2], rng)
    layer = cv2.multiply(layer, cv2.merge([grain, grain, grain]), dtype=cv2.CV_8U)
    mask = np.zeros(patch.shape[:2], np.uint8)
    fill(mask, np.concatenate([top, bottom]), 255)
    lay(patch, layer, soften(mask, 0.45 * k), 0.95)
    gap = (p[17:20, 1] - p[[15, 14, 13], 1][::1]).max() / k
    if gap > 0.8:
        inside = np.empty_like(patch)
        inside[:] = np.clip(look.lips * 0.12, 4, 60)
        if gap > 9:
            disc(inside, p[18] + (0, 1.0 * k), (13 * k, min(7.0, gap / 2.6) * k), (look.lips * 0.62).tolist())
        if rng.random() < 0.85:
            tooth = np.array([178, 206, 222.0]) * rng.uniform(0.75, 1.05)
            length = min(8.5, 0.75 * gap + 1.5) * k
            row = np.concatenate(
                [in_top + (0, -1.5 * k), in_top[::-1] * (1, 0.6) + (0, 0.4 * in_top[:, 1].mean() + length)]
            )
            fill(inside, row, (tooth).tolist())
            for j in range(-3, 4):
                x = p[14, 0] + (j * 6.2 + (3.1 if j < 0 else -3.1 if j > 0 else 0)) * k if j else p[14, 0]
                y = in_top[:, 1].mean()
                stroke(inside, np.array([(x, y - 4 * k), (x, y + length)]), (tooth * 0.8).tolist(), 0.5 * k)
            if gap > 12 and rng.random() < 0.4:
                low = np.concatenate([in_bottom + (0, 1.5 * k), in_bottom[::-1] - (0, 3.0 * k)])
                fill(inside, low, (tooth * 0.8).tolist())
        inside = soften(inside, 0.5 * k)
        depth = np.linspace(-1, 1, patch.shape[1])[:, None]
        inside = (inside * (1 - 0.55 * depth**2)).astype(np.uint8)
        mask[:] = 0
        fill(mask, np.concatenate([in_top, in_bottom]), 255)
        lay(patch, inside, mask)
    line = (look.lips * 0.36).tolist()
    stroke(patch, in_top, line, (1.0 if gap < 3 else 0.6) * k)
    corner = np.concatenate([in_top[:4], in_top[-4:]]).reshape(2, 4, 2)
    for c in corner:
        stroke(patch, c, line, 1.2 * k)
