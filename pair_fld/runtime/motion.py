"""How the points of a face move from one frame of a video to the next, by what the images show around them.

Lucas and Kanade, "An iterative image registration technique with an application to stereo vision" (IJCAI 1981), for all
51 points at once: they move as a head does, in the plane, turning, talking and blinking (`WAYS`), each with a little
movement of its own, from a guess on, which is the landmark model's movement. The model sees every frame for itself, and
its errors change from frame to frame; the movement measured here has far smaller ones, but they add up.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .head_shape import MEAN_HEAD, MODES

HALF = 3  # a point's surroundings: 2 HALF + 1 pixels square
WIDTH = 1.8  # deviation of their weights about the point, pixels
STEPS = 2
OWN_MOVEMENT = 0.1  # deviation of a point's movement that the head's does not explain, pixels
# Squared grey levels: noise that is always there, and what keeps the change of contrast of plain surroundings small.
NOISE, PLAIN = 1.0, 10.0
CONTRAST = (0.5, 2.0)  # bounds of the change of contrast
# How firmly the guess holds the ways in which the face's shape changes and blinks (lids that shut look like no lids
# that moved), and rest holds all others, for crops in which there is nothing to see.
HELD_SHAPE, HELD_BLINK, HELD = 0.3, 5.0, 1e-6
UPPER_LIDS = ((20, 21), (26, 27))


def _ways() -> tuple[np.ndarray, np.ndarray]:
    """(51, 2, 14) ways in which the points of an upright face move, orthonormal, and how firmly each is held (14,)."""
    x, y, z = MEAN_HEAD.T
    none, one = np.zeros(51), np.ones(51)
    ways = [(one, none), (none, one), (x, y), (-y, x)]  # shift, growth, roll
    ways += [(z, none), (none, z), (x, none), (y, none)]  # yaw and pitch, and what they shorten
    ways += [(mode[:, 0], mode[:, 1]) for mode in MODES]
    for lid in UPPER_LIDS:
        blink = none.copy()
        blink[list(lid)] = 1
        ways.append((none, blink))
    columns = np.array([np.column_stack(way).ravel() for way in ways]).T
    held = [HELD] * (len(ways) - len(MODES) - len(UPPER_LIDS)) + [HELD_SHAPE] * len(MODES)
    return np.linalg.qr(columns)[0].reshape(51, 2, -1), np.array(held + [HELD_BLINK] * len(UPPER_LIDS))


WAYS, HOLDS = _ways()
WAYS.setflags(write=False)
HOLDS.setflags(write=False)
_COUNT = WAYS.shape[2]
_ALONG = np.arange(-HALF, HALF + 1)
_NEAR = np.exp(-np.add.outer(_ALONG**2, _ALONG**2) / (2 * WIDTH**2)).ravel()
_WEIGHTS = _NEAR / _NEAR.sum()
# Samples are kept times the root of their weights, so that sums of products are weighted. Points are the last axis,
# along which arithmetic is fast.
_ROOTS = np.sqrt(_WEIGHTS).reshape(2 * HALF + 1, 2 * HALF + 1, 1)
_MOVES = np.concatenate([WAYS[:, 0], WAYS[:, 1]])  # (102, 14): the points' x, then their y
_PAD = 2 * HALF + 3  # beyond a crop, so that surroundings that lie wholly outside are inside, and as the edge is


def _pairs_of_ways() -> np.ndarray:
    """(153, 14 x 14) what a point's information (xx, xy, yy, of 51 points each) adds to the normal equations."""
    along, down = WAYS[:, 0], WAYS[:, 1]
    xx, xy, yy = (np.einsum("pi,pj->pij", one, other) for one, other in ((along, along), (along, down), (down, down)))
    return np.concatenate([xx, xy + xy.transpose(0, 2, 1), yy]).reshape(3 * 51, -1)


_PAIRS = _pairs_of_ways()
_THIRDS = np.full((1, 3), 1 / 3)


