"""Hand-written expressions on top of the fitted modes: jaw, smile, lids, brows, gaze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_UPPER_LIDS, _LOWER_LIDS = (20, 21, 26, 27), (24, 23, 30, 29)  # facing one another
_UPPER_INNER, _LOWER_INNER = (44, 45, 46), (50, 49, 48)
_LOWER_OUTER = (38, 39, 40, 41, 42)
_CORNERS = (31, 37, 43, 47)


@dataclass(frozen=True)
class Expression:
    """jaw: opening in millimetres. smile: -1 (sad) to 1. lids: openings, 0 shut, 1 as the identity has them.
    raise_brows: millimetres. gaze: shift of the irises in millimetres. press: closes the lips when True.
    """

    jaw: float
    smile: float
    lids: tuple[float, float]
    raise_brows: float
    gaze: tuple[float, float]
    press: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Expression:
        mood = rng.random()
        jaw = rng.gamma(2.0, 3.5) if mood < 0.28 else (rng.uniform(12, 34) if mood < 0.36 else 0.0)
        smile = rng.uniform(0.3, 1.0) if rng.random() < 0.4 else rng.normal(0, 0.18)
        lids = rng.uniform(0.8, 1.25)
        both = (lids, lids)
        blink = rng.random()
        if blink < 0.07:
            lids = rng.uniform(0, 0.25)
            both = (lids, lids)
        elif blink < 0.09:
            both = (0.0, lids) if rng.random() < 0.5 else (lids, 0.0)
        gaze = (float(np.clip(rng.normal(0, 2.0), -5, 5)), float(np.clip(rng.normal(0, 1.0), -2, 2)))
        raise_brows = rng.normal(0, 1.6) + (rng.uniform(2, 7) if rng.random() < 0.12 else 0)
        return cls(float(min(jaw, 36)), float(smile), both, float(raise_brows), gaze, bool(rng.random() < 0.75))


def apply_expression(points: np.ndarray, e: Expression) -> np.ndarray:
    """Move the points (51, 3), head frame in millimetres; lids never cross, nor do the lips."""
    p = points.copy()
    # lips: bring them together, then smile, then open the jaw
    gap = p[list(_UPPER_INNER), 1] - p[list(_LOWER_INNER), 1]
    wanted = np.zeros(3) if e.press and e.smile < 0.5 else np.maximum(gap, 0.0)
    change = wanted - gap
    for up, low, d in zip(_UPPER_INNER, _LOWER_INNER, change, strict=True):
        p[up, 1] += 0.35 * d
        p[low, 1] -= 0.65 * d
    middle = float(change.mean())
    p[list(_LOWER_OUTER), 1] -= 0.6 * middle * np.array([0.5, 0.9, 1, 0.9, 0.5])
    s = e.smile
    side = np.sign(p[:, 0])
    corners = list(_CORNERS)
    p[corners, 0] += side[corners] * 4.5 * s
    p[corners, 1] += 4.0 * s
    p[corners, 2] -= 2.5 * max(s, 0)
    near = [32, 36, 38, 42]
    p[near, 0] += side[near] * 2.6 * s
    p[near, 1] += 1.8 * s
    p[[33, 34, 35, 44, 45, 46], 1] += 0.8 * s
    if s > 0.5 and not e.press:  # a broad smile shows the upper teeth
        p[[39, 40, 41, 48, 49, 50], 1] -= 4.0 * (s - 0.3)
    lower = np.zeros(51)
    lower[[38, 42]], lower[[39, 40, 41]], lower[[48, 49, 50]] = 0.72, 1.0, 1.0
    lower[corners] = 0.33
    p[:, 1] -= e.jaw * lower
    p[:, 2] -= 0.22 * e.jaw * lower
    p[corners, 0] -= side[corners] * 0.1 * e.jaw
    p[[33, 34, 35, 44, 45, 46], 1] += 0.06 * e.jaw
    # no crossing, and lips keep some flesh
    upper, low = p[list(_UPPER_INNER), 1], p[list(_LOWER_INNER), 1]
    p[list(_LOWER_INNER), 1] = np.minimum(low, upper)
    p[[33, 34, 35], 1] = np.maximum(p[[33, 34, 35], 1], p[[44, 45, 46], 1] + 2.0)
    p[[41, 40, 39], 1] = np.minimum(p[[41, 40, 39], 1], p[[50, 49, 48], 1] - 3.0)
    # lids
    for k, (up, low_index) in enumerate(zip(_UPPER_LIDS, _LOWER_LIDS, strict=True)):
        opening = max(p[up, 1] - p[low_index, 1], 2.0)
        squint = 1.0 - 0.25 * max(s, 0.0)
        target = opening * e.lids[0 if k < 2 else 1] * squint
        low_y = p[low_index, 1] + 0.25 * opening * (1 - squint)
        p[low_index, 1] = low_y
        p[up, 1] = low_y + target
    raised = np.array([0.5, 0.9, 1.0, 1.0, 0.9, 0.9, 1.0, 1.0, 0.9, 0.5])
    p[:10, 1] += e.raise_brows * raised
    return p
