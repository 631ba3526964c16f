"""Reusable noise tiles: made once per process from a fixed seed, cropped at random places."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

_SIDE = 768


@lru_cache(maxsize=8)
def tile(kind: str) -> np.ndarray:
    """(768, 768) float32, mean 0, deviation 1: 'fine' (pixels), 'soft' (octaves), 'strand' or 'curl'."""
    rng = np.random.default_rng({"fine": 11, "soft": 12, "strand": 13, "curl": 14}[kind])
    white = rng.standard_normal((_SIDE, _SIDE)).astype(np.float32)
    if kind == "fine":
        out = white + 1.5 * cv2.GaussianBlur(white, (0, 0), 1.0)
    elif kind == "soft":
        out = np.zeros_like(white)
        for side in (6, 12, 24, 48, 96, 192, 384):
            small = rng.standard_normal((side, side)).astype(np.float32)
            out += cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC) * side**-0.8
    else:
        reach = 31 if kind == "strand" else 9
        kernel = np.ones((reach, 1), np.float32) / reach
        out = cv2.GaussianBlur(cv2.filter2D(white, -1, kernel), (0, 0), 0.7)
        clumps = cv2.resize(
            rng.standard_normal((8, 96)).astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC
        )
        out = out / out.std() + 0.8 * clumps
        if kind == "curl":
            y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
            wave = cv2.resize(rng.standard_normal((60, 60, 2)).astype(np.float32), (_SIDE, _SIDE)) * 7
            out = cv2.remap(out, x + wave[..., 0], y + wave[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return (out - out.mean()) / out.std()


def crop(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A random (h, w) window of a tile; larger windows repeat it mirrored."""
    source = tile(kind)
    height, width = shape
    if height > _SIDE or width > _SIDE:
        source = np.pad(source, ((0, max(0, height - _SIDE)), (0, max(0, width - _SIDE))), mode="symmetric")
    y = int(rng.integers(0, source.shape[0] - height + 1))
    x = int(rng.integers(0, source.shape[1] - width + 1))
    return source[y : y + height, x : x + width]
