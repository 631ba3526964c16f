"""A head in three dimensions: the fitted 51-point prior, a template of the whole head tied to it.

Head frame: millimetres, x to the image's right, y up, z towards the viewer, origin midway between the outer
eye corners. The template is a grid of `ROWS` x `COLUMNS` vertices, crown to throat and ear to ear; it follows
the 51 points by interpolation with the biharmonic kernel |r| over them and a few anchors (Carr et al.,
SIGGRAPH 2001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from pair_fld.data.synthetic.expression import Expression, apply_expression
from pair_fld.runtime.scheme import FLIP

ROWS, COLUMNS = 38, 27

# Cross-sections of the template: y, half width, front depth, depth at the sides (general anatomy, adult).
_SECTIONS = np.array([
    (120, 6, -80, -88), (114, 38, -45, -88), (102, 58, -18, -88), (82, 71, 0, -86), (56, 76, 9, -82),
    (30, 77, 13, -78), (10, 76, 10, -75), (-15, 74, 12, -72), (-40, 70, 14, -68), (-60, 65, 15, -62),
    (-78, 57, 14, -54), (-95, 45, 14, -44), (-106, 33, 12, -38), (-113, 24, 5, -33), (-116, 24, -7, -36),
    (-113, 22, -22, -42), (-108, 20, -38, -50),
], float)  # fmt: skip

# Anchors beside the 51 points, as (y, x) on the template: jaw line, temples, forehead, crown, throat.
_ANCHORS_RIGHT = (
    (-102, 26),
    (-92, 44),
    (-75, 56),
    (-50, 66),
    (-15, 73),
    (20, 76),
    (55, 74),
    (55, 38),
    (88, 45),
)
_ANCHORS_MIDDLE = (-112, -94, 50, 88, 113)


@dataclass(frozen=True)
class Prior:
    """Numbers fitted by `fit.py`, and what follows from them once per process.

    mean: (51, 3). modes: (12, 51, 3), one standard deviation each. vertices: (ROWS * COLUMNS, 3) template.
    anchors: (A, 3). follow: (ROWS * COLUMNS, 51 + A) weights that spread displacements over the template.
    """

    mean: np.ndarray
    modes: np.ndarray
    vertices: np.ndarray
    anchors: np.ndarray
    follow: np.ndarray


@dataclass(frozen=True)
class Head:
    """One person with one expression: points (51, 3) and vertices (ROWS, COLUMNS, 3) in the head frame."""

    points: np.ndarray
    vertices: np.ndarray
    expression: Expression


def _bump(x: np.ndarray, y: np.ndarray, at: tuple[float, float], radius: tuple[float, float]) -> np.ndarray:
    return np.exp(-(((np.abs(x) - at[0]) / radius[0]) ** 2) - ((y - at[1]) / radius[1]) ** 2)


def _relief(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth in millimetres that features add to the cross-sections at frontal position x, y."""
    knots_y = (-58, -52, -47, -44, -39, -33, -21, -10, 2, 14, 24)
    height = np.interp(y, knots_y, (0, 3, 8, 16, 23, 25, 18, 12, 6, 3, 0))
    spread = np.interp(y, knots_y, (14, 14, 15, 16, 17, 15, 12, 10, 9, 10, 12))
    return (
        height * np.exp(-(np.abs(x / spread) ** 2.3))
        + 5.0 * _bump(x, y, (14, -40), (6, 6))
        - 5.0 * _bump(x, y, (30, 2), (15, 10))
        + 4.5 * _bump(x, y, (32, 0), (12, 7))
        + 3.5 * _bump(x, y, (24, 20), (20, 7))
        + 5.0 * _bump(x, y, (42, -32), (18, 18))
        + 7.0 * _bump(x, y, (0, -66), (26, 13))
        + 3.0 * _bump(x, y, (0, -60), (18, 4))
        + 3.0 * _bump(x, y, (0, -74), (15, 5))
        - 3.0 * _bump(x, y, (0, -66), (26, 2.5))
        - 4.0 * _bump(x, y, (0, -87), (22, 5))
        + 5.0 * _bump(x, y, (0, -103), (18, 9))
    )


