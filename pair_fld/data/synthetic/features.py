"""Brows, eyes and mouth in texture space, drawn through the 51 points."""

from __future__ import annotations

import cv2
import numpy as np

from pair_fld.data.synthetic.curves import disc, fill, lay, soften, spline, stroke
from pair_fld.data.synthetic.look import Look
from pair_fld.data.synthetic.noise import crop


def brow(image: np.ndarray, curve: np.ndarray, look: Look, k: float, rng: np.random.Generator) -> None:
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


def eye(image: np.ndarray, e: np.ndarray, gaze: np.ndarray, pupil: float, look: Look, k: float) -> None:
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


def mouth(image: np.ndarray, flat: np.ndarray, look: Look, k: float, rng: np.random.Generator) -> None:
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
