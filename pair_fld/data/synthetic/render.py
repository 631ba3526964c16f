"""From a seed to an image of faces with exact points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pair_fld.data.synthetic import accessories, surroundings
from pair_fld.data.synthetic.background import background
from pair_fld.data.synthetic.camera import Camera, draw_camera
from pair_fld.data.synthetic.curves import lay
from pair_fld.data.synthetic.degrade import degrade
from pair_fld.data.synthetic.look import Look
from pair_fld.data.synthetic.paint import paint, to_texture
from pair_fld.data.synthetic.relief import Relief
from pair_fld.data.synthetic.shape import Head, draw_head

LOOSE = 2.2  # side of a face image over the longer side of its 51-point box


@dataclass(frozen=True)
class SyntheticFace:
    """image: (size, size, 3) uint8 BGR. points: (51, 2) float32 pixels, integers are pixel centres.
    visible: (51,) bool, False for points behind the head's own relief, behind an occluder, or off the image."""

    image: np.ndarray
    points: np.ndarray
    visible: np.ndarray


@dataclass(frozen=True)
class SyntheticScene:
    """image: (size, size, 3) uint8 BGR. faces: (51, 2) float32 pixels each, none for an empty scene."""

    image: np.ndarray
    faces: tuple[np.ndarray, ...]


def _light(vertices: np.ndarray, camera: Camera, look: Look) -> np.ndarray:
    """Brightness (R, C, 3) float32 at the vertices: Lambert with a wrapped terminator, sky, and gloss (Blinn)."""
    down = np.empty_like(vertices)
    down[1:-1], down[0], down[-1] = (
        vertices[2:] - vertices[:-2],
        vertices[1] - vertices[0],
        vertices[-1] - vertices[-2],
    )
    along = np.empty_like(vertices)
    along[:, 1:-1] = vertices[:, 2:] - vertices[:, :-2]
    along[:, 0], along[:, -1] = vertices[:, 1] - vertices[:, 0], vertices[:, -1] - vertices[:, -2]
    normal = np.stack(
        [
            down[..., 1] * along[..., 2] - down[..., 2] * along[..., 1],
            down[..., 2] * along[..., 0] - down[..., 0] * along[..., 2],
            down[..., 0] * along[..., 1] - down[..., 1] * along[..., 0],
        ],
        axis=-1,
    )
    normal /= np.sqrt((normal**2).sum(-1, keepdims=True)) + 1e-6
    normal = np.einsum("ij,nj->ni", camera.turn, normal.reshape(-1, 3)).reshape(vertices.shape)
    toward = (normal * look.light).sum(-1)
    direct = np.clip((toward + 0.25) / 1.25, 0, 1)
    sky = 0.82 + 0.18 * normal[..., 1] + 0.1 * normal[..., 2]
    half = look.light + (0, 0, 1)
    half = half / np.sqrt((half**2).sum())
    gloss = np.clip((normal * half).sum(-1), 0, 1) ** 22 * look.gloss
    gloss *= 170 / (look.skin.mean() + 40)  # the texture multiplies it: make up for dark skin
    bright = (direct * 1.02 + gloss)[..., None] * look.light_colour + sky[..., None] * look.ambient
    return bright.astype(np.float32)