def measure_motion(before: np.ndarray, after: np.ndarray, points: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """By how much the points of a face moved between two crops: (51, 2) crop pixels.

    Args:
        before, after: (S, S) float64 grey levels; the face is upright in both and lies nearly alike.
        points: (51, 2) in `before`.
        guess: (51, 2) of the movement, to start from.
    """
    x, y = points.T
    around = _surroundings(_padded(before), x, y, HALF + 1)
    maps = np.empty((5, 2 * HALF + 1, 2 * HALF + 1, 51))  # what is seen, its slopes, a constant, what is seen now
    maps[0] = around[1:-1, 1:-1]
    maps[1] = (around[1:-1, 2:] - around[1:-1, :-2]) / 2
    maps[2] = (around[2:, 1:-1] - around[:-2, 1:-1]) / 2
    fixed = maps[:3].reshape(3, -1, 51)
    fixed -= np.einsum("mkp,k->mp", fixed, _WEIGHTS)[:, None]
    maps[:3] *= _ROOTS
    maps[3] = _ROOTS
    texture, seen_x, seen_y = np.einsum("mkp,kp->mp", fixed, fixed[0])
    xx, xy = np.einsum("mkp,kp->mp", fixed[1:], fixed[1])
    yy = np.einsum("kp,kp->p", fixed[2], fixed[2])
    slopes, trace, area = np.array([xx, xy, yy]), xx + yy, xx * yy - xy**2
    v = OWN_MOVEMENT**2
    samples, padded = maps.reshape(5, -1, 51), _padded(after)
    strengths = guess.T.ravel() @ _MOVES
    held_to = np.where(HOLDS > HELD, strengths, 0)
    for _ in range(STEPS):
        moved_x, moved_y = (_MOVES @ strengths).reshape(2, 51)
        np.multiply(_surroundings(padded, x + moved_x, y + moved_y, HALF), _ROOTS, out=maps[4])
        # `fixed` has no mean, so that of what is seen now falls out of all products but that with itself.
        now_seen, now_x, now_y, mean, now_now = np.einsum("mkp,kp->mp", samples, samples[4])
        contrast = np.minimum(np.maximum((now_seen + PLAIN) / (texture + PLAIN), CONTRAST[0]), CONTRAST[1])
        change = contrast * (contrast * texture - 2 * now_seen) + now_now - mean**2  # weighted mean square
        certainty = 1 / (change + NOISE)
        push_x, push_y = certainty * (contrast * seen_x - now_x), certainty * (contrast * seen_y - now_y)
        a, b, c = information = certainty * slopes  # of a point: A = [[a, b], [b, c]]
        # Where a point moves by itself with variance v, (1 + v A)^-1 of its information and of its push remain. By
        # Cayley and Hamilton (1 + v A)^-1 A = (A + v det A) / det(1 + v A), and det(1 + v A) = 1 + v tr A + v^2 det A.
        rest = v * certainty**2 * area
        whole = 1 + v * (certainty * trace + rest)
        push_x, push_y = (
            ((1 + v * c) * push_x - v * b * push_y) / whole,
            ((1 + v * a) * push_y - v * b * push_x) / whole,
        )
        a += rest
        c += rest
        normal = ((information / whole).ravel() @ _PAIRS).reshape(_COUNT, _COUNT)
        normal.flat[:: _COUNT + 1] += HOLDS
        push = np.concatenate([push_x, push_y]) @ _MOVES + HOLDS * (held_to - strengths)
        strengths = strengths + np.linalg.solve(normal, push)
    return (_MOVES @ strengths).reshape(2, 51).T


def grey_levels(crop_bgr: np.ndarray) -> np.ndarray:
    """(S, S) float64, the mean of a crop's three colours."""
    return cv2.transform(crop_bgr.astype(np.float64), _THIRDS)


def _padded(grey: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(grey, _PAD, _PAD, _PAD, _PAD, cv2.BORDER_REPLICATE)


def _surroundings(padded: np.ndarray, x: np.ndarray, y: np.ndarray, half: int) -> np.ndarray:
    """(2 half + 1, 2 half + 1, n) bilinear samples around points (n,) of an image that `_padded` gave."""
    height, width = padded.shape
    left, top = np.floor(x), np.floor(y)
    right, down = x - left, y - top
    first = half - _PAD  # farther out all samples are as the edge is
    left = np.minimum(np.maximum(left, first), width - _PAD - half - 2) - first
    top = np.minimum(np.maximum(top, first), height - _PAD - half - 2) - first
    grid = padded.ravel().take(_steps(width, half) + (top * width + left).astype(np.intp))
    rows = grid[:, :-1] + right * (grid[:, 1:] - grid[:, :-1])
    return rows[:-1] + down * (rows[1:] - rows[:-1])


@lru_cache(maxsize=8)
def _steps(width: int, half: int) -> np.ndarray:
    """(2 half + 2, 2 half + 2, 1) places of samples in an image of this width, from the first one's."""
    along = np.arange(2 * half + 2)
    return (along[:, None] * width + along)[:, :, None]