def _section(y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half width, front and side depth of the visible part of the template at height y."""
    upper = _SECTIONS[:15][::-1]
    return tuple(np.interp(y, upper[:, 0], upper[:, k]) for k in (1, 2, 3))  # type: ignore[return-value]


def _surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth of the template's face side at frontal position x, y."""
    width, front, side = _section(y)
    cosine = np.sqrt(np.clip(1 - (x / width) ** 2, 0, 1))
    return side + (front - side) * cosine**0.75 + _relief(x, y)


def _template() -> np.ndarray:
    """Vertices (ROWS, COLUMNS, 3); rows are denser over eyes, nose and mouth, columns over the middle."""
    knots = np.array(
        [0, 0.6, 1.1, 2, 3.2, 5, 8.5, 13.5, 19, 24, 28.2, 30.8, 32.7, 34.2, 35.1, 36, 37], float
    )  # rows at which the cross-sections lie
    index = np.arange(ROWS, dtype=float)
    profile = np.stack([np.interp(index, knots, column) for column in _SECTIONS.T])
    padded = np.pad(profile, ((0, 0), (2, 2)), mode="reflect", reflect_type="odd")
    blur = (0.1, 0.25, 0.3, 0.25, 0.1)
    profile = np.sum([w * padded[:, k : k + ROWS] for k, w in enumerate(blur)], axis=0)
    y, width, front, side = profile[..., None]
    t = np.linspace(-1, 1, COLUMNS)
    angle = np.pi / 2 * (0.62 * t + 0.38 * t**3)
    x = width * np.sin(angle)
    z = side + (front - side) * np.clip(np.cos(angle), 0, 1) ** 0.75
    y = np.broadcast_to(y, x.shape)
    below = (index > 34.3)[:, None]
    return np.stack([x, y, np.where(below, z, z + _relief(x, y))], axis=-1)


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Gauss-Jordan with row pivots, without BLAS: equal bits under any number of threads."""
    a = np.concatenate([matrix, right], axis=1)
    size = len(matrix)
    for k in range(size):
        pivot = k + int(np.argmax(np.abs(a[k:, k])))
        a[[k, pivot]] = a[[pivot, k]]
        a[k] /= a[k, k]
        factor = a[:, k].copy()
        factor[k] = 0.0
        a -= factor[:, None] * a[k]
    return a[:, size:]


@lru_cache(maxsize=1)
def load_prior() -> Prior:
    """Read the fitted numbers beside this module and build the template's weights."""
    with np.load(Path(__file__).with_name("prior.npz"), allow_pickle=False) as numbers:
        mean, modes = numbers["mean"].astype(float), numbers["modes"].astype(float)
    vertices = _template().reshape(-1, 3)
    yx = [*((y, 0) for y in _ANCHORS_MIDDLE), *((y, s * x) for y, x in _ANCHORS_RIGHT for s in (-1, 1))]
    ay, ax = np.array(yx, float).T
    throat = np.array([(0, -112, -25), (-18, -109, -45), (18, -109, -45)], float)
    anchors = np.concatenate([np.column_stack([ax, ay, _surface(ax, ay)]), throat])
    x, y = mean[:, 0], mean[:, 1]
    centres = np.concatenate([np.column_stack([x, y, _surface(x, y)]), anchors])
    size = len(centres)
    kernel = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    system = np.zeros((size + 1, size + 1))
    system[:size, :size] = kernel - 0.6 * np.eye(size)  # |r| is negative definite: so is the ridge
    system[:size, size] = system[size, :size] = 1.0
    weights = _solve(system, np.eye(size + 1)[:, :size])
    reach = np.linalg.norm(vertices[:, None] - centres[None], axis=2)
    follow = np.einsum("vk,kc->vc", np.column_stack([reach, np.ones(len(reach))]), weights)
    return Prior(mean, modes, vertices, anchors, follow)


def draw_head(rng: np.random.Generator, change: Callable[[Expression], Expression] | None = None) -> Head:
    """Draw identity and expression.

    Args:
        change: makes another expression of the one that was drawn, as a person's changes in a video.

    Returns:
        a head whose vertices lie on its points to within a fraction of a millimetre.
    """
    prior = load_prior()
    flip = list(FLIP)
    points = prior.mean.copy()
    if rng.random() < 0.85:  # people are nearly symmetric: damp what one draw leaves uneven
        strength = np.clip(rng.standard_normal(len(prior.modes)), -2.4, 2.4)
        points += np.einsum("k,kpd->pd", strength, prior.modes)
        mirrored = points[flip] * (-1, 1, 1)
        points = points + rng.uniform(0.3, 0.5) * (mirrored - points)
    offset = (points - prior.mean)[[19, 28]].mean(axis=0)
    points -= offset * (1, 1, 0)
    stretch = [(points[:, k] * prior.mean[:, k]).sum() / (prior.mean[:, k] ** 2).sum() - 1 for k in (0, 1)]
    resting = points.copy()
    expression = Expression.draw(rng)
    if change is not None:
        expression = change(expression)
    points = apply_expression(points, expression)

    anchors = prior.anchors
    move = anchors * (stretch[0], stretch[1], 0.0)
    low = np.clip((-40 - anchors[:, 1]) / 60, 0, 1)  # 0 at the nose, 1 at the chin
    move[:, 0] += anchors[:, 0] * (rng.normal(0, 0.05) * low + rng.normal(0, 0.03))
    move[:, 1] += low * (rng.normal(-1, 4) + 0.75 * (points[40, 1] - resting[40, 1]))
    move[:, 1] += np.clip((anchors[:, 1] - 30) / 70, 0, 1) * rng.normal(0, 5)
    move[:, 2] += low * rng.normal(0, 3)
    base = prior.mean.copy()
    base[:, 2] = _surface(base[:, 0], base[:, 1])
    shift = np.concatenate([points - base, move])
    vertices = prior.vertices + np.einsum("vk,ck->vc", prior.follow, np.ascontiguousarray(shift.T))
    return Head(points, vertices.reshape(ROWS, COLUMNS, 3), expression)