def lay_head(
    canvas: np.ndarray, head: Head, look: Look, camera: Camera, rng: np.random.Generator, occluded: float = 0.16
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one head into canvas (h, w, 3) uint8; returns points (51, 2) and which of them are seen.

    occluded: probability of something in front of the face.
    """
    shape = canvas.shape[:2]
    surroundings.behind(canvas, camera, look, rng)
    texel = float(np.clip(1.25 * camera.scale, 0.5, 3.0))
    texture = paint(head.points, head.expression, look, texel, rng)
    xy, depth = camera.project(head.vertices)
    x0, y0 = np.floor(xy.min(axis=(0, 1))).astype(int).clip(0, (shape[1] - 1, shape[0] - 1))
    x1, y1 = np.ceil(xy.max(axis=(0, 1)) + 1).astype(int).clip((x0 + 1, y0 + 1), shape[::-1])
    relief = Relief.rasterise(xy - (x0, y0), depth, (int(y1 - y0), int(x1 - x0)))
    u, v = relief.interpolate(to_texture(head.vertices, texel))
    colour = cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    row, column = relief.interpolate(np.stack(list(np.mgrid[: xy.shape[0], : xy.shape[1]]), axis=-1), step=2)
    bright = _light(head.vertices, camera, look)  # smooth: every other pixel will do
    bright = cv2.remap(bright, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    empty = relief.cell[::2, ::2] == 0
    bright[empty] = 0
    bright[empty] = cv2.dilate(bright, np.ones((3, 3), np.uint8))[empty]
    bright = cv2.resize(bright, u.shape[::-1], interpolation=cv2.INTER_LINEAR)
    colour = cv2.multiply(colour, bright, dtype=cv2.CV_8U)
    mask = np.where(relief.cell > 0, np.uint8(255), np.uint8(0))
    inner = cv2.erode(mask, np.ones((2, 2), np.uint8), borderValue=255)
    lay(canvas[y0:y1, x0:x1], colour, cv2.min(cv2.blur(inner, (3, 3)), mask))

    points, _ = camera.project(head.points)
    pixel = np.rint(points).astype(int)
    within = np.asarray(((pixel >= (x0, y0)) & (pixel < (x1, y1))).all(axis=1))
    x, y = pixel[within].T
    drawn = np.stack([u, v], axis=-1)[y - y0, x - x0] - to_texture(head.points[within], texel)
    seen = within.copy()
    seen[within] = (mask[y - y0, x - x0] > 0) & (np.hypot(drawn[:, 0], drawn[:, 1]) < 4.0 * texel / camera.scale)
    if look.glasses:
        accessories.glasses(canvas, head, camera, look, rng)
    if rng.random() < occluded:
        hidden = accessories.occlude(canvas, points, camera, look, rng)
        seen[within] &= hidden[y, x] < 128
    return points, seen


def render_face(seed: int, index: int, size: int = 192) -> SyntheticFace:
    """One face about the middle of a square image; the longer side of its points' box is near size / 2.2.

    The bytes depend on seed, index and size alone (and on the versions of NumPy and OpenCV).
    """
    rng = np.random.default_rng((seed, index))
    head, look = draw_head(rng), Look.draw(rng)
    side = size / LOOSE * rng.uniform(0.86, 1.14)
    centre = (size - 1) / 2 + rng.normal(0, 0.03, 2) * size
    camera = draw_camera(head, (centre[0], centre[1]), side, rng)
    canvas = background((size, size), rng)
    points, seen = lay_head(canvas, head, look, camera, rng)
    return SyntheticFace(degrade(canvas, rng), points.astype(np.float32), seen)


def render_scene(seed: int, index: int, size: int = 512, faces: int = 1) -> SyntheticScene:
    """A larger image with `faces` heads side by side at random sizes, or none, before a background."""
    rng = np.random.default_rng((seed, index, faces, 1))
    canvas = background((size, size), rng)
    found = []
    slots = rng.permutation(max(faces, 1))[:faces]
    for slot in slots:
        pitch = size / max(faces, 1)
        side = pitch / LOOSE * rng.uniform(0.45, 1.0)
        head, look = draw_head(rng), Look.draw(rng)
        room = side * 0.9
        x = rng.uniform(slot * pitch + room, max((slot + 1) * pitch - room, slot * pitch + room + 1))
        y = rng.uniform(1.3 * room, max(size - 1.3 * room, 1.3 * room + 1))
        camera = draw_camera(head, (x, y), side, rng)
        found.append(lay_head(canvas, head, look, camera, rng)[0].astype(np.float32))
    return SyntheticScene(degrade(canvas, rng), tuple(found))
