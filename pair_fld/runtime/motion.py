"""How the points of a face move from one frame of a video to the next, by what the images show around them.

Lucas and Kanade, "An iterative image registration technique with an application to stereo vision" (IJCAI 1981), for all
51 points at once: they move as a head does, in the plane, turning, talking and blinking (`WAYS`), each with a little
movement of its own. A landmark model sees every frame for itself, and its errors change from frame to frame; the
movement measured here has far smaller ones, but they add up.
"""

from __future__ import annotations

import numpy as np

from .head_shape import MEAN_HEAD, MODES

HALF = 3  # a point's surroundings: 2 HALF + 1 pixels square
WIDTH = 1.8  # deviation of their weights about the point, pixels
STEPS = 4
OWN_MOVEMENT = 0.1  # deviation of a point's movement that the head's does not explain, pixels
# Squared grey levels: noise that is always there, and what keeps the change of contrast of plain surroundings small.
NOISE, PLAIN = 1.0, 10.0
CONTRAST = (0.5, 2.0)  # bounds of the change of contrast
RIDGE = 1e-6  # for a crop in which there is nothing to see
UPPER_LIDS = ((20, 21), (26, 27))


def _ways() -> np.ndarray:
    """(51, 2, 14) ways in which the points of an upright face move, orthonormal."""
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
    return np.linalg.qr(columns)[0].reshape(51, 2, -1)


WAYS = _ways()
WAYS.setflags(write=False)
_ALONG = np.arange(-HALF, HALF + 1)
_NEAR = np.exp(-np.add.outer(_ALONG**2, _ALONG**2) / (2 * WIDTH**2)).ravel()
_WEIGHTS = _NEAR / _NEAR.sum()


def measure_motion(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray:
    """By how much the points of a face moved between two crops: (51, 2) crop pixels.

    Args:
        before, after: (S, S) float grey levels; the face is upright in both and lies nearly alike.
        points: (51, 2) in `before`.
    """
    around = _surroundings(before, points, HALF + 1)
    slope_x = ((around[:, 1:-1, 2:] - around[:, 1:-1, :-2]) / 2).reshape(51, -1)
    slope_y = ((around[:, 2:, 1:-1] - around[:, :-2, 1:-1]) / 2).reshape(51, -1)
    seen = _centred(around[:, 1:-1, 1:-1].reshape(51, -1))
    slope_x, slope_y = _centred(slope_x), _centred(slope_y)
    xx, xy, yy, texture = (p @ _WEIGHTS for p in (slope_x**2, slope_x * slope_y, slope_y**2, seen**2))
    along, down = WAYS[:, 0], WAYS[:, 1]
    strengths = np.zeros(WAYS.shape[2])
    for _ in range(STEPS):
        now = _centred(_surroundings(after, points + WAYS @ strengths, HALF).reshape(51, -1))
        contrast = np.clip(((now * seen) @ _WEIGHTS + PLAIN) / (texture + PLAIN), *CONTRAST)
        change = contrast[:, None] * seen - now
        certainty = 1 / (change**2 @ _WEIGHTS + NOISE)
        a, b, c = certainty * xx, certainty * xy, certainty * yy  # a point's information [[a, b], [b, c]]
        push_x, push_y = certainty * ((change * slope_x) @ _WEIGHTS), certainty * ((change * slope_y) @ _WEIGHTS)
        # Where a point moves by itself with variance v, (1 + v A)^-1 of its information A and of its push remain.
        v = OWN_MOVEMENT**2
        whole = (1 + v * a) * (1 + v * c) - (v * b) ** 2
        r, s, t = (1 + v * c) / whole, -v * b / whole, (1 + v * a) / whole
        rest_xx, rest_xy, rest_yy = ((r * a + s * b)[:, None], (r * b + s * c)[:, None], (s * b + t * c)[:, None])
        normal = along.T @ (rest_xx * along + rest_xy * down) + down.T @ (rest_xy * along + rest_yy * down)
        ways = along.T @ (r * push_x + s * push_y) + down.T @ (s * push_x + t * push_y)
        strengths = strengths + np.linalg.solve(normal + RIDGE * np.eye(len(ways)), ways)
    return WAYS @ strengths


def _surroundings(image: np.ndarray, points: np.ndarray, half: int) -> np.ndarray:
    """(n, 2 half + 1, 2 half + 1) bilinear samples around points; beyond the image's edge the edge goes on."""
    whole = np.floor(points)
    fraction = (points - whole)[:, :, None, None]
    along = np.arange(-half, half + 2)
    height, width = image.shape
    x = (whole[:, :1].astype(int) + along).clip(0, width - 1)
    y = (whole[:, 1:].astype(int) + along).clip(0, height - 1)
    grid = image[y[:, :, None], x[:, None, :]]
    rows = grid[:, :, :-1] + fraction[:, 0] * (grid[:, :, 1:] - grid[:, :, :-1])
    return rows[:, :-1] + fraction[:, 1] * (rows[:, 1:] - rows[:, :-1])


def _centred(samples: np.ndarray) -> np.ndarray:
    return samples - (samples @ _WEIGHTS)[:, None]
