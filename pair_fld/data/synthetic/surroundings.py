"""What lies around the face: body, neck, hair behind the head, ears."""

from __future__ import annotations

import numpy as np

from pair_fld.data.synthetic.camera import Camera
from pair_fld.data.synthetic.curves import fill, grained, lay, soften, spline, stroke
from pair_fld.data.synthetic.look import Look
from pair_fld.data.synthetic.noise import crop

COVERED = ("hat", "scarf")  # styles under which no hair shows
# How far the hair stands off the skull, millimetres, by style.
HAIR_VOLUME = {"short": 7, "fringe": 9, "swept": 11, "long": 11, "receding": 4, "bald": 0, "hat": 11, "scarf": 10}
# Outlines in the frame of the head or of the body, millimetres, y up.
SHOULDERS = np.array(
    [(-250, -330, -60), (-215, -215, -75), (-120, -160, -80), (-54, -135, -75), (0, -155, -40),
     (54, -135, -75), (120, -160, -80), (215, -215, -75), (250, -330, -60)], float,
)  # fmt: skip
NECK = np.array(
    [(-54, -60, -85), (-53, -110, -80), (-64, -165, -80), (0, -200, -60), (64, -165, -80), (53, -110, -80),
     (54, -60, -85)], float,
)  # fmt: skip
DRAPE = np.array(
    [(-80, 40, -70), (-86, -60, -60), (-110, -190, -60), (110, -190, -60), (86, -60, -60), (80, 40, -70)], float
)
JAW_SHADOW = np.array(
    [(-44, -40), (44, -40), (40, 22), (0, 38), (-40, 22)]
)  # around the neck's middle, millimetres, y down


