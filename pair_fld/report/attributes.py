"""What an image shows of a face besides its points: pose, size, sharpness, light. Measured, not taken from labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pair_fld.report.pose import head_pose
from pair_fld.runtime.frame import Frame, frame_matrix
from pair_fld.runtime.geometry import warp

SIDE, MARGIN = 128, 1.1  # the crop on which sharpness and light are measured: brows to mouth


@dataclass(frozen=True)
class Attribute:
    """name: of the value in `face_attributes`. label: with its unit. signed: zero is the middle of its range."""

    name: str
    label: str
    signed: bool = False


ATTRIBUTES = (
    Attribute("yaw", "yaw, degrees (positive: to the image's right)", True),
    Attribute("pitch", "pitch, degrees (positive: up)", True),
    Attribute("roll", "roll, degrees (positive: clockwise)", True),
    Attribute("size", "face size, pixels (brows to mouth)"),
    Attribute("sharpness", "sharpness (Laplacian over contrast)"),
    Attribute("light", "light, mean grey level (0 to 255)"),
)


def face_attributes(crop: np.ndarray, frame_img: Frame, points_img: np.ndarray, point_mask: np.ndarray) -> np.ndarray:
    """(6,) values in the order of ATTRIBUTES; nan where an angle is left open.

    Args:
        crop: (S, S, 3) uint8 BGR, upright, its centre on the face. Its side over the face's size is `CROP_MARGIN`.
        frame_img: the face's frame in its image, fitted to the labels.
        points_img: (51, 2) _img.
        point_mask: (51,) bool.
    """
    yaw, pitch, roll = head_pose(points_img, point_mask)
    middle = (crop.shape[0] - 1) / 2
    inner = warp(crop, frame_matrix(Frame((middle, middle), crop.shape[0] / CROP_MARGIN), SIDE, MARGIN), SIDE)
    grey = cv2.cvtColor(inner, cv2.COLOR_BGR2GRAY)
    return np.array([yaw, pitch, roll, frame_img.size, sharpness(grey), float(grey.mean())])


CROP_MARGIN = 1.9  # side of the crops that are kept for the page, over the face's size


def sharpness(grey: np.ndarray) -> float:
    """Deviation of the Laplacian over the deviation of the grey levels, of (S, S) uint8; 0 for a flat image.

    The variance of the Laplacian is a common focus measure (Pech-Pacheco et al., ICPR 2000); dividing by the contrast
    keeps a dark face from counting as a soft one.
    """
    contrast = float(grey.std())
    return float(cv2.Laplacian(grey, cv2.CV_64F).std()) / contrast if contrast > 0 else 0.0
