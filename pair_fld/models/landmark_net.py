"""Configuration -> network, and raw outputs -> coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pair_fld.config import ModelConfig
from pair_fld.errors import PairError
from pair_fld.models.heads import AttentionHead, Net, Outputs
from pair_fld.models.hourglass import HourglassNet
from pair_fld.models.nets import CoordNet, HeatmapNet, HeatmapUNet, SimCCNet
from pair_fld.runtime.codec import cell_centres
from pair_fld.runtime.scheme import NUM_POINTS


def _timm_net(input_size: int, **options: Any) -> Net:
    from pair_fld.models.timm_backbone import TimmNet  # here, as it imports timm and torchvision

    return TimmNet(input_size, **options)


ARCHITECTURES: dict[str, Callable[..., Net]] = {
    "heatmap_unet": HeatmapUNet,
    "hourglass": HourglassNet,
    "timm": _timm_net,
    "coord_net": CoordNet,
    "heatmap_net": HeatmapNet,
    "simcc_net": SimCCNet,
}


def soft_argmax(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Torch twin of `runtime.codec.heatmap_moments`, with the covariance of the heatmap.

    Args:
        logits: (B, P, H, W).

    Returns:
        mean (B, P, 2) normalised x, y; covariance (B, P, 2, 2) in squared normalised units.
    """
    height, width = logits.shape[-2:]
    p = torch.softmax(_at_least_float(logits).flatten(2), dim=-1).unflatten(2, (height, width))
    gx = torch.from_numpy(cell_centres(width)).to(p)
    gy = torch.from_numpy(cell_centres(height)).to(p)
    px, py = p.sum(dim=-2), p.sum(dim=-1)
    mx, my = px @ gx, py @ gy
    var_x = px @ gx.square() - mx.square()
    var_y = py @ gy.square() - my.square()
    cov = torch.einsum("bphw,h,w->bp", p, gy, gx) - mx * my
    covariance = torch.stack([torch.stack([var_x, cov], -1), torch.stack([cov, var_y], -1)], -2)
    return torch.stack([mx, my], dim=-1), covariance


def simcc_mean(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Torch twin of `runtime.codec.simcc_moments`, with the variance of both distributions.

    Args:
        logits: (B, P, 2 L), those of x and then those of y.

    Returns:
        mean and variance (B, P, 2), x and y, in normalised units and their squares.
    """
    p = torch.softmax(_at_least_float(logits).unflatten(-1, (2, -1)), dim=-1)
    grid = torch.from_numpy(cell_centres(p.shape[-1])).to(p)
    mean = p @ grid
    return mean, p @ grid.square() - mean.square()


def _at_least_float(values: torch.Tensor) -> torch.Tensor:
    """Half precision, as autocast leaves it, is too coarse to take expectations in."""
    return values if values.dtype == torch.float64 else values.float()


class LandmarkNet(nn.Module):
    """A network with what is needed to use it: `forward` gives raw outputs, `points` decodes them.

    Attributes:
        config: its ModelConfig. output_kind: "coords", "heatmap" or "simcc".
        has_maps: whether its `outputs` hold the maps of anisotropic attention.
    """

    def __init__(self, config: ModelConfig, net: Net) -> None:
        super().__init__()
        self.config, self.net = config, net
        self.output_kind, self.feature_channels = net.output_kind, net.feature_channels
        self.has_maps = isinstance(net.head, AttentionHead)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) normalised BGR -> coords (B, 51, 2), heatmap logits (B, 51, H, W), SimCC logits (B, 51, 2 L)."""
        return self.net(x)

    def outputs(self, x: torch.Tensor) -> Outputs:
        """`forward` with all that training may look at."""
        return self.net.outputs(x)

    def points(self, output: torch.Tensor) -> torch.Tensor:
        """Raw outputs to (B, 51, 2) normalised crop coordinates."""
        return self.distribution(output)[0]

    def distribution(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Raw outputs to points (B, 51, 2) and their covariance (B, 51, 2, 2), normalised; 0 for plain coordinates."""
        if self.output_kind == "heatmap":
            return soft_argmax(output)
        if self.output_kind == "simcc":
            mean, variance = simcc_mean(output)
            return mean, torch.diag_embed(variance)
        return output.float(), output.new_zeros(*output.shape, 2).float()


def build_model(config: ModelConfig) -> LandmarkNet:
    """A freshly initialised network; PairError for an unknown architecture or option."""
    if config.arch not in ARCHITECTURES:
        raise PairError(
            f"model.arch {config.arch!r}", f"one of {', '.join(ARCHITECTURES)}", "none of these", "Correct it."
        )
    options: dict[str, Any] = dict(config.options)
    try:
        model = LandmarkNet(config, ARCHITECTURES[config.arch](config.input_size, **options))
        with torch.inference_mode():
            blank = torch.zeros(2, 3, config.input_size, config.input_size)
            points = model.eval().points(model(blank))
    except (TypeError, ValueError, LookupError, RuntimeError, AssertionError, AttributeError, ArithmeticError) as error:
        found = f"{(str(error) or type(error).__name__).splitlines()[0]} (input_size {config.input_size})"
        raise PairError(f"model.options of {config.arch}", "options that make a net", found, "Correct them.") from None
    if points.shape != (2, NUM_POINTS, 2):
        found = f"an output of {tuple(points.shape)} for two faces"
        remedy = "Choose an input_size that the net's strides divide."
        raise PairError(f"model of {config.arch}, input_size {config.input_size}", "51 points per face", found, remedy)
    return model.train()
