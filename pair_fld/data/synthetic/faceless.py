"""Images without a face, of the kinds that face detectors take for one: `draw_faceless(seed, number)`.

Everything is drawn; nothing is copied, but for `scrambled`. A dial with hands, a plate with food on it or a socket has
the round outline and the two-eyes-and-a-mouth pattern that a detector looks for; text, foliage, bricks and windows have
its contrasts.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from pair_fld.data.synthetic.render import render_scene

_SIDE = 512
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def draw_faceless(seed: int, number: int, side: int = _SIDE) -> tuple[str, np.ndarray]:
    """(kind, image (side, side, 3) uint8 BGR): the kinds of `KINDS` in turn, each image known by its numbers."""
    kind = KINDS[number % len(KINDS)]
    rng = np.random.default_rng((seed, number))
    if kind == "scene":
        return kind, render_scene(seed, number, side, faces=0).image
    image = _ground(rng, side)
    _DRAW[kind](image, rng)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    noisy = image + rng.normal(0, rng.uniform(0, 9), image.shape)
    return kind, np.clip(noisy, 0, 255).astype(np.uint8)


def scrambled(image: np.ndarray, rng: np.random.Generator, blocks: int = 20) -> np.ndarray:
    """A photograph's blocks in another order: its textures and colours, and nothing that is a face."""
    side = max(4, max(image.shape[:2]) // blocks)
    rows, columns = image.shape[0] // side, image.shape[1] // side
    cut = image[: rows * side, : columns * side].reshape(rows, side, columns, side, 3).swapaxes(1, 2)
    mixed = rng.permutation(cut.reshape(-1, side, side, 3)).reshape(rows, columns, side, side, 3)
    return np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(rows * side, columns * side, 3))


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    b, g, r = (int(v) for v in rng.integers(low, high, 3))
    return b, g, r


def _ground(rng: np.random.Generator, side: int) -> np.ndarray:
    """A smooth gradient between four colours, with soft stains."""
    corners = rng.integers(20, 236, (2, 2, 3)).astype(np.float32)
    image = cv2.resize(corners, (side, side), interpolation=cv2.INTER_LINEAR)
    stains = cv2.resize(rng.normal(0, 14, (8, 8, 3)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(image + stains, 0, 255).astype(np.uint8)


def _at(image: np.ndarray, rng: np.random.Generator, least: float, most: float) -> tuple[np.ndarray, float]:
    """A place and a radius."""
    side = len(image)
    radius = side * float(np.exp(rng.uniform(np.log(least), np.log(most))))
    room = max(side - 2 * radius, 1.0)
    return radius + rng.uniform(0, room, 2), radius


def _disc(
    image: np.ndarray,
    centre: np.ndarray,
    axes: np.ndarray | tuple[float, float] | float,
    colour: tuple[int, ...],
    line: int = -1,
    angle: float = 0.0,
) -> None:
    x, y = np.rint(np.asarray(centre) * 2**_SHIFT).astype(int).tolist()
    a, b = np.rint(np.broadcast_to(np.asarray(axes, float), (2,)) * 2**_SHIFT).astype(int).tolist()
    cv2.ellipse(image, (x, y), (max(a, 1), max(b, 1)), angle, 0, 360, colour, line, cv2.LINE_AA, _SHIFT)


def _line(image: np.ndarray, a: np.ndarray, b: np.ndarray, colour: tuple[int, ...], width: float) -> None:
    (ax, ay), (bx, by) = np.rint(np.stack([a, b]) * 2**_SHIFT).astype(int).tolist()
    cv2.line(image, (ax, ay), (bx, by), colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def _towards(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _clock(image: np.ndarray, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        centre, r = _at(image, rng, 0.06, 0.4)
        rim, dial = _colour(rng), _colour(rng, 120)
        ink = _colour(rng, 0, 90)
        _disc(image, centre, r * 1.12, rim)
        _disc(image, centre, r, dial)
        for k in range(12):
            way = _towards(k * np.pi / 6)
            if rng.random() < 0.5:
                _line(image, centre + way * r * 0.8, centre + way * r * 0.93, ink, r / 18)
            else:
                text = str(k + 1)
                x, y = np.rint(centre + way * r * 0.78 - (r * 0.08, -r * 0.07)).astype(int).tolist()
                cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, r / 130, ink, max(1, round(r / 40)))
        for length in (0.5, 0.75):
            _line(image, centre, centre + _towards(rng.uniform(0, 2 * np.pi)) * r * length, ink, r / 16)
        _disc(image, centre, r / 14, ink)


def _plate(image: np.ndarray, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 3))):
        centre, r = _at(image, rng, 0.1, 0.42)
        _disc(image, centre, r, _colour(rng, 150))
        _disc(image, centre, r * 0.72, _colour(rng, 170))
        _disc(image, centre, r * 0.72, _colour(rng, 100, 200), max(1, round(r / 60)))
        for _ in range(int(rng.integers(2, 7))):  # food
            at = centre + _towards(rng.uniform(0, 7)) * rng.uniform(0, 0.5) * r
            _disc(image, at, rng.uniform(0.06, 0.22, 2) * r, _colour(rng, 20, 220), angle=rng.uniform(0, 180))


def _wheel(image: np.ndarray, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 3))):
        centre, r = _at(image, rng, 0.1, 0.4)
        _disc(image, centre, r, _colour(rng, 10, 60))
        _disc(image, centre, r * 0.68, _colour(rng, 110, 220))
        count, start = int(rng.integers(3, 11)), rng.uniform(0, 7)
        for k in range(count):
            way = _towards(start + 2 * np.pi * k / count)
            _line(image, centre, centre + way * r * 0.66, _colour(rng, 20, 90), r * rng.uniform(0.05, 0.2))
        _disc(image, centre, r * 0.16, _colour(rng, 60, 200))


