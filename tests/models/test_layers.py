"""Branches that become one convolution, and dense blocks."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from pair_fld.config import ModelConfig
from pair_fld.evaluate.validate import TorchModel
from pair_fld.export.onnx import export_onnx
from pair_fld.models import build_model
from pair_fld.models.checkpoint import load_model, save_checkpoint
from pair_fld.models.layers import BranchedDepthwise, Residual, folded
from pair_fld.runtime.metadata import model_metadata


def _config(block: str) -> ModelConfig:
    stages = [[2, 8, 1, 2], [2, 8, 2, 2], [2, 12, 2, 2]]
    return ModelConfig(
        arch="heatmap_net", input_size=32, options={"stem": 8, "width": 8, "stages": stages, "block": block}
    )


def _uneven(module: nn.Module) -> nn.Module:
    """The module in eval mode with batch norms as uneven as trained ones."""
    generator = torch.Generator().manual_seed(0)
    for key, tensor in module.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() == 1:
            low = 0.5 if key.endswith(("weight", "running_var")) else -0.5
            tensor.uniform_(low, low + 1, generator=generator)
    return module.eval()


def test_the_kernel_by_hand() -> None:
    block = BranchedDepthwise(1, 1)
    for norm in (block.wide[1], block.point[1], block.same):
        assert isinstance(norm, nn.BatchNorm2d)
        norm.eps = 0.0
        nn.init.constant_(norm.running_mean, 2.0)  # type: ignore[arg-type]
        nn.init.constant_(norm.running_var, 4.0)  # type: ignore[arg-type]
        nn.init.constant_(norm.weight, 6.0)
        nn.init.constant_(norm.bias, 1.0)
    for branch, value in ((block.wide, 1.0), (block.point, 10.0)):
        nn.init.constant_(branch[0].weight, value)  # type: ignore[arg-type]
    one = block.convolution()
    # each norm multiplies by 6 / sqrt(4) = 3 and adds 1 - 2 * 3 = -5: three biases are -15; the middle of the kernel is
    # 3 (1 + 10 + 1) = 36, all else 3 * 1
    assert one.bias is not None
    assert one.bias.tolist() == [-15.0]
    assert one.weight[0, 0].tolist() == [[3.0, 3.0, 3.0], [3.0, 36.0, 3.0], [3.0, 3.0, 3.0]]


@pytest.mark.parametrize("stride", [1, 2])
def test_folded_branches_compute_the_same(stride: int) -> None:
    block = _uneven(BranchedDepthwise(6, stride))
    x = torch.randn(2, 6, 9, 9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(folded(nn.Sequential(block))(x), block(x), atol=1e-5, rtol=0)


def test_a_net_is_exported_folded_and_stays_as_it_is(tmp_path: Path) -> None:
    config = _config("branched")
    model = _uneven(build_model(config))
    keys = list(model.state_dict())
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    twin = folded(model)
    torch.testing.assert_close(twin(x), model(x), atol=1e-5, rtol=0)
    assert not any(isinstance(layer, BranchedDepthwise) for layer in twin.modules())
    metadata = model_metadata(32, 1.45, "heatmap")
    record = {"config": {"model": config.model_dump(mode="json")}}
    save_checkpoint(tmp_path / "a.pt", {"ema": model.state_dict(), "record": record})
    torch.testing.assert_close(load_model(tmp_path / "a.pt")[0](x), model(x))
    export_onnx(TorchModel(tmp_path / "a.pt").net, 32, tmp_path / "branched.onnx", metadata)
    export_onnx(build_model(_config("depthwise")), 32, tmp_path / "plain.onnx", metadata)
    graphs = [onnx.load(str(tmp_path / f"{name}.onnx")).graph for name in ("branched", "plain")]
    assert [node.op_type for node in graphs[0].node] == [node.op_type for node in graphs[1].node]
    assert list(model.state_dict()) == keys


def test_a_net_without_branches_is_left_alone() -> None:
    model = build_model(_config("depthwise"))
    assert folded(model) is model
    assert not any(".point." in key for key in model.state_dict())


@pytest.mark.parametrize("inputs", [8, 12, 16])
def test_a_dense_block_of_few_channels_trains_channels_last(inputs: int) -> None:
    # torch 2.13 on a CPU ends the process here where the shortcut is a strided convolution of fewer than 16 channels
    block = Residual(inputs, 16, 2).to(memory_format=torch.channels_last)
    x = torch.randn(16, inputs, 32, 32, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    for _ in range(3):
        block(x).square().mean().backward()
    conv = block.skip[0]
    torch.testing.assert_close(block._shortcut(x), block.skip[1](conv(x.detach())))
    assert conv.weight.grad is not None
    assert torch.isfinite(conv.weight.grad).all()
