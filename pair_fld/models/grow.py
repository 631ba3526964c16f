"""A larger net that starts as a smaller one: its weights are taken over, and what is new adds nothing yet.

Old channels give no weight to new ones (the idea of Net2Net, Chen et al., ICLR 2016, with zeros in the place of
copies), and new blocks at the end of a stage are identities: the batch norm that closes their body has scale 0. So a
net that is wider and deeper computes the same as the smaller one, on crops of any size. Where a stage has fewer
blocks, those of the smaller net are lost, and training starts near it only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pair_fld.config import ModelConfig
from pair_fld.errors import PairError
from pair_fld.models.landmark_net import LandmarkNet, build_model
from pair_fld.models.layers import InvertedResidual, Residual
from pair_fld.models.nets import HeatmapNet

Block = tuple[int, int]  # stage, number in the stage


@dataclass(frozen=True)
class Growth:
    """What a larger net took over.

    Attributes:
        taken_percent: share of the larger net's numbers that are the smaller one's.
        added: blocks that start as identities.
        left_out: blocks of the smaller net that the larger one has no place for.
        unlike: weights and joints of the larger net that have no counterpart; they start anew.
    """

    taken_percent: float
    added: int
    left_out: int
    unlike: int

    @property
    def same(self) -> bool:
        """Whether the larger net computes what the smaller one does."""
        return not self.left_out and not self.unlike

    def __str__(self) -> str:
        more = f"; {self.unlike} of its weights have no counterpart and start anew" if self.unlike else ""
        start = "it computes the same at the start" if self.same else "it starts near it, not equal to it"
        return (
            f"{self.taken_percent:.0f} % of the net's weights are taken over, {self.added} added blocks start as "
            f"identities, {self.left_out} blocks of the smaller net are left out{more}: {start}"
        )


def grow(model: LandmarkNet, weights: Mapping[str, torch.Tensor], old: ModelConfig) -> Growth:
    """Put the weights of a smaller net into `model`, in place; what is new keeps its initial values.

    Args:
        model: a heatmap_net.
        weights: state of the smaller one.
        old: configuration of the smaller one.

    Raises:
        PairError: either is no heatmap_net, or `weights` are those of another net than `old`.
    """
    smaller = build_model(old)
    if not isinstance(model.net, HeatmapNet) or not isinstance(smaller.net, HeatmapNet):
        found = f"a {old.arch} into a {model.config.arch}"
        raise PairError("--grow-from", "a heatmap_net into a heatmap_net", found, "Use --init-from for equal nets.")
    own, theirs = _blocks(model.net), _blocks(smaller.net)
    names = {own[place]: theirs[place] for place in own.keys() & theirs.keys()}
    added = [place for place in own.keys() - theirs.keys() if (place[0], 0) in theirs]
    state, taken, unlike = model.state_dict(), 0, 0
    for key, tensor in state.items():
        block = next((name for name in own.values() if key.startswith(name)), None)
        if block is not None and block not in names:
            unlike += not any(own[place] == block for place in added)
            continue
        there = key if block is None else names[block] + key[len(block) :]
        source = weights.get(there)
        if source is None or not _fits(source, tensor):
            unlike += 1
        elif tensor.is_floating_point():
            _take(tensor, source)
            taken += source.numel()
        else:
            tensor.copy_(source)
    modules = dict(model.named_modules())
    for place in added:
        _silence(modules[own[place].rstrip(".")])
    unlike += _otherwise_joined(model, smaller, names)
    total = sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point())
    return Growth(100 * taken / total, len(added), len(theirs.keys() - own.keys()), unlike)


def _blocks(net: HeatmapNet) -> dict[Block, str]:
    """Prefix of each block's weights in the state of a LandmarkNet."""
    names: dict[Block, str] = {}
    shallow, deep = 1, 0  # the stem comes first
    for stage, (_, _, blocks, _) in enumerate(net.stages):
        for number in range(blocks):
            if stage < net.cut:
                names[stage, number], shallow = f"net.shallow.{shallow}.", shallow + 1
            else:
                names[stage, number], deep = f"net.deep.{deep}.", deep + 1
    return names


def _fits(source: torch.Tensor, tensor: torch.Tensor) -> bool:
    """Whether a weight is that of the same layer with as many channels or fewer; kernels must be equal."""
    return (
        source.dim() == tensor.dim()
        and source.shape[2:] == tensor.shape[2:]
        and all(small <= large for small, large in zip(source.shape, tensor.shape, strict=True))
    )


def _take(tensor: torch.Tensor, source: torch.Tensor) -> None:
    """Write a smaller weight into the first channels of a larger one; old outputs do not hear new inputs."""
    if source.dim() > 1:
        tensor[: source.shape[0], source.shape[1] :] = 0
        tensor[: source.shape[0], : source.shape[1]] = source
    else:
        tensor[: source.shape[0]] = source


def _silence(block: nn.Module) -> None:
    """Make a block with a shortcut an identity: the batch norm that closes its body has scale 0."""
    assert isinstance(block, InvertedResidual | Residual)
    norms = [layer for layer in block.body.modules() if isinstance(layer, nn.BatchNorm2d)]
    nn.init.zeros_(norms[-1].weight)


def _otherwise_joined(model: LandmarkNet, smaller: LandmarkNet, names: Mapping[str, str]) -> int:
    """How many blocks have a shortcut in one net only, or another stride; 1 more where stages double up elsewhere."""
    mine, theirs = dict(model.named_modules()), dict(smaller.named_modules())
    pairs = [(mine[new.rstrip(".")], theirs[old.rstrip(".")]) for new, old in names.items()]
    odd = sum(_joints(new) != _joints(old) for new, old in pairs)
    assert isinstance(model.net, HeatmapNet)
    assert isinstance(smaller.net, HeatmapNet)
    return odd + ((model.net.ups, model.net.cut) != (smaller.net.ups, smaller.net.cut))


def _joints(block: nn.Module) -> tuple[bool, list[tuple[int, ...]]]:
    shortcut = isinstance(block, InvertedResidual) and block.shortcut
    return shortcut, [tuple(layer.stride) for layer in block.modules() if isinstance(layer, nn.Conv2d)]
