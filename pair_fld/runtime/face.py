"""What is known of one face in an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .frame import Frame, fit_frame
from .geometry import points_box
from .pose import Openness, Pose, fit_pose, measure_openness


@dataclass(frozen=True)
class Face:
    """One face: all coordinates _img.

    Attributes:
        points: (51, 2) float64.
        deviations: (51,) how far each point is probably off, in image pixels along one axis (a standard deviation);
            None where the model does not tell.
        score: probability that this is a face whose NME (outer corners) is below 0.08, 0 ... 1; None where nobody
            asked the model, as for faces read from a file.
        frame: centre, size and roll of the face, fitted to the points.
        identity: number of the face in a video, the same from frame to frame; None in an image.
    """

    points: np.ndarray
    deviations: np.ndarray | None
    score: float | None
    frame: Frame
    identity: int | None = None

    @property
    def box(self) -> np.ndarray:
        """(4,) x0, y0, x1, y1 of the points."""
        return points_box(self.points)

    @cached_property
    def pose(self) -> Pose:
        """Which way the face looks."""
        return fit_pose(self.points)

    @cached_property
    def openness(self) -> Openness:
        """How far its eyes and its mouth are open."""
        return measure_openness(self.points, self.pose)


def face_from_points(points_img: np.ndarray) -> Face:
    """A face of which only the (51, 2) points are known. ValueError as `fit_frame`."""
    return Face(points_img, None, None, fit_frame(points_img))
