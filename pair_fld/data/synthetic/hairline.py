"""Hair, hats and scarves where they lie on the head's front: painted into the texture."""

from __future__ import annotations

import cv2
import numpy as np

from pair_fld.data.synthetic.curves import fill, grained, lay, soften, spline
from pair_fld.data.synthetic.look import Look
from pair_fld.data.synthetic.noise import crop


def _edge(look: Look, rng: np.random.Generator) -> np.ndarray | None:
    """Lower edge of the hair from the left ear to the right one, head frame millimetres, y up; None: no hair."""
    tall = 60 + 14 * look.fringe_line
    jitter = rng.normal(0, 1.6, 2)
    burn = -4 - 24 * rng.random() * (not look.female)
    style = look.hair_style
    if style == "bald":
        return None
    if style == "receding":
        inner = [
            (-66, 20),
            (-60, 48),
            (-44, 88),
            (-22, 100),
            (0, 88 - 20 * look.fringe_line),
            (22, 100),
            (44, 88),
            (60, 48),
            (66, 20),
        ]
    elif style == "fringe":
        low = 28 + 22 * look.fringe_line
        inner = [
            (-61, 10),
            (-57, low - 4),
            (-40, low),
            (-18, low + 3 + jitter[0]),
            (4, low + jitter[1]),
            (22, low + 3),
            (42, low - 2),
            (57, low - 6),
            (61, 10),
        ]
    elif style in ("swept", "long"):
        part = 30 * look.part
        side = 54 if style == "long" else 62
        low = -60 if style == "long" else burn
        inner = [
            (-side - 3, low),
            (-side, 18),
            (-50, 44),
            (part - 22, tall - 2),
            (part, tall + 12),
            (part + 22, tall - 2),
            (50, 44),
            (side, 18),
            (side + 3, low),
        ]
        if style == "long":
            inner = [(-64, -130), *inner, (64, -130)]
    else:
        inner = [
            (-68, burn),
            (-61, 22),
            (-54, 50),
            (-30, tall + jitter[0]),
            (0, tall + 3),
            (30, tall + jitter[1]),
            (54, 50),
            (61, 22),
            (68, burn),
        ]
    return np.array(inner, float)


def draw(image: np.ndarray, flat: np.ndarray, look: Look, k: float, rng: np.random.Generator) -> None:
    """Paint what covers the head into image (h, w, 3) uint8; flat: (51, 2) points in texture pixels."""
    height, width = image.shape[:2]
    middle = flat[[19, 28]].mean(axis=0)
    if look.hair_style in ("hat", "scarf"):
        _cloth(image, middle, look, k, rng)
        return
    edge = _edge(look, rng)
    step = 2 if k > 0.6 else 1
    mask = np.zeros((height // step, width // step), np.uint8)
    if edge is None:
        fill(
            mask,
            np.array([(0, 0), (width, 0), (width, middle[1] - 85 * k), (0, middle[1] - 85 * k)]) / step,
            46,
        )
    else:
        curve = middle + spline(edge, 6) * (k, -k)
        fill(
            mask,
            np.concatenate([curve, [(width + 9, curve[-1, 1]), (width + 9, -9), (-9, -9), (-9, curve[0, 1])]]) / step,
            255,
        )
        count = 70
        root = curve[rng.integers(0, len(curve), count)]
        length = rng.uniform(3, 12 if look.hair_style != "fringe" else 18, (count, 1)) * k
        tip = root + np.array([0.0, 1.0]) * length + rng.normal(0, 3.0, (count, 2)) * k
        hairs = np.rint(np.stack([root - (0, 4 * k), tip], axis=1) * (16 / step)).astype(np.int32)
        cv2.polylines(mask, list(hairs), False, 210, 1, cv2.LINE_AA, 4)  # type: ignore[call-overload]
    mask = soften(mask, 1.2 * k)
    bottom = min(height, step * (int(np.flatnonzero(mask.max(axis=1) > 1).max(initial=0)) + 1))
    mask = cv2.resize(mask, (width, height))[:bottom]
    strands = 1 + np.float32(0.26 if look.hair_kind == "strand" else 0.17) * crop(look.hair_kind, (bottom, width), rng)
    cast = cv2.blur(np.roll(mask, int(4 * k), axis=0), (int(9 * k), int(9 * k)))
    lay(image[:bottom], look.skin * 0.4, cast, 0.45)
    lay(image[:bottom], grained(look.hair, strands), mask)


def _cloth(image: np.ndarray, middle: np.ndarray, look: Look, k: float, rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    if look.hair_style == "hat":
        low = 40 + 25 * look.fringe_line
        fill(
            mask,
            np.array(
                [
                    (-9, -9),
                    (width + 9, -9),
                    (width + 9, middle[1] - low * k),
                    (middle[0], middle[1] - (low + 4) * k),
                    (-9, middle[1] - low * k),
                ]
            ),
            255,
        )
    else:
        mask[:] = 255
        oval = np.array([(0, 62), (30, 56), (52, 34), (60, 0), (58, -45), (44, -84), (20, -113), (0, -120)], float)
        oval = np.concatenate([oval, oval[-2:0:-1] * (-1, 1)])
        fill(mask, middle + spline(oval, closed=True) * (k, -k), 0)
    mask = soften(mask, 0.7 * k)
    lay(image, grained(look.cloth, 1 + np.float32(0.06) * crop("soft", mask.shape, rng)), mask)
