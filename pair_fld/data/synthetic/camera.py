"""Pose and projection: head frame (millimetres, y up) to pixels (y down, integers are pixel centres)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pair_fld.data.synthetic.shape import Head

_PIVOT = np.array([0.0, -45.0, -85.0])  # the head turns about the top of the neck


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) of angles in degrees, applied in this order.

    yaw: positive turns the face to the image's right. pitch: positive looks up. roll: positive is clockwise.
    """
    angles = np.radians((yaw, pitch, roll))
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles), np.sin(angles)
    about_y = np.array([(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)])
    about_x = np.array([(1, 0, 0), (0, cp, sp), (0, -sp, cp)])
    about_z = np.array([(cr, sr, 0), (-sr, cr, 0), (0, 0, 1)])
    return np.einsum("ij,jk,kl->il", about_z, about_x, about_y)


@dataclass(frozen=True)
class Camera:
    """turn: (3, 3) of the head. body: (3, 3) of neck and shoulders. distance: millimetres. scale: pixels per
    millimetre at the eyes' depth. origin: (2,) pixels where the pivot lies."""

    turn: np.ndarray
    body: np.ndarray
    distance: float
    scale: float
    origin: np.ndarray

    def project(self, points: np.ndarray, body: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(..., 3) head frame to (..., 2) pixels and (...) depth towards the viewer."""
        flat = points.reshape(-1, 3) - _PIVOT
        turned = np.einsum("ij,nj->ni", self.body if body else self.turn, flat)
        near = self.distance / np.maximum(self.distance - turned[:, 2:] - _PIVOT[2], 60.0)
        xy = self.origin + turned[:, :2] * (self.scale, -self.scale) * near
        return xy.reshape(*points.shape[:-1], 2), turned[:, 2].reshape(points.shape[:-1])


def draw_camera(head: Head, centre: tuple[float, float], side: float, rng: np.random.Generator) -> Camera:
    """Draw a pose; the 51 points' box gets the middle `centre` and the longer side `side`, in pixels."""
    wide = rng.random() < 0.25
    yaw = float(np.clip(rng.normal(0, 32 if wide else 16), -62, 62))
    pitch = float(np.clip(rng.normal(0, 14 if wide else 8), -30, 30))
    roll = float(np.clip(rng.normal(0, 16 if rng.random() < 0.3 else 6), -36, 36))
    turn = rotation(yaw, pitch, roll)
    body = rotation(yaw * rng.uniform(0, 0.6), pitch * 0.15, roll * rng.uniform(0, 0.5))
    unit = Camera(turn, body, float(np.exp(rng.uniform(np.log(450), np.log(2500)))), 1.0, np.zeros(2))
    xy, _ = unit.project(head.points)
    low, high = xy.min(axis=0), xy.max(axis=0)
    scale = float(side / (high - low).max())
    origin = np.array(centre) - scale * (low + high) / 2
    return Camera(turn, body, unit.distance, scale, origin)