def _ellipse_of(camera: Camera, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Outline (40, 2) of a projected ellipsoid of the head frame."""
    at, _ = camera.project(centre)
    shape = np.einsum("ij,j,kj->ik", camera.turn[:2], radii**2, camera.turn[:2]) * camera.scale**2
    first = np.sqrt(shape[0, 0])
    second = shape[1, 0] / first
    third = np.sqrt(max(shape[1, 1] - second**2, 1e-6))
    t = np.arange(40) * (2 * np.pi / 40)
    return at + np.stack([first * np.cos(t), -(second * np.cos(t) + third * np.sin(t))], axis=1)


def _textured(
    image: np.ndarray,
    polygon: np.ndarray,
    colour: np.ndarray,
    kind: str,
    depth: float,
    look: Look,
    soft: float,
    rng: np.random.Generator,
) -> None:
    """Fill a polygon with noise of a kind, lit from the look's light, edges softened by `soft` pixels."""
    height, width = image.shape[:2]
    margin = 3 * soft + 2
    x0, y0 = np.floor(polygon.min(axis=0) - margin).astype(int).clip(0, (width - 1, height - 1))
    x1, y1 = np.ceil(polygon.max(axis=0) + margin).astype(int).clip((x0 + 1, y0 + 1), (width, height))
    patch = image[y0:y1, x0:x1]
    mask = np.zeros(patch.shape[:2], np.uint8)
    fill(mask, polygon - (x0, y0), 255)
    if soft > 0.3:
        mask = soften(mask, soft)
    ramp = np.linspace(1 - 0.22 * look.light[0], 1 + 0.22 * look.light[0], patch.shape[1], dtype=np.float32)
    lay(patch, grained(colour, ramp + np.float32(depth) * crop(kind, mask.shape, rng)), mask)


def behind(image: np.ndarray, camera: Camera, look: Look, rng: np.random.Generator) -> None:
    """Draw body, hair behind, neck and ears into image (h, w, 3) uint8, before the face goes on top."""
    # in this order: a seed stands for its draws
    volume = HAIR_VOLUME[look.hair_style]
    volume += 9 * (look.hair_kind == "curl" and volume > 4 and look.hair_style not in COVERED) * rng.random()
    collar = rng.uniform(0, 28)
    if look.hair_style == "long" or (look.hair_style == "swept" and look.female):
        _locks(image, camera, look, rng)
    _skull(image, camera, look, volume, rng)
    skin = look.skin * look.exposure * 0.86
    _neck(image, camera, look, skin, rng)
    _body(image, camera, look, collar, rng)
    if look.hair_style != "scarf" and not (look.hair_style == "long" and rng.random() < 0.8):
        for side in (-1, 1):
            _ear(image, camera, side, skin, camera.scale)


def _locks(image: np.ndarray, camera: Camera, look: Look, rng: np.random.Generator) -> None:
    """Hair that falls beside and behind the neck."""
    fall = -200 if look.hair_style == "long" else -100
    side = 80 + 14 * rng.random()
    right = [(74, 60, -60), (side, 0, -60), (side + 2, -70, -70), (side - 8, fall, -80)]
    outline, _ = camera.project(np.array([*((-x, y, z) for x, y, z in right), *reversed(right)], float))
    colour = look.hair * look.exposure * 0.8
    _textured(image, spline(outline, closed=True), colour, look.hair_kind, 0.25, look, 0.9 * camera.scale, rng)


def _skull(image: np.ndarray, camera: Camera, look: Look, volume: float, rng: np.random.Generator) -> None:
    """The head around the face: hair of a volume (millimetres), a hat, a scarf, or bare skin."""
    k, exposure = camera.scale, look.exposure
    centre = np.array([0.0, 27 + volume * 0.4, -84])
    skull = _ellipse_of(camera, centre, np.array([77.0, 95, 89]) + volume * np.array([1, 1, 0.7]))
    if look.hair_style == "scarf":
        drape, _ = camera.project(DRAPE)
        _textured(image, drape, look.cloth * exposure * 0.75, "soft", 0.06, look, 0.5 * k, rng)
        _textured(image, skull, look.cloth * exposure * 0.85, "soft", 0.06, look, 0.6 * k, rng)
    elif look.hair_style == "hat":
        _textured(image, skull, look.cloth * exposure * 0.9, "soft", 0.05, look, 0.6 * k, rng)
    elif volume:
        _textured(image, skull, look.hair * exposure * 0.85, look.hair_kind, 0.25, look, 1.1 * k, rng)
    else:
        _textured(image, skull, look.skin * exposure * 0.86 * 1.05, "soft", 0.03, look, 0.5 * k, rng)


def _neck(image: np.ndarray, camera: Camera, look: Look, skin: np.ndarray, rng: np.random.Generator) -> None:
    """The neck, and the jaw's shadow on it."""
    k = camera.scale
    neck, _ = camera.project(NECK, body=True)
    _textured(image, neck, skin * 0.84, "soft", 0.04, look, 1.0 * k, rng)
    shadow = neck.mean(axis=0) + (0, -22 * k) + JAW_SHADOW * k
    _textured(image, shadow, skin * 0.62, "soft", 0.04, look, 6 * k, rng)


def _body(image: np.ndarray, camera: Camera, look: Look, collar: float, rng: np.random.Generator) -> None:
    """Shoulders in a shirt, `collar` millimetres below the neck, down to the image's edge."""
    k = camera.scale
    shoulders, _ = camera.project(SHOULDERS, body=True)
    top = shoulders + (0, collar * k)
    outline = np.concatenate([spline(top), top[[-1]] + (0, 999 * k), top[[0]] + (0, 999 * k)])
    # a shirt unlike the hat or scarf
    shirt = look.cloth[::-1] * 0.8 if look.hair_style in COVERED else look.cloth * look.exposure
    _textured(image, outline, shirt, "soft", 0.1, look, 0.6 * k, rng)


def _ear(image: np.ndarray, camera: Camera, side: int, skin: np.ndarray, k: float) -> None:
    rim = np.array(
        [
            (72, 18, -72),
            (79, 27, -84),
            (86, 24, -98),
            (87, 8, -104),
            (82, -12, -98),
            (76, -28, -84),
            (71, -30, -74),
            (70, -10, -68),
        ],
        float,
    ) * (side, 1, 1)
    flat, _ = camera.project(rim)
    facing = (camera.turn @ np.array([side * 0.85, 0, 0.5]))[2]
    tone = skin * (0.78 + 0.3 * max(facing, 0)) * (0.93, 0.93, 1.05)
    outline = spline(flat, closed=True)
    fill(image, outline, (tone).tolist())
    middle = flat.mean(axis=0)
    stroke(image, spline(middle + (flat[:6] - middle) * 0.72), (tone * 0.68).tolist(), 1.6 * k)
    fill(image, middle + (outline - middle) * 0.3, (tone * 0.55).tolist())
