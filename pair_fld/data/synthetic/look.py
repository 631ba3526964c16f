"""What a face looks like apart from its shape: one draw of colours, hair, make-up, accessories, light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Skin albedo from light to dark, as blue, green, red (hand-chosen over the range of the Fitzpatrick types).
_SKIN = np.array([(176, 196, 236), (150, 178, 224), (124, 156, 208), (98, 130, 184), (70, 98, 148), (48, 66, 104),
                  (34, 46, 74)], float)  # fmt: skip
_HAIR = np.array([(22, 20, 22), (28, 34, 44), (34, 52, 80), (52, 84, 124), (96, 146, 186), (40, 66, 132),
                  (120, 124, 128), (196, 200, 204)], float)  # fmt: skip
_IRIS = np.array([(24, 36, 60), (36, 58, 92), (60, 88, 100), (130, 110, 84), (110, 116, 96), (16, 22, 36)], float)
HAIR_STYLES = ("short", "fringe", "swept", "long", "receding", "bald", "hat", "scarf")


def pick(rng: np.random.Generator, weights: tuple[float, ...]) -> int:
    """An index drawn with the given weights, which add up to 1."""
    level, total = rng.random(), 0.0
    for index, weight in enumerate(weights):
        total += weight
        if level < total:
            return index
    return len(weights) - 1


@dataclass(frozen=True)
class Look:
    """Colours are BGR, 0 to 255, float. Strengths are 0 to 1.

    light: (3,) unit vector towards the main light in the camera frame (x right, y up, z towards the viewer).
    """

    skin: np.ndarray
    hair: np.ndarray
    brow: np.ndarray
    iris: np.ndarray
    lips: np.ndarray
    hair_style: str
    hair_kind: str
    female: bool
    brow_thick: float
    brow_dense: float
    beard: float
    moustache: float
    stubble: float
    age: float
    blush: float
    liner: float
    shadow: np.ndarray | None
    glasses: str
    light: np.ndarray
    light_colour: np.ndarray
    ambient: np.ndarray
    gloss: float
    fringe_line: float
    part: float
    cloth: np.ndarray

    @property
    def exposure(self) -> np.ndarray:
        """(3,) brightness of a surface half turned to the light, for what is drawn without a relief."""
        return self.light_colour * 0.62 + self.ambient * 0.9

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Look:
        place = np.clip(rng.beta(1.1, 1.9) * 6, 0, 5.99)
        low = int(place)
        skin = _SKIN[low] + (place - low) * (_SKIN[low + 1] - _SKIN[low])
        skin = skin * rng.normal(1, (0.05, 0.03, 0.03)) * rng.uniform(0.9, 1.08)
        female = bool(rng.random() < 0.5)
        age = rng.random()
        grey = age > 0.72 and rng.random() < 0.6
        dark = place > 3.5
        index = (
            rng.integers(6, 8) if grey else pick(rng, (0.8, 0.15, 0.05) if dark else (0.3, 0.22, 0.2, 0.12, 0.1, 0.06))
        )
        hair = _HAIR[index] * rng.uniform(0.75, 1.25) + rng.normal(0, 3, 3)
        brow = hair * rng.uniform(0.5, 0.9) if not grey else hair * rng.uniform(0.4, 0.9)
        brow = np.minimum(brow, skin * 0.72)
        made_up = female and rng.random() < 0.6
        natural = skin * (0.86, 0.74, 0.92) + rng.normal(0, 5, 3)
        painted = np.array([(60, 40, 190), (90, 70, 200), (110, 100, 215), (40, 30, 130), (130, 110, 210)])[
            rng.integers(5)
        ]
        lips = natural + (painted - natural) * rng.uniform(0.3, 0.85) if made_up and rng.random() < 0.7 else natural
        weights = (
            (0.02, 0.2, 0.18, 0.5, 0.0, 0.01, 0.05, 0.04) if female else (0.48, 0.16, 0.12, 0.03, 0.08, 0.07, 0.06, 0.0)
        )
        style = HAIR_STYLES[pick(rng, weights)]
        hairy = not female and rng.random() < 0.38
        azimuth, height = rng.normal(0, 0.75), rng.normal(0.55, 0.4)
        light = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
        tint = np.clip(rng.normal(1, 0.04 if rng.random() < 0.8 else 0.1, 3), 0.6, 1.4)
        contrast = rng.beta(2, 2)
        power = rng.uniform(0.95, 1.25)
        frame = rng.random()
        return cls(
            skin=np.clip(skin, 12, 245), hair=np.clip(hair, 8, 235), brow=np.clip(brow, 5, 200),
            iris=_IRIS[pick(rng, (0.35, 0.25, 0.1, 0.1, 0.05, 0.15))] * rng.uniform(0.7, 1.2),
            lips=np.clip(lips, 10, 240), hair_style=style,
            hair_kind="curl" if rng.random() < (0.6 if dark else 0.15) else "strand",
            female=female, brow_thick=rng.uniform(3.0, 5.5) if female else rng.uniform(4.0, 8.0),
            brow_dense=rng.uniform(0.45, 0.95) if rng.random() < 0.9 else rng.uniform(0.12, 0.4),
            beard=rng.uniform(0.4, 1.0) if hairy and rng.random() < 0.6 else 0.0,
            moustache=rng.uniform(0.4, 1.0) if hairy and rng.random() < 0.85 else 0.0,
            stubble=0.0 if female else rng.beta(1.2, 2.5) * 0.6,
            age=age, blush=rng.uniform(0, 0.5 if made_up else 0.25),
            liner=rng.uniform(0.4, 1.0) if made_up else rng.uniform(0, 0.25),
            shadow=np.array([(90, 60, 70), (60, 70, 100), (120, 80, 90)])[rng.integers(3)].astype(float)
            if made_up and rng.random() < 0.35 else None,
            glasses="clear" if frame < 0.15 else ("dark" if frame < 0.18 else ""),
            light=light, light_colour=tint * power * (0.35 + 0.55 * contrast),
            ambient=np.clip(rng.normal(1, 0.04, 3), 0.7, 1.3) * power * (0.62 - 0.34 * contrast),
            gloss=rng.uniform(0.0, 0.35), fringe_line=rng.uniform(0, 1), part=rng.uniform(-1, 1),
            cloth=np.clip(rng.uniform(20, 220) + rng.normal(0, 1, 3) * (4.0, 30.0, 45.0)[int(rng.integers(3))], 8, 245),
        )  # fmt: skip
