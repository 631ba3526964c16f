"""Rendered videos of faces with exact points, poses and identities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pair_fld.data.synthetic.background import background
from pair_fld.data.synthetic.camera import Camera, rotation
from pair_fld.data.synthetic.expression import Expression
from pair_fld.data.synthetic.look import Look
from pair_fld.data.synthetic.render import lay_head
from pair_fld.data.synthetic.shape import draw_head

WIDTH, HEIGHT, FPS = 640, 480, 30.0
NOISE = 4.0  # deviation of the camera's noise, grey levels
DISTANCE = 900.0  # of a head from the camera, millimetres


@dataclass(frozen=True)
class Motion:
    """One head at one time.

    Attributes:
        centre: (x, y) pixels of the middle between its outer eye corners, seen from the front.
        scale: pixels per millimetre; the 51 points of an upright face span about 90 mm.
        yaw, pitch, roll: degrees, as in `camera.rotation`.
        jaw: opening in millimetres.
        lids: opening, 0 ... 1.
        depth: heads of a greater depth are behind the others.
    """

    centre: tuple[float, float]
    scale: float = 1.3
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    jaw: float = 0.0
    lids: float = 1.0
    depth: float = 0.0


@dataclass(frozen=True)
class Actor:
    """A person and what it does: `motion` of a time in seconds; None while it is not there. seed: who it is."""

    seed: int
    motion: Callable[[float], Motion | None]


@dataclass(frozen=True)
class FaceTruth:
    """points: (51, 2) float64 _img. seen: share of the points that nothing hides. pose: yaw, pitch, roll, degrees."""

    actor: int
    points: np.ndarray
    seen: float
    pose: tuple[float, float, float]


@dataclass(frozen=True)
class RenderedFrame:
    """image: (H, W, 3) uint8 BGR. time: seconds. faces: those that are there, hidden ones included."""

    image: np.ndarray
    time: float
    faces: tuple[FaceTruth, ...]


@dataclass(frozen=True)
class RenderedVideo:
    """What a video shows.

    Attributes:
        actors: the people.
        frames: how many.
        seed: of background and noise.
        light: brightness of a time, 1 as drawn.
        blur: shutter time as a share of a frame's time.
        occluder: box x0, y0, x1, y1 (pixels) of a grey board in front of all, of a time; None: no board.
        noise: deviation of the camera's noise, grey levels.
    """

    actors: tuple[Actor, ...]
    frames: int
    seed: int = 0
    light: Callable[[float], float] = lambda time: 1.0
    blur: float = 0.0
    occluder: Callable[[float], tuple[float, float, float, float] | None] = lambda time: None
    noise: float = NOISE


def render_videos(scenes: Sequence[RenderedVideo]) -> Iterator[RenderedFrame]:
    """The frames of several videos with a cut between each two; everybody in a later one is somebody else."""
    start, people = 0, 0
    for scene in scenes:
        for frame in render_video(scene):
            faces = tuple(replace(face, actor=face.actor + people) for face in frame.faces)
            yield RenderedFrame(frame.image, frame.time + start / FPS, faces)
        start, people = start + scene.frames, people + len(scene.actors)


def render_video(video: RenderedVideo) -> Iterator[RenderedFrame]:
    """The frames of a video. The bytes depend on it alone (and on the versions of NumPy and OpenCV)."""
    scene = background((HEIGHT, WIDTH), np.random.default_rng((video.seed, 77)))
    noise = np.random.default_rng((video.seed, 78))
    for number in range(video.frames):
        time = number / FPS
        shutter = video.blur / FPS
        times = [time] if not shutter else [time + shutter * share for share in (-0.4, -0.2, 0.0, 0.2, 0.4)]
        images = [_draw(video, scene, moment) for moment in times]
        image = np.mean([i for i, _ in images], axis=0) * video.light(time)
        image = image + noise.normal(0, video.noise, image.shape)
        yield RenderedFrame(np.clip(np.rint(image), 0, 255).astype(np.uint8), time, images[len(images) // 2][1])


def _draw(video: RenderedVideo, scene: np.ndarray, time: float) -> tuple[np.ndarray, tuple[FaceTruth, ...]]:
    canvas = scene.copy()
    there = [(k, actor, motion) for k, actor in enumerate(video.actors) if (motion := actor.motion(time)) is not None]
    faces: list[FaceTruth] = []
    for k, actor, motion in sorted(there, key=lambda entry: -entry[2].depth):
        before = canvas.copy()
        points, seen = _lay_actor(canvas, actor.seed, motion)
        covers = (canvas != before).any(axis=2)
        faces = [_covered(face, covers) for face in faces]
        faces.append(FaceTruth(k, points, float(seen.mean()), (motion.yaw, motion.pitch, motion.roll)))
    board = video.occluder(time)
    if board is not None:
        x0, y0, x1, y1 = (round(v) for v in board)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), (96, 104, 112), -1)
        covers = np.zeros(canvas.shape[:2], bool)
        covers[max(y0, 0) : max(y1 + 1, 0), max(x0, 0) : max(x1 + 1, 0)] = True
        faces = [_covered(face, covers) for face in faces]
    return canvas, tuple(sorted(faces, key=lambda face: face.actor))


def _covered(face: FaceTruth, covers: np.ndarray) -> FaceTruth:
    """The face behind something that covers these pixels (h, w)."""
    x, y = np.rint(face.points).astype(int).clip(0, np.array(covers.shape[::-1]) - 1).T
    return replace(face, seen=min(face.seen, float((~covers[y, x]).mean())))


def _lay_actor(canvas: np.ndarray, seed: int, motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng((seed, 79))

    def change(drawn: Expression) -> Expression:
        return replace(drawn, jaw=motion.jaw, lids=(motion.lids, motion.lids), press=motion.jaw == 0)

    head, look = draw_head(rng, change), Look.draw(rng)
    turn = rotation(motion.yaw, motion.pitch, motion.roll)
    body = rotation(0.3 * motion.yaw, 0.15 * motion.pitch, 0.25 * motion.roll)
    upright = Camera(np.eye(3), np.eye(3), DISTANCE, motion.scale, np.zeros(2))
    eyes, _ = upright.project(head.points[[19, 28]])
    camera = replace(upright, turn=turn, body=body, origin=np.asarray(motion.centre) - eyes.mean(axis=0))
    return lay_head(canvas, head, look, camera, rng, occluded=0.0)
