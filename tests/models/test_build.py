"""Networks: decoders against their numpy twin and hand-worked numbers, shapes, wording."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pair_fld.config import ModelConfig
from pair_fld.errors import PairError
from pair_fld.models import build_model
from pair_fld.models.build import ARCHITECTURES, soft_argmax
from pair_fld.runtime.codec import decode_soft_argmax


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
    np.testing.assert_allclose(soft_argmax(logits)[0].numpy(), decode_soft_argmax(logits.numpy()), atol=2e-6)


def test_soft_argmax_covariance_is_that_of_the_distribution() -> None:
    # weights 3/4 at (0, 0) and 1/4 at (1, 1) of a 2 x 2 map, centres -1/2 and 1/2: mean -1/4, every entry of the
    # covariance is p (1 - p) = 3/16
    logits = torch.tensor([[[[math.log(3.0), -100.0], [-100.0, 0.0]]]])
    mean, covariance = soft_argmax(logits)
    torch.testing.assert_close(mean[0, 0], torch.tensor([-0.25, -0.25]), atol=1e-6, rtol=0)
    torch.testing.assert_close(covariance[0, 0], torch.full((2, 2), 3 / 16), atol=1e-6, rtol=0)


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_every_architecture_gives_51_points(arch: str) -> None:
    net = build_model(ModelConfig(arch=arch, input_size=64)).eval()
    with torch.no_grad():
        output = net(torch.zeros(2, 3, 64, 64))
    assert net.points(output).shape == (2, 51, 2)
    assert output.ndim == (4 if net.output_kind == "heatmap" else 3)


def test_faults_name_the_remedy() -> None:
    with pytest.raises(PairError, match=r"expected one of .*coord_net"):
        build_model(ModelConfig(arch="nonsense"))
    with pytest.raises(PairError, match="unexpected keyword argument 'colour'"):
        build_model(ModelConfig(arch="coord_net", options={"colour": 1}))