def _hand(image: np.ndarray, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 3))):
        centre, r = _at(image, rng, 0.1, 0.3)
        tone = rng.uniform(0.35, 1.0)
        skin = (int(140 * tone), int(175 * tone), int(235 * tone))
        dark = (int(100 * tone), int(130 * tone), int(190 * tone))
        turn = rng.uniform(0, 2 * np.pi)
        _disc(image, centre, (r * 0.62, r * 0.7), skin, angle=np.degrees(turn))
        for k in range(5):
            way = _towards(turn - 0.8 + 0.38 * k)
            tip = centre + way * r * (1.25 if k else 0.95) * rng.uniform(0.6, 1.05)
            _line(image, centre + way * r * 0.3, tip, skin, r * 0.24)
            _disc(image, tip, r * 0.07, dark)
        _line(image, centre, centre - _towards(turn) * r * 1.4, skin, r * 0.7)
        for _ in range(3):  # creases
            a = centre + rng.uniform(-0.4, 0.4, 2) * r
            _line(image, a, a + rng.uniform(-0.3, 0.3, 2) * r, dark, r / 40)


def _text(image: np.ndarray, rng: np.random.Generator) -> None:
    side = len(image)
    paper, ink = _colour(rng, 190), _colour(rng, 0, 110)
    if rng.random() < 0.7:
        image[:] = paper
    scale = rng.uniform(0.3, 2.2)
    font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX]))
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz  ABCEGHKMNORST0123456789.,:8&@"))
    y = 10.0
    while y < side + 20:
        y += 30 * scale
        line = "".join(rng.choice(letters, 60))
        cv2.putText(image, line, (int(rng.integers(-20, 20)), int(y)), font, scale, ink, max(1, round(scale * 1.6)))


def _foliage(image: np.ndarray, rng: np.random.Generator) -> None:
    side = len(image)
    for _ in range(int(rng.integers(250, 900))):
        green = (int(rng.integers(10, 90)), int(rng.integers(50, 200)), int(rng.integers(20, 140)))
        length = side * float(np.exp(rng.uniform(np.log(0.01), np.log(0.06))))
        _disc(
            image, rng.uniform(0, side, 2), (length, length * rng.uniform(0.2, 0.5)), green, angle=rng.uniform(0, 180)
        )


def _windows(image: np.ndarray, rng: np.random.Generator) -> None:
    side, (wall, glass, frame) = len(image), (_colour(rng), _colour(rng, 0, 120), _colour(rng, 150))
    image[:] = wall
    pitch, share = side / rng.uniform(2, 9), rng.uniform(0.35, 0.7)
    for y in np.arange(rng.uniform(0, pitch), side, pitch):
        for x in np.arange(rng.uniform(0, 3), side, pitch):
            low, high = (int(x), int(y)), (int(x + pitch * share), int(y + pitch * share * 1.2))
            cv2.rectangle(image, low, high, glass if rng.random() < 0.7 else _colour(rng), -1)
            cv2.rectangle(image, low, high, frame, max(1, round(pitch / 25)))


def _bricks(image: np.ndarray, rng: np.random.Generator) -> None:
    side, height = len(image), len(image) / rng.uniform(8, 25)
    base = rng.integers(60, 190, 3)
    for row, y in enumerate(np.arange(0, side, height)):
        for x in np.arange(-(row % 2) * height, side, 2 * height):
            tone = np.clip(base + rng.normal(0, 18), 0, 255).astype(int).tolist()
            low, high = (int(x) + 2, int(y) + 2), (int(x + 2 * height) - 2, int(y + height) - 2)
            cv2.rectangle(image, low, high, tone, -1)


