"""Looks: occluders, blur, grey, light and noise laid over warped views.

`plan_looks` chooses a few numbers for each sample; `paint` (OpenCV, CPU) and `paint_tensor` (torch, accelerators) turn
them into the same pictures up to rounding. Everything up to the light works on whole grey levels, as a camera does,
so that on a CPU gamma, gain, bias and normalisation together are one table look-up.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from pair_fld.config import AugmentConfig
from pair_fld.runtime.codec import cell_centres
from pair_fld.runtime.session import PIXEL_RANGE

FLAT, PARTNER = 1, 2  # what an occluder shows: one colour, or the same place of the partner's picture
_BLUR_REACH = 3  # pixels: two standard deviations of the strongest blur
_LUMA = (0.114, 0.587, 0.299)  # BGR, ITU-R BT.601


@dataclass(frozen=True)
class Looks:
    """Choices for B samples, numpy arrays of B rows.

    occluder: 0, FLAT or PARTNER, an ellipse where `round_`, else a rectangle; centre, extent: (B, 2) x, y of its middle
    and half its size, in normalised view coordinates; colour: (B, 3) uint8 BGR.
    blur: sigma in pixels, 0 none. grey: bool. Light: v -> gain (B, 3) * v^gamma + bias on 0..1.
    noise: standard deviation in grey levels, 0 none; noise_at: where in the bank of normals it starts, 0..1.
    """

    occluder: np.ndarray
    round_: np.ndarray
    centre: np.ndarray
    extent: np.ndarray
    colour: np.ndarray
    blur: np.ndarray
    grey: np.ndarray
    gamma: np.ndarray
    gain: np.ndarray
    bias: np.ndarray
    noise: np.ndarray
    noise_at: np.ndarray

    def __len__(self) -> int:
        return len(self.blur)

    def __getitem__(self, part: slice) -> Looks:
        return Looks(*(getattr(self, f.name)[part] for f in fields(self)))


def plan_looks(batch: int, config: AugmentConfig, rng: np.random.Generator) -> Looks:
    """Choose the looks of a batch."""

    def happens(probability: float) -> np.ndarray:
        return rng.random(batch) < probability

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, (batch, *shape)).astype(np.float32)

    lit, grey = happens(config.photometric), happens(config.grey)
    tint = uniform(0.85, 1.15, 3)
    tint[grey] = 1  # a grey picture has no cast
    gain = tint * uniform(0.6, 1.3, 1)
    return Looks(
        occluder=np.where(happens(config.occlude), rng.integers(FLAT, PARTNER + 1, batch), 0),
        round_=happens(0.5),
        centre=uniform(-0.9, 0.9, 2),
        extent=uniform(0.1, 0.45, 2),
        colour=rng.integers(0, 256, (batch, 3)).astype(np.uint8),
        blur=np.where(happens(config.blur), uniform(0.5, 1.6), 0),
        grey=grey,
        gamma=np.where(lit, np.exp(uniform(-0.5, 0.5)), 1),
        gain=np.where(lit[:, None], gain, 1),
        bias=np.where(lit, uniform(-0.15, 0.15), 0),
        noise=np.where(happens(config.noise), uniform(2, 16), 0),
        noise_at=rng.random(batch),
    )


def partners(batch: int) -> np.ndarray:
    """(B,) whose picture an occluder shows: neighbours lend to each other, the last of an odd number to itself.

    Pairs, so that processes which share out an even batch between them see what one alone would.
    """
    return np.minimum(np.arange(batch) ^ 1, batch - 1)


@cache
def _bank() -> np.ndarray:
    """A million standard normals; samples read pieces of it, which is cheaper than drawing their own."""
    return np.random.default_rng(20240917).standard_normal(1 << 20, np.float32)


def _start(noise_at: float, count: int) -> int:
    return int(noise_at * (len(_bank()) - count))


def _shape(looks: Looks, i: int, size: int) -> np.ndarray:
    """(size, size) bool: where the occluder of sample i lies."""
    line = cell_centres(size)
    d = np.abs(line[:, None] - looks.centre[i]) / looks.extent[i]  # (size, 2)
    if looks.round_[i]:
        d **= 2
        return d[None, :, 0] + d[:, None, 1] < 1
    return (d[None, :, 0] < 1) & (d[:, None, 1] < 1)


def paint(warped: np.ndarray, looks: Looks) -> torch.Tensor:
    """Give warped views their looks, on the CPU.

    Args:
        warped: (B, S, S, 3) uint8; changed in place.

    Returns:
        (B, 3, S, S) float32 in -1..1, stored channels last.
    """
    batch, size = warped.shape[:2]
    out = np.empty(warped.shape, np.float32)
    levels = np.linspace(0, 1, 256, dtype=np.float32)
    tables = (levels ** looks.gamma[:, None])[..., None] * looks.gain[:, None] + looks.bias[:, None, None]
    tables = np.ascontiguousarray((tables.clip(0, 1) * 2 - 1).astype(np.float32))[:, None]  # (B, 1, 256, 3)
    other, reach = partners(batch), 2 * _BLUR_REACH + 1
    lent = {i: warped[other[i]].copy() for i in np.flatnonzero(looks.occluder == PARTNER).tolist()}
    for i in range(batch):
        image, drawn = warped[i], out[i]
        if looks.occluder[i]:
            inside = _shape(looks, i, size)
            image[inside] = looks.colour[i] if looks.occluder[i] == FLAT else lent[i][inside]
        if looks.blur[i] > 0:
            image = cv2.GaussianBlur(image, (reach, reach), float(looks.blur[i]), borderType=cv2.BORDER_REFLECT_101)
        if looks.grey[i]:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        cv2.LUT(image, tables[i], dst=drawn)
        if looks.noise[i] > 0:
            at = _start(looks.noise_at[i], drawn.size)
            normals = _bank()[at : at + drawn.size].reshape(drawn.shape)
            cv2.scaleAdd(normals, float(looks.noise[i]) / PIXEL_RANGE, drawn, dst=drawn)
            np.clip(drawn, -1, 1, out=drawn)
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def paint_tensor(pixels: torch.Tensor, looks: Looks) -> torch.Tensor:
    """`paint` by torch in batches, without waiting for the device.

    Args:
        pixels: (B, 3, S, S) float32 whole numbers 0..255; changed in place.
    """
    batch, _, size, _ = pixels.shape
    device = pixels.device

    def send(values: np.ndarray, *shape: int) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True).view(-1, *shape)

    rows = np.flatnonzero(looks.occluder)
    if len(rows):
        inside = send(np.stack([_shape(looks, int(i), size) for i in rows]), 1, size, size)
        flat = send(looks.colour[rows].astype(np.float32), 3, 1, 1)
        lent = pixels[send(partners(batch)[rows])]
        filling = torch.where(send(looks.occluder[rows] == FLAT, 1, 1, 1), flat, lent)
        index = send(rows)
        pixels[index] = torch.where(inside, filling, pixels[index])
    rows = np.flatnonzero(looks.blur)
    if len(rows):
        index = send(rows)
        pixels[index] = _blur(pixels[index], send(looks.blur[rows].astype(np.float32))).round_()
    rows = np.flatnonzero(looks.grey)
    if len(rows):
        luma, index = torch.tensor(_LUMA, device=device).view(1, 3, 1, 1), send(rows)
        pixels[index] = (pixels[index] * luma).sum(dim=1, keepdim=True).round_().expand(-1, 3, -1, -1)
    gamma, gain, bias = (send(v.astype(np.float32)) for v in (looks.gamma, looks.gain, looks.bias))
    light = (pixels / 255) ** gamma.view(-1, 1, 1, 1) * gain.view(-1, 3, 1, 1) + bias.view(-1, 1, 1, 1)
    light = light.clamp_(0, 1).mul_(2).sub_(1)
    rows = np.flatnonzero(looks.noise)
    if len(rows):
        count = 3 * size * size
        at = send(np.array([_start(looks.noise_at[i], count) for i in rows]), 1)
        normals = _bank_on(device)[at + torch.arange(count, device=device)].view(-1, size, size, 3).permute(0, 3, 1, 2)
        light[send(rows)] += normals * send(looks.noise[rows].astype(np.float32) / PIXEL_RANGE, 1, 1, 1)
    return light.clamp_(-1, 1)


@cache
def _bank_on(device: torch.device) -> torch.Tensor:
    return torch.from_numpy(_bank()).to(device)


def _blur(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of (n, 3, S, S), each by its own sigma (n,) in pixels."""
    n, size = len(images), images.shape[-1]
    line = torch.arange(-_BLUR_REACH, _BLUR_REACH + 1, device=images.device)
    kernel = torch.softmax(-(line**2) / (2 * sigma[:, None] ** 2), dim=1).repeat_interleave(3, dim=0)
    flat = F.pad(images, [_BLUR_REACH] * 4, mode="reflect").reshape(1, 3 * n, *[size + 2 * _BLUR_REACH] * 2)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=3 * n)
    return F.conv2d(flat, kernel[:, None, None, :], groups=3 * n).view(n, 3, size, size)
