"""Configuration -> network, and raw outputs -> coordinates."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pair_fld.config import ModelConfig
from pair_fld.errors import PairError
from pair_fld.models.mobilevit import MobileViTNet
from pair_fld.models.nets import CoordNet, HeatmapNet, HeatmapUNet
from pair_fld.runtime.codec import cell_centres
from pair_fld.runtime.scheme import NUM_POINTS

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "heatmap_unet": HeatmapUNet,
    "coord_net": CoordNet,
    "heatmap_net": HeatmapNet,
    "mobilevit_net": MobileViTNet,
}


def soft_argmax(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Torch twin of `runtime.codec.decode_soft_argmax`, with the covariance of the heatmap.

    Args:
        logits: (B, P, H, W).

    Returns:
        mean (B, P, 2) normalised x, y; covariance (B, P, 2, 2) in squared normalised units.
    """
    height, width = logits.shape[-2:]
    p = torch.softmax(logits.float().flatten(2), dim=-1).unflatten(2, (height, width))
    gx = torch.from_numpy(cell_centres(width)).to(p)
    gy = torch.from_numpy(cell_centres(height)).to(p)
    px, py = p.sum(dim=-2), p.sum(dim=-1)
    mx, my = px @ gx, py @ gy
    var_x = px @ gx.square() - mx.square()
    var_y = py @ gy.square() - my.square()
    cov = torch.einsum("bphw,h,w->bp", p, gy, gx) - mx * my
    covariance = torch.stack([torch.stack([var_x, cov], -1), torch.stack([cov, var_y], -1)], -2)
    return torch.stack([mx, my], dim=-1), covariance


class LandmarkNet(nn.Module):
    """A network with what is needed to use it: `forward` gives raw outputs, `points` decodes them.

    Attributes:
        config: its ModelConfig. output_kind: "coords" or "heatmap".
    """

    def __init__(self, config: ModelConfig, net: nn.Module) -> None:
        super().__init__()
        self.config, self.net = config, net
        self.output_kind: str = net.output_kind  # type: ignore[assignment]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) normalised BGR -> coords (B, 51, 2) or heatmap logits (B, 51, H, W)."""
        return self.net(x)

    def points(self, output: torch.Tensor) -> torch.Tensor:
        """Raw outputs to (B, 51, 2) normalised crop coordinates."""
        return soft_argmax(output)[0] if self.output_kind == "heatmap" else output.float()


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
    except (TypeError, ValueError, IndexError, RuntimeError) as fault:
        found = f"{str(fault).splitlines()[0]} (input_size {config.input_size})"
        raise PairError(f"model.options of {config.arch}", "options that make a net", found, "Correct them.") from None
    if points.shape != (2, NUM_POINTS, 2):
        found = f"an output of {tuple(points.shape)} for two faces"
        remedy = "Choose an input_size that the net's strides divide."
        raise PairError(f"model of {config.arch}, input_size {config.input_size}", "51 points a face", found, remedy)
    return model.train()
