"""Networks: decoders against their numpy twin and hand-worked numbers, shapes, wording."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pair_fld.config import ModelConfig
from pair_fld.errors import PairError
from pair_fld.models import build_model
from pair_fld.models.heads import AttentionHead
from pair_fld.models.landmark_net import ARCHITECTURES, simcc_mean, soft_argmax
from pair_fld.runtime.codec import heatmap_moments, simcc_moments
from pair_fld.runtime.scheme import REGIONS


def test_soft_argmax_by_hand() -> None:
    # A 3 x 3 map with weights 1/2 at (row 0, column 2) and 1/2 at (row 2, column 2): cell centres are -2/3, 0, 2/3.
    logits = torch.full((1, 1, 3, 3), -100.0)
    logits[0, 0, 0, 2] = logits[0, 0, 2, 2] = 0.0
    mean, covariance = soft_argmax(logits)
    # mean x = 2/3; mean y = (-2/3 + 2/3) / 2 = 0; var y = (4/9 + 4/9) / 2 = 4/9; var x = cov = 0
    torch.testing.assert_close(mean[0, 0], torch.tensor([2 / 3, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(covariance[0, 0], torch.tensor([[0.0, 0.0], [0.0, 4 / 9]]), atol=1e-6, rtol=0)


def test_soft_argmax_equals_the_runtime_codec() -> None:
    logits = torch.randn(3, 51, 12, 16, generator=torch.Generator().manual_seed(0)) * 4
    np.testing.assert_allclose(soft_argmax(logits)[0].numpy(), heatmap_moments(logits.numpy())[0], atol=2e-6)


def test_soft_argmax_covariance_is_that_of_the_distribution() -> None:
    # weights 3/4 at (0, 0) and 1/4 at (1, 1) of a 2 x 2 map, centres -1/2 and 1/2: mean -1/4, every entry of the
    # covariance is p (1 - p) = 3/16
    logits = torch.tensor([[[[math.log(3.0), -100.0], [-100.0, 0.0]]]])
    mean, covariance = soft_argmax(logits)
    torch.testing.assert_close(mean[0, 0], torch.tensor([-0.25, -0.25]), atol=1e-6, rtol=0)
    torch.testing.assert_close(covariance[0, 0], torch.full((2, 2), 3 / 16), atol=1e-6, rtol=0)


SWIN = {"backbone": "swinv2_tiny_window8_256", "stride": 4, "backbone_options": {
    "window_size": 4, "embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]}}  # fmt: skip
HRNET = {"backbone": "hrnet_w18_small", "stride": 4, "backbone_options": {"feature_location": ""}}
CASES: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("heatmap_unet", {}, (51, 16, 16)),
    ("heatmap_unet", {"head": "attention"}, (51, 16, 16)),
    ("hourglass", {"width": 16, "depth": 2}, (51, 16, 16)),
    ("hourglass", {"width": 16, "depth": 2, "stacks": 2}, (51, 16, 16)),
    ("timm", {}, (51, 8, 8)),
    ("timm", {"stride": 4, "head": "attention"}, (51, 16, 16)),
    ("timm", SWIN, (51, 16, 16)),
    ("timm", HRNET, (51, 16, 16)),
    ("coord_net", {}, (51, 2)),
    ("heatmap_net", {}, (51, 8, 8)),
    ("simcc_net", {}, (51, 256)),
]


def test_every_architecture_has_a_case() -> None:
    assert {arch for arch, _, _ in CASES} == set(ARCHITECTURES)


@pytest.mark.parametrize(("arch", "options", "shape"), CASES)
def test_raw_outputs_points_and_what_training_sees(arch: str, options: dict, shape: tuple[int, ...]) -> None:
    net = build_model(ModelConfig(arch=arch, input_size=64, options=options)).eval()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        outputs, raw = net.outputs(x), net(x)
    assert raw.shape == (2, *shape)
    torch.testing.assert_close(outputs.raw, raw)
    points, covariance = net.distribution(raw)
    assert (points.shape, covariance.shape) == ((2, 51, 2), (2, 51, 2, 2))
    assert (torch.linalg.eigvalsh(covariance) > -1e-6).all()
    assert outputs.feature is not None
    assert outputs.feature.shape[1] == net.feature_channels
    stacks = options.get("stacks", 1)
    assert net.has_maps == (outputs.edge_maps is not None)
    if net.has_maps:
        assert outputs.fused is not None
        assert outputs.point_maps is not None
        assert outputs.edge_maps is not None
        assert outputs.fused.shape == outputs.point_maps.shape == (2, stacks, *shape)
        assert outputs.edge_maps.shape == (2, stacks, 8, *shape[1:])
        torch.testing.assert_close(outputs.fused[:, -1], raw)


def test_attention_fuses_as_the_paper_says() -> None:
    """softmax of the raw output is heatmap x point map x edge map of the point's curve, over its own sum."""
    head = AttentionHead(4).eval()
    x = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        fused, points, edges = head.maps(x)
        heat = head.out(head.hidden(x))[:, :51]
    curves = list(REGIONS)
    for point, curve in ((0, "brow_left"), (12, "nose_bridge"), (28, "eye_right"), (43, "lip_inner")):
        mask = torch.sigmoid(points[0, point]) * torch.sigmoid(edges[0, curves.index(curve)])
        product = torch.sigmoid(heat[0, point]) * mask
        torch.testing.assert_close(fused[0, point].exp(), product)
        expected = (product / product.sum()).flatten()
        torch.testing.assert_close(torch.softmax(fused[0, point].flatten(), 0), expected)


def test_simcc_mean_equals_the_runtime_codec() -> None:
    logits = torch.randn(3, 51, 48, generator=torch.Generator().manual_seed(0)) * 4
    mean, variance = simcc_mean(logits)
    np.testing.assert_allclose(mean.numpy(), simcc_moments(logits.numpy())[0], atol=2e-6)
    # two bins, centres -1/2 and 1/2, with 3/4 and 1/4 in x: variance 3/16; y is certain
    _, variance = simcc_mean(torch.tensor([[[math.log(3.0), 0.0, 0.0, -100.0]]]))
    torch.testing.assert_close(variance, torch.tensor([[[3 / 16, 0.0]]]), atol=1e-6, rtol=0)


def test_errors_name_the_remedy() -> None:
    with pytest.raises(PairError, match=r"expected one of .*coord_net"):
        build_model(ModelConfig(arch="nonsense"))
    with pytest.raises(PairError, match="unexpected keyword argument 'colour'"):
        build_model(ModelConfig(arch="coord_net", options={"colour": 1}))
    for arch, options, expected in (
        ("hourglass", {"depth": 5}, "input_size 96 is no multiple of 128, as depth 5 needs"),
        ("timm", {"stride": 3}, r"has maps of strides \[2, 4, 8, 16, 32\], none of 3"),
        ("heatmap_unet", {"head": "round"}, "head 'round' is none of plain, attention"),
    ):
        with pytest.raises(PairError, match=expected):
            build_model(ModelConfig(arch=arch, input_size=96 if arch == "hourglass" else 64, options=options))
