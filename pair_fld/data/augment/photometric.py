"""Photometric augmentation: occluders, blur, greyscale, light and noise on warped views.

`sample_photometric` samples a few numbers per view; `apply_cv2` (OpenCV, CPU) and `apply_torch` (torch, accelerators)
apply them with equal results up to rounding. All steps before the light work on whole grey levels, as a camera does,
so on a CPU gamma, gain, bias and normalisation are a single table look-up.
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
from pair_fld.runtime.metadata import PIXEL_STD

FLAT, PARTNER = 1, 2  # an occluder's content: one colour, or the same place in the partner's image
_LEAST_BLUR = 0.5  # sigma in pixels
_LUMA = (0.114, 0.587, 0.299)  # BGR, ITU-R BT.601


@dataclass(frozen=True)
class PhotometricParams:
    """Parameters of B samples, numpy arrays of B rows. Light maps a value v in 0..1 to gain * v^gamma + bias.

    Attributes:
        occluder: (B,) 0 for none, FLAT or PARTNER.
        elliptical: (B,) bool, whether the occluder is an ellipse rather than a rectangle.
        centre: (B, 2) x, y of the occluder's centre, normalised view coordinates.
        extent: (B, 2) half its width and height, normalised view coordinates.
        colour: (B, 3) uint8 BGR of a FLAT occluder.
        blur: (B,) sigma in pixels, 0 for none.
        grey: (B,) bool.
        gamma: (B,).
        gain: (B, 3).
        bias: (B,).
        noise: (B,) standard deviation in grey levels, 0 for none.
        noise_at: (B,) 0..1, start within the table of normals.
    """

    occluder: np.ndarray
    elliptical: np.ndarray
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

    def __getitem__(self, part: slice) -> PhotometricParams:
        return PhotometricParams(*(getattr(self, f.name)[part] for f in fields(self)))


def sample_photometric(batch: int, config: AugmentConfig, rng: np.random.Generator) -> PhotometricParams:
    """Sample the parameters of a batch."""

    def bernoulli(probability: float) -> np.ndarray:
        return rng.random(batch) < probability

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, (batch, *shape)).astype(np.float32)

    lit, grey = bernoulli(config.photometric), bernoulli(config.grey)
    tint = uniform(0.85, 1.15, 3)
    tint[grey] = 1  # a grey image has no colour cast
    gain = tint * uniform(0.6, 1.3, 1)
    return PhotometricParams(
        occluder=np.where(bernoulli(config.occlude), rng.integers(FLAT, PARTNER + 1, batch), 0),
        elliptical=bernoulli(0.5),
        centre=uniform(-0.9, 0.9, 2),
        extent=uniform(0.1, 0.45, 2),
        colour=rng.integers(0, 256, (batch, 3)).astype(np.uint8),
        # even in its logarithm: most views stay nearly sharp, however strong the strongest blur is
        blur=np.where(bernoulli(config.blur), np.exp(uniform(np.log(_LEAST_BLUR), np.log(config.blur_sigma))), 0),
        grey=grey,
        gamma=np.where(lit, np.exp(uniform(-0.5, 0.5)), 1),
        gain=np.where(lit[:, None], gain, 1),
        bias=np.where(lit, uniform(-0.15, 0.15), 0),
        noise=np.where(bernoulli(config.noise), uniform(2, 16), 0),
        noise_at=rng.random(batch),
    )


def _blur_reach(sigma: np.ndarray) -> np.ndarray:
    """Pixels that a kernel reaches to either side: two standard deviations, at least 3."""
    return np.maximum(np.ceil(2 * sigma), 3).astype(np.int64)


def occluder_partners(batch: int) -> np.ndarray:
    """(B,) indices of the samples whose images PARTNER occluders show: neighbours in pairs, a last odd one itself.

    Pairs stay together when an even batch is divided among processes.
    """
    return np.minimum(np.arange(batch) ^ 1, batch - 1)


@cache
def _normals() -> np.ndarray:
    """A million standard normals; each sample reads a part of it, which is faster than drawing new ones."""
    return np.random.default_rng(20240917).standard_normal(1 << 20, np.float32)


def _start(noise_at: float, count: int) -> int:
    return int(noise_at * (len(_normals()) - count))


def _occluder_mask(params: PhotometricParams, i: int, size: int) -> np.ndarray:
    """(size, size) bool: the pixels that the occluder of sample i covers."""
    line = cell_centres(size)
    d = np.abs(line[:, None] - params.centre[i]) / params.extent[i]  # (size, 2)
    if params.elliptical[i]:
        d **= 2
        return d[None, :, 0] + d[:, None, 1] < 1
    return (d[None, :, 0] < 1) & (d[:, None, 1] < 1)


def apply_cv2(warped: np.ndarray, params: PhotometricParams) -> torch.Tensor:
    """Apply the parameters with OpenCV, on the CPU.

    Args:
        warped: (B, S, S, 3) uint8; changed in place.

    Returns:
        (B, 3, S, S) float32 in -1..1, stored channels last.
    """
    batch, size = warped.shape[:2]
    out = np.empty(warped.shape, np.float32)
    levels = np.linspace(0, 1, 256, dtype=np.float32)
    tables = (levels ** params.gamma[:, None])[..., None] * params.gain[:, None] + params.bias[:, None, None]
    tables = np.ascontiguousarray((tables.clip(0, 1) * 2 - 1).astype(np.float32))[:, None]  # (B, 1, 256, 3)
    partner, widths = occluder_partners(batch), 2 * _blur_reach(params.blur) + 1
    partner_images = {i: warped[partner[i]].copy() for i in np.flatnonzero(params.occluder == PARTNER).tolist()}
    for i in range(batch):
        image, drawn = warped[i], out[i]
        if params.occluder[i]:
            inside = _occluder_mask(params, i, size)
            image[inside] = params.colour[i] if params.occluder[i] == FLAT else partner_images[i][inside]
        if params.blur[i] > 0:
            width, sigma = int(widths[i]), float(params.blur[i])
            image = cv2.GaussianBlur(image, (width, width), sigma, borderType=cv2.BORDER_REFLECT_101)
        if params.grey[i]:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        cv2.LUT(image, tables[i], dst=drawn)
        if params.noise[i] > 0:
            at = _start(params.noise_at[i], drawn.size)
            normals = _normals()[at : at + drawn.size].reshape(drawn.shape)
            cv2.scaleAdd(normals, float(params.noise[i]) / PIXEL_STD, drawn, dst=drawn)
            np.clip(drawn, -1, 1, out=drawn)
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def apply_torch(pixels: torch.Tensor, params: PhotometricParams) -> torch.Tensor:
    """`apply_cv2` with torch, for the whole batch, without synchronising with the device.

    Args:
        pixels: (B, 3, S, S) float32 whole numbers 0..255; changed in place.
    """
    batch, _, size, _ = pixels.shape
    device = pixels.device

    def send(values: np.ndarray, *shape: int) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True).view(-1, *shape)

    rows = np.flatnonzero(params.occluder)
    if len(rows):
        inside = send(np.stack([_occluder_mask(params, int(i), size) for i in rows]), 1, size, size)
        flat = send(params.colour[rows].astype(np.float32), 3, 1, 1)
        partner = pixels[send(occluder_partners(batch)[rows])]
        filling = torch.where(send(params.occluder[rows] == FLAT, 1, 1, 1), flat, partner)
        index = send(rows)
        pixels[index] = torch.where(inside, filling, pixels[index])
    rows = np.flatnonzero(params.blur)
    if len(rows):
        index = send(rows)
        sigma = params.blur[rows].astype(np.float32)
        reach = _blur_reach(sigma)
        pixels[index] = _blur(pixels[index], send(sigma, 1), send(reach, 1), int(reach.max())).round_()
    rows = np.flatnonzero(params.grey)
    if len(rows):
        luma, index = torch.tensor(_LUMA, device=device).view(1, 3, 1, 1), send(rows)
        pixels[index] = (pixels[index] * luma).sum(dim=1, keepdim=True).round_().expand(-1, 3, -1, -1)
    gamma, gain, bias = (send(v.astype(np.float32)) for v in (params.gamma, params.gain, params.bias))
    light = (pixels / 255) ** gamma.view(-1, 1, 1, 1) * gain.view(-1, 3, 1, 1) + bias.view(-1, 1, 1, 1)
    light = light.clamp_(0, 1).mul_(2).sub_(1)
    rows = np.flatnonzero(params.noise)
    if len(rows):
        count = 3 * size * size
        at = send(np.array([_start(params.noise_at[i], count) for i in rows]), 1)
        normals = (
            _normals_on(device)[at + torch.arange(count, device=device)].view(-1, size, size, 3).permute(0, 3, 1, 2)
        )
        light[send(rows)] += normals * send(params.noise[rows].astype(np.float32) / PIXEL_STD, 1, 1, 1)
    return light.clamp_(-1, 1)


@cache
def _normals_on(device: torch.device) -> torch.Tensor:
    return torch.from_numpy(_normals()).to(device)


def _blur(images: torch.Tensor, sigma: torch.Tensor, reach: torch.Tensor, furthest: int) -> torch.Tensor:
    """Gaussian blur of (n, 3, S, S), each by its own sigma (n, 1) and reach (n, 1) in pixels; `furthest`: of all."""
    n, size = len(images), images.shape[-1]
    line = torch.arange(-furthest, furthest + 1, device=images.device)
    log_kernel = (-(line**2) / (2 * sigma**2)).masked_fill(line.abs() > reach, -torch.inf)
    kernel = torch.softmax(log_kernel, dim=1).repeat_interleave(3, dim=0)
    flat = F.pad(images, [furthest] * 4, mode="reflect").reshape(1, 3 * n, *[size + 2 * furthest] * 2)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=3 * n)
    return F.conv2d(flat, kernel[:, None, None, :], groups=3 * n).view(n, 3, size, size)
