"""The scenes of the tracking benchmark: what people do before the camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pair_fld.data.synthetic.video import FPS, HEIGHT, Actor, Motion, RenderedVideo


def swing(middle: float, reach: float, hertz: float, phase: float = 0.0) -> Callable[[float], float]:
    """A movement to and fro: a sine of the time."""
    return lambda time: middle + reach * float(np.sin(2 * np.pi * (hertz * time + phase)))


def blink(time: float, every: float = 1.3) -> float:
    """Opening of lids that shut for 0.15 s every `every` seconds."""
    rest = time % every
    return abs(rest - 0.075) / 0.075 if rest < 0.15 else 1.0


def still(seed: int, frames: int) -> RenderedVideo:
    """A face that does not move, and the noise of a camera."""
    motion = Motion((320, 220), 1.2 + 0.2 * (seed % 3), 12.0 * (seed % 3 - 1), 4.0 * (seed % 2), 6.0 * (seed % 3 - 1))
    return RenderedVideo((Actor(seed, lambda time: motion),), frames, seed)


def moving(seed: int, frames: int, pace: float = 1.0, **more: Any) -> RenderedVideo:
    """A head that moves, turns, nods, talks and blinks."""
    x, y = swing(320, 110, 0.5 * pace, 0.1 * seed), swing(220, 40, 0.7 * pace, 0.2 * seed)
    yaw, pitch, roll = swing(0, 32, 0.4 * pace), swing(0, 12, 0.6 * pace, 0.3), swing(0, 20, 0.45 * pace, 0.5)
    size, jaw = swing(1.3, 0.25, 0.3 * pace), swing(5, 5, 1.8)

    def motion(time: float) -> Motion:
        return Motion((x(time), y(time)), size(time), yaw(time), pitch(time), roll(time), jaw(time), blink(time))

    return replace(RenderedVideo((Actor(seed, motion),), frames, seed), **more)


def sitting(seed: int, frames: int) -> RenderedVideo:
    """Somebody before a camera, who sways and talks a little."""
    x, y, yaw, jaw = swing(320, 12, 0.25), swing(220, 5, 0.35), swing(0, 8, 0.2), swing(2, 2, 1.5)

    def motion(time: float) -> Motion:
        return Motion((x(time), y(time)), 1.3, yaw(time), 0.0, 0.3 * yaw(time), jaw(time), blink(time, 2.0))

    return RenderedVideo((Actor(seed, motion),), frames, seed)


def occluded(seed: int, frames: int) -> RenderedVideo:
    """A moving head; a board passes before it from a third of the time on, and covers it wholly for a while."""
    video = moving(seed, frames, 0.4)
    seconds = frames / FPS

    def board(time: float) -> tuple[float, float, float, float] | None:
        share = time / seconds
        if not 0.25 < share < 0.75:
            return None
        left = -420 + (share - 0.25) * 2 * 1060
        return (left, 0, left + 420, HEIGHT)

    return replace(video, occluder=board)


def leaving(seed: int, frames: int) -> RenderedVideo:
    """A head that leaves the image to the right and comes back at half of the time."""
    seconds = frames / FPS
    x = swing(430, 340, 1 / seconds)
    return RenderedVideo((Actor(seed, lambda time: Motion((x(time), 220), 1.3, yaw=10, roll=5)),), frames, seed)


def arriving(seed: int, frames: int) -> RenderedVideo:
    """Nobody for two thirds of the time, then somebody who lies: the face is turned by 110 degrees."""
    begin = frames // 3 * 2 / FPS - 0.5 / FPS

    def motion(time: float) -> Motion | None:
        return None if time < begin else Motion((320, 240), 1.2, roll=110.0)

    return RenderedVideo((Actor(seed, motion),), frames, seed)


def crossing(seed: int, frames: int) -> RenderedVideo:
    """Two people who change places, one behind the other, and change back."""
    seconds = frames / FPS
    x = swing(320, 190, 1 / seconds, 0.25)
    front = Actor(seed, lambda time: Motion((x(time), 240), 1.25, yaw=15, depth=0))
    back = Actor(seed + 50, lambda time: Motion((640 - x(time), 205), 1.0, yaw=-15, depth=1))
    return RenderedVideo((front, back), frames, seed)


def scenes(seed: int, frames: int) -> dict[str, Sequence[RenderedVideo]]:
    """One clip of each kind, by name: scenes with a cut between each two. seed: other people. frames: of a clip."""
    return {
        "still": [still(seed, frames)],
        "sitting": [sitting(seed + 8, frames)],
        "moving": [moving(seed, frames)],
        "light": [moving(seed + 1, frames, light=swing(0.75, 0.4, 0.8))],
        "blur": [moving(seed + 2, frames, 1.6, blur=0.6)],
        "occluded": [occluded(seed + 3, frames)],
        "leaving": [leaving(seed + 4, frames)],
        "arriving": [arriving(seed + 9, frames)],
        "crossing": [crossing(seed + 5, frames)],
        "cut": [moving(seed + 6, frames // 2, 0.6), moving(seed + 7, frames - frames // 2, 0.6)],
    }