def _balls(image: np.ndarray, rng: np.random.Generator) -> None:
    """Fruit, balls, buttons: round things with a highlight, some with holes."""
    for _ in range(int(rng.integers(1, 9))):
        centre, r = _at(image, rng, 0.04, 0.3)
        colour = _colour(rng, 40)
        _disc(image, centre, (r, r * rng.uniform(0.8, 1.1)), colour)
        _disc(image, centre - 0.35 * r, r * 0.16, tuple(min(255, c + 90) for c in colour))
        if rng.random() < 0.5:  # a button's holes; a mouth would make it the drawing of a face
            holes = int(rng.choice([2, 4]))
            for k in range(holes):
                _disc(image, centre + _towards(0.8 + 2 * np.pi * k / holes) * r * 0.3, r * 0.1, _colour(rng, 0, 60))


def _socket(image: np.ndarray, rng: np.random.Generator) -> None:
    """Wall sockets and car fronts: a panel with two round holes, and a third or a grille."""
    for _ in range(int(rng.integers(1, 4))):
        centre, r = _at(image, rng, 0.06, 0.3)
        panel, ink = _colour(rng, 90), _colour(rng, 0, 100)
        wide = rng.uniform(0.8, 1.6)
        low, high = centre - (r * wide, r), centre + (r * wide, r)
        cv2.rectangle(image, low.astype(int).tolist(), high.astype(int).tolist(), panel, -1)
        for sign in (-1, 1):
            eye = centre + (sign * r * wide * 0.5, -r * rng.uniform(0.1, 0.4))
            _disc(image, eye, rng.uniform(0.08, 0.25) * r, ink)
        mouth = centre + (0, r * 0.5)
        if rng.random() < 0.5:
            _disc(image, mouth, r * 0.14, ink)
        else:
            _line(image, mouth - (r * wide * 0.5, 0), mouth + (r * wide * 0.5, 0), ink, r / 6)


def _stripes(image: np.ndarray, rng: np.random.Generator) -> None:
    """Fabric: stripes and checks of any direction, bent a little."""
    side = len(image)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    bend = 12 * np.sin(x / rng.uniform(30, 120) + rng.uniform(0, 7))
    pattern = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        way = _towards(rng.uniform(0, np.pi))
        pattern += np.sign(np.sin((x * way[0] + (y + bend) * way[1]) * 2 * np.pi / rng.uniform(8, 60)))
    share = (pattern - pattern.min()) / max(float(np.ptp(pattern)), 1e-6)
    first, second = np.array(_colour(rng)), np.array(_colour(rng))
    image[:] = (share[..., None] * first + (1 - share[..., None]) * second).astype(np.uint8)


def _landscape(image: np.ndarray, rng: np.random.Generator) -> None:
    """Sky, clouds, hills or waves."""
    side = len(image)
    x = np.arange(side)
    for layer in range(int(rng.integers(2, 6))):
        height = side * (0.35 + 0.14 * layer) + np.zeros(side)
        for _ in range(4):
            height += rng.uniform(2, 22) * np.sin(x / rng.uniform(8, 110) + rng.uniform(0, 7))
        outline = np.concatenate([np.stack([x, height], 1), [[side, side], [0, side]]]).astype(np.int32)
        cv2.fillPoly(image, [outline], _colour(rng, 10, 200), cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 6))):
        cloud = rng.uniform((0, 0), (side, side / 3))
        _disc(image, cloud, rng.uniform(0.03, 0.12, 2) * side * (1.6, 0.7), _colour(rng, 200))


def _speckle(image: np.ndarray, rng: np.random.Generator) -> None:
    """Gravel, carpets, noise of several scales."""
    side = len(image)
    for cells in (8, 24, 64, 160):
        grain = rng.normal(0, rng.uniform(5, 45), (cells, cells, 3)).astype(np.float32)
        image[:] = np.clip(image + cv2.resize(grain, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255)


_DRAW: dict[str, Callable[[np.ndarray, np.random.Generator], None]] = {
    "clock": _clock,
    "plate": _plate,
    "wheel": _wheel,
    "hand": _hand,
    "text": _text,
    "foliage": _foliage,
    "windows": _windows,
    "bricks": _bricks,
    "balls": _balls,
    "socket": _socket,
    "stripes": _stripes,
    "landscape": _landscape,
    "speckle": _speckle,
}
KINDS = (*_DRAW, "scene")
