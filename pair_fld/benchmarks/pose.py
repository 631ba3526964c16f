"""Errors of head pose and openness on rendered faces with exact poses: `python -m pair_fld.benchmarks.pose`.

Poses are drawn evenly from -60 to 60 degrees each (pitch -30 to 30 where the landmark model predicts the points, which
no model of ours was trained beyond), distances from 0.45 to 2.5 m.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pair_fld.data.synthetic.background import background
from pair_fld.data.synthetic.camera import Camera, rotation
from pair_fld.data.synthetic.look import Look
from pair_fld.data.synthetic.render import lay_head
from pair_fld.data.synthetic.shape import draw_head
from pair_fld.inference.landmarker import Landmarker
from pair_fld.runtime.pose import fit_pose, measure_openness

SIDE, FACES, LIMIT, MODEL_PITCH = 400, 300, 60.0, 30.0


@dataclass(frozen=True)
class PosedFace:
    """image: (400, 400, 3) uint8 BGR, None where only points are wanted. points: (51, 2) _img. pose: yaw, pitch, roll,
    degrees. lids, jaw: see `expression.Expression`."""

    image: np.ndarray | None
    points: np.ndarray
    pose: tuple[float, float, float]
    lids: float
    jaw: float


def posed_faces(count: int, seed: int, pitch: float = LIMIT, draw: bool = False) -> Iterator[PosedFace]:
    """Faces in the middle of an image, at random poses."""
    for index in range(count):
        rng = np.random.default_rng((seed, index, 41))
        head, look = draw_head(rng), Look.draw(rng)
        yaw, nod, roll = (float(rng.uniform(-limit, limit)) for limit in (LIMIT, pitch, LIMIT))
        distance = float(np.exp(rng.uniform(np.log(450), np.log(2500))))
        turn, body = rotation(yaw, nod, roll), rotation(0.3 * yaw, 0, 0.3 * roll)
        camera = Camera(turn, body, distance, 1.4, np.array([200.0, 290.0]))
        canvas = None
        if draw:
            canvas = background((SIDE, SIDE), rng)
            points, _ = lay_head(canvas, head, look, camera, rng, occluded=0.0)
        else:
            points, _ = camera.project(head.points)
        yield PosedFace(canvas, points, (yaw, nod, roll), float(np.mean(head.expression.lids)), head.expression.jaw)


def pose_errors(faces: Iterator[PosedFace], landmarker: Landmarker | None = None) -> np.ndarray:
    """Absolute errors (n, 3) of yaw, pitch and roll, degrees, of the faces that were found.

    landmarker: predicts the points; None: the exact ones.
    """
    errors = []
    for face in faces:
        points = [face.points]
        if landmarker is not None and face.image is not None:
            points = [found.points for found in landmarker(face.image)][:1]
        for one in points:
            pose = fit_pose(one)
            errors.append(np.abs(np.subtract((pose.yaw, pose.pitch, pose.roll), face.pose)))
    return np.array(errors)


def openness_table(faces: Iterator[PosedFace], landmarker: Landmarker) -> dict[str, float]:
    """Mean openness, as predicted points give it, of eyes shut (lids below 0.25) and open, mouths shut and wide."""
    groups: dict[str, list[float]] = {"eyes shut": [], "eyes open": [], "mouth shut": [], "mouth open 20 mm": []}
    for face in faces:
        found = [] if face.image is None else landmarker(face.image)
        if len(found) == 1:
            openness = measure_openness(found[0].points, fit_pose(found[0].points))
            groups["eyes shut" if face.lids < 0.25 else "eyes open"].append(
                (openness.eye_left + openness.eye_right) / 2
            )
            if face.jaw == 0 or face.jaw > 20:
                groups["mouth open 20 mm" if face.jaw > 20 else "mouth shut"].append(openness.mouth)
    return {name: float(np.mean(values)) for name, values in groups.items() if values}


if __name__ == "__main__":
    shipped = Landmarker()
    exact, predicted = posed_faces(FACES, 3), posed_faces(FACES, 4, MODEL_PITCH, draw=True)
    for name, errors in (("exact points", pose_errors(exact)), ("predicted points", pose_errors(predicted, shipped))):
        yaw, pitch, roll = errors.mean(axis=0)
        print(f"{name}: {len(errors)} of {FACES} faces; mean absolute error of yaw {yaw:.2f}, pitch {pitch:.2f}, "
              f"roll {roll:.2f} degrees")  # fmt: skip
    for name, mean in openness_table(posed_faces(FACES, 5, MODEL_PITCH, draw=True), shipped).items():
        print(f"openness, {name}: {mean:.2f}")
