"""What cameras, files and networks do to an image: exposure, colour, blur, small sensors, noise, JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from pair_fld.data.synthetic.noise import crop


def degrade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Spoil image (h, w, 3) uint8 at random, mostly mildly; positions stay where they were."""
    height, width = image.shape[:2]
    if rng.random() < 0.35:
        sigma = rng.gamma(2.0, 0.45) * width / 192
        if rng.random() < 0.7:
            image = cv2.GaussianBlur(image, (0, 0), max(sigma, 0.25))
        else:
            reach = int(np.clip(sigma * 3, 2, 9 * width / 192))
            angle = rng.uniform(0, np.pi)
            kernel = np.zeros((2 * reach + 1,) * 2, np.float32)
            tip = np.array([np.cos(angle), np.sin(angle)]) * reach
            cv2.line(
                kernel,
                tuple(np.rint(reach - tip).astype(int).tolist()),
                tuple(np.rint(reach + tip).astype(int).tolist()),
                1.0,
                1,
                cv2.LINE_AA,
            )
            image = cv2.filter2D(image, -1, kernel / kernel.sum())
    if rng.random() < 0.25:
        factor = rng.uniform(0.22, 0.7)
        small = (max(8, round(width * factor)), max(8, round(height * factor)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        image = cv2.resize(
            image, (width, height), interpolation=(cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(2))]
        )
    gamma = float(np.exp(rng.normal(0, 0.22)))
    gain, lift = rng.normal(1.0, 0.14), rng.normal(0, 9)
    curve = np.clip(255 * (np.arange(256) / 255) ** gamma * gain + lift, 0, 255)
    tint = np.clip(rng.normal(1, 0.04, 3), 0.85, 1.15)
    table = np.clip(curve[:, None] * tint, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table[None])
    saturation = 0.0 if rng.random() < 0.1 else float(np.clip(rng.normal(0.95, 0.2), 0.3, 1.5))
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    image = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
    if rng.random() < 0.5:
        level = rng.gamma(1.3, 2.4)
        grain = crop("fine", (height, width), rng) * np.float32(level)
        image = cv2.add(image, cv2.merge([grain, grain, grain]), dtype=cv2.CV_8U)
    if rng.random() < 0.5:
        quality = int(rng.integers(18, 92))
        packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
    return image
