"""A face frame: where a face is in an image, how large it is, and which way is up for it.

A frame is the similarity that takes the mean face (`mean_face.MEAN_FACE`: its 51-point box is centred on the origin
and its longer side is 1) into an image. Every crop of this project is cut by a frame: from labels, from a detector's
key points, from landmarks just found. An upright frontal face gets the square around its 51-point box.

Coordinates: `_img` image pixels, `_crop` pixels of a square crop; pixel convention of `geometry`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .mean_face import MEAN_FACE


@dataclass(frozen=True)
class Frame:
    """The similarity from the mean face to an image.

    Attributes:
        centre: (x, y) _img of the mean face's origin, the middle of its 51-point box.
        size: _img pixels of the mean face's unit, the longer side of its 51-point box.
        roll: degrees by which the face is turned clockwise on screen; 0 for an upright face.
    """

    centre: tuple[float, float]
    size: float
    roll: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite([*self.centre, self.size, self.roll]).all() or self.size <= 0:
            raise ValueError(
                f"expected a face frame of finite numbers and a size above 0, found centre {self.centre}, "
                f"size {self.size} and roll {self.roll}"
            )


def fit_frame(points_img: np.ndarray, reference: np.ndarray = MEAN_FACE, weights: np.ndarray | None = None) -> Frame:
    """The frame whose `reference` points lie nearest to `points_img`, by weighted least squares in closed form.

    With points as complex numbers z = x + i y, a similarity is z = a m + b, and the best a is that of a complex
    linear regression. It is Umeyama's solution in the plane ("Least-squares estimation of transformation parameters
    between two point patterns", PAMI 1991), without reflection by construction.

    Args:
        points_img: (N, 2) _img.
        reference: (N, 2) places of these points in the mean face's coordinates.
        weights: (N,) not negative; a mask (True: use the point) serves as well. None: all points count alike.

    Raises:
        ValueError: a used point is not finite, or fewer than two distinct points are used.
    """
    points, reference = np.asarray(points_img, np.float64), np.asarray(reference, np.float64)
    if points.ndim != 2 or points.shape[1:] != (2,) or points.shape != reference.shape:
        raise ValueError(f"expected points and references (N, 2), found {points.shape} and {reference.shape}")
    z, m = (np.ascontiguousarray(xy).view(np.complex128)[:, 0] for xy in (points, reference))
    if weights is None:
        weight = np.ones(len(z))
    else:
        weight = np.asarray(weights, np.float64)
        used = weight > 0
        weight, z, m = weight[used], z[used], m[used]
    if not np.isfinite(z).all():
        raise ValueError("a face frame needs finite points, found one that is not a number")
    if len(z) < 2:
        raise ValueError(f"a face frame needs two points at least, found {len(z)}")
    weight = weight / weight.sum()
    z_mean, m_mean = weight @ z, weight @ m
    spread = weight @ np.abs(m - m_mean) ** 2
    if spread == 0:
        raise ValueError("a face frame needs points with distinct places in the mean face, found them all in one")
    a = weight @ ((z - z_mean) * np.conj(m - m_mean)) / spread
    extent = max(np.abs(z - z_mean).max(), np.finfo(float).tiny)
    if np.abs(a) * np.sqrt(spread) < 1e-9 * max(extent, np.abs(z_mean)):
        raise ValueError("a face frame needs points that resemble a face, found them all in one place or mirrored")
    centre = z_mean - a * m_mean
    return Frame((float(centre.real), float(centre.imag)), float(np.abs(a)), float(np.degrees(np.angle(a))))


def frame_from_box(box_img: np.ndarray, roll: float = 0.0) -> Frame:
    """The frame of a 51-point box (4,) x0, y0, x1, y1 _img where nothing better is known.

    Raises:
        ValueError: the box has no extent or is not finite.
    """
    x0, y0, x1, y1 = (float(v) for v in box_img)
    size = max(x1 - x0, y1 - y0)
    if not np.isfinite([x0, y0, x1, y1]).all() or size <= 0:
        raise ValueError(f"expected a box with x1 > x0 or y1 > y0, found {(x0, y0, x1, y1)}")
    return Frame(((x0 + x1) / 2, (y0 + y1) / 2), size, roll)


def frame_matrix(frame: Frame, crop_size: int, margin: float) -> np.ndarray:
    """The 2x3 matrix from image to crop pixels: the one way in which anything is cropped.

    The crop is a square of side `margin` times the frame's size, centred on the frame, in which the face is upright.
    `geometry.invert` of the matrix leads back.

    Args:
        crop_size: side S of the crop in pixels.
        margin: crop side over the frame's size, > 0.
    """
    scale, angle = crop_size / (frame.size * margin), np.deg2rad(frame.roll)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[c, s], [-s, c]])
    return np.column_stack([linear, np.full(2, (crop_size - 1) / 2) - linear @ np.asarray(frame.centre)])


def snapped(frame: Frame) -> Frame:
    """The frame with centre, size and roll in whole 1/64 of a pixel or a degree: what is cropped at run time.

    A detector's floats differ in their last bits between processors. Behind this step they no longer do, so that an
    int8 model, which a changed pixel moves by tenths of a percent, gives the same points everywhere.
    """
    x, y, size, roll = (round(value * 64) / 64 for value in (*frame.centre, frame.size, frame.roll))
    return Frame((x, y), max(size, 1 / 64), roll)


def place(frame: Frame, reference: np.ndarray = MEAN_FACE) -> np.ndarray:
    """Points (N, 2) of the mean face's coordinates in the image (_img): where the frame says that they are."""
    angle = np.deg2rad(frame.roll)
    c, s = frame.size * np.cos(angle), frame.size * np.sin(angle)
    return np.asarray(reference, np.float64) @ np.array([[c, s], [-s, c]]) + np.asarray(frame.centre)


def frame_residual(frame: Frame, target: Frame) -> np.ndarray:
    """How `target` differs from `frame`: (4,) shift x and y in units of `frame`'s size along its own axes, natural
    logarithm of the sizes' ratio, and roll in degrees (-180 ... 180).

    In these units residuals of all faces are alike, whatever their place, size and roll.
    """
    angle = np.deg2rad(frame.roll)
    c, s = np.cos(angle), np.sin(angle)
    dx, dy = np.subtract(target.centre, frame.centre) / frame.size
    turn = (target.roll - frame.roll + 180) % 360 - 180
    return np.array([c * dx + s * dy, c * dy - s * dx, np.log(target.size / frame.size), turn])


def move_frame(frame: Frame, residual: np.ndarray) -> Frame:
    """The frame that differs from `frame` by `residual` (4,): the reverse of `frame_residual`."""
    dx, dy, grow, turn = (float(v) for v in residual)
    x, y = place(frame, np.array([dx, dy]))
    return Frame((float(x), float(y)), frame.size * float(np.exp(grow)), frame.roll + turn)


def frame_from_row(row: np.ndarray) -> Frame:
    """The frame that a row (4,) of numbers says: centre x, y, size, roll."""
    x, y, size, roll = (float(v) for v in row)
    return Frame((x, y), size, roll)


def fit_frames(points: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Frames of many faces (n, 51, 2) as rows (n, 4) float32: centre x, y, size, roll.

    A face whose points fit no frame keeps its row of `otherwise` (n, 4).
    """
    rows = np.array(otherwise, np.float32)
    for row, face in zip(rows, points):  # noqa: B905 (Python 3.9)
        try:
            frame = fit_frame(face)
        except ValueError:
            continue
        row[:] = *frame.centre, frame.size, frame.roll
    return rows
