"""Which way a face looks, and how far its eyes and mouth are open, from its 51 points.

No camera need be known: the head is seen from `DISTANCE`, as most are. With q = R (head + c modes) a point lies at
s q_xy D / (D + q_z) + t; R, s, t and the strengths c of the modes are found by Gauss-Newton steps on the squared
distances, strengths being held small (ridge). The start is the frontal face of the same place, size and roll.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .frame import fit_frame
from .head_shape import MEAN_HEAD, MODES

DISTANCE = 7.0  # from the camera to the head, in face sizes (of 0.12 m)
STEPS, SMALL = 15, 1e-4  # at most; a change (radians, face sizes) below which there are no more
RIDGE = 0.02  # deviation of a point from the shape that the modes leave open, in face sizes
LEAST_SCALE = 0.2  # of the frame's size: points that are no face must not shrink it to nothing
MAX_TURN = 0.7  # radians per step: farther, a rotation is no longer nearly linear
# Points of the upper and lower lids that face one another, and those of the inner lips.
EYE_LEFT_LIDS, EYE_RIGHT_LIDS = ((20, 24), (21, 23)), ((26, 30), (27, 29))
INNER_LIPS = ((44, 50), (45, 49), (46, 48))
# Gaps in face sizes: of shut and open eyes and of a mouth that is shut or wide open, as the shipped model sees them on
# rendered faces (python -m pair_fld.benchmarks.pose). Landmark models never quite shut an eye.
SHUT_EYE, OPEN_EYE = 0.037, 0.060
SHUT_MOUTH, OPEN_MOUTH = 0.015, 0.20


@dataclass(frozen=True)
class Pose:
    """Which way a head looks.

    Attributes:
        yaw: degrees; positive: the face is turned to the image's right.
        pitch: degrees; positive: it looks up.
        roll: degrees; positive: it leans clockwise on screen. Applied in this order: yaw, pitch, roll.
        matrix: (4, 4) from the mean head's coordinates (`head_shape`: one unit is the face's size, x right, y down,
            z away from the viewer) to image pixels: x, y, and a depth of the same scale.
    """

    yaw: float
    pitch: float
    roll: float
    matrix: np.ndarray


@dataclass(frozen=True)
class Openness:
    """0: shut, 1: open as an average face's eyes are, or a mouth as wide as people open it."""

    eye_left: float
    eye_right: float
    mouth: float


def fit_pose(points_img: np.ndarray) -> Pose:
    """The pose of a face with these points (51, 2) _img. ValueError as `frame.fit_frame`."""
    frame = fit_frame(points_img)
    angle = np.deg2rad(frame.roll)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    points = (points_img - np.asarray(frame.centre)) / frame.size  # in face sizes, so that RIDGE is one number
    scale, shift, strengths = 1.0, np.zeros(2), np.zeros(len(MODES))
    for _ in range(STEPS):
        q = (MEAN_HEAD + np.tensordot(strengths, MODES, 1)) @ turn.T
        near = DISTANCE / (DISTANCE + q[:, 2])
        x, y, z = q.T * near
        zero, one = np.zeros(51), np.ones(51)
        along_x = [zero, z, -y, x / scale, one / scale, zero]  # by the turn about x, y, z, the scale and the shift
        along_y = [-z, zero, x, y / scale, zero, one / scale]
        turned = MODES @ turn.T * near[:, None]
        slope = scale * np.concatenate(
            [np.column_stack([*along_x, *turned[:, :, 0]]), np.column_stack([*along_y, *turned[:, :, 1]])]
        )
        error = (points - scale * np.column_stack([x, y]) - shift).T.ravel()
        ridge = np.diag([1e-9] * 6 + [RIDGE**2] * len(MODES))
        change = np.linalg.solve(
            slope.T @ slope + ridge, slope.T @ error - ridge @ np.concatenate([np.zeros(6), strengths])
        )
        turn = _rotation(change[:3]) @ turn
        scale, shift, strengths = max(scale + change[3], LEAST_SCALE), shift + change[4:6], strengths + change[6:]
        if np.abs(change[:6]).max() < SMALL:
            break
    matrix = np.eye(4)
    matrix[:3, :3] = scale * frame.size * turn
    matrix[:2, 3] = shift * frame.size + np.asarray(frame.centre)
    return Pose(*_angles(turn), matrix)


def measure_openness(points_img: np.ndarray, pose: Pose) -> Openness:
    """How far eyes and mouth of a face (51, 2) _img are open: gaps of the lids and lips over the face's size."""
    size = float(np.sqrt(np.square(pose.matrix[:3, 0]).sum()))

    def gap(pairs: tuple[tuple[int, int], ...]) -> float:
        upper, lower = (points_img[[pair[k] for pair in pairs]] for k in (0, 1))
        down = pose.matrix[:2, 1] / max(float(np.hypot(*pose.matrix[:2, 1])), 1e-9)  # the face's own direction
        return float(((lower - upper) @ down).mean()) / size

    def share(value: float, least: float, most: float) -> float:
        return float(np.clip((value - least) / (most - least), 0, 1))

    left, right = (share(gap(lids), SHUT_EYE, OPEN_EYE) for lids in (EYE_LEFT_LIDS, EYE_RIGHT_LIDS))
    return Openness(left, right, share(gap(INNER_LIPS), SHUT_MOUTH, OPEN_MOUTH))


def _rotation(vector: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) by the length (radians) of a vector about its direction (Rodrigues' formula)."""
    length = float(np.sqrt(np.square(vector).sum()))
    if length < 1e-12:
        return np.eye(3)
    x, y, z = vector / length
    length = min(length, MAX_TURN)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(length) * cross + (1 - np.cos(length)) * (cross @ cross)


def _angles(turn: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a rotation (3, 3): turn = roll @ pitch @ yaw."""
    yaw = np.arctan2(turn[2, 0], turn[2, 2])
    pitch = np.arcsin(np.clip(-turn[2, 1], -1, 1))
    roll = np.arctan2(-turn[0, 1], turn[1, 1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))
