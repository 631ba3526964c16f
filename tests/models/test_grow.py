"""A larger net starts as the smaller one that it grew from."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pair_fld.config import ModelConfig, StageConfig, load_section
from pair_fld.errors import PairError
from pair_fld.models import LandmarkNet, build_model
from pair_fld.models.grow import grow

STAGES = [[2, 8, 1, 2], [2, 12, 2, 2], [2, 16, 1, 2]]


def _config(input_size: int = 32, **options: Any) -> ModelConfig:
    return ModelConfig(arch="heatmap_net", input_size=input_size, options={"stem": 8, "width": 8} | options)


def _trained(config: ModelConfig) -> LandmarkNet:
    """A net whose batch norms are as uneven as a trained one's."""
    model, generator = build_model(config), torch.Generator().manual_seed(0)
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() == 1:
            low = 0.5 if key.endswith(("weight", "running_var")) else -0.5
            tensor.uniform_(low, low + 1, generator=generator)
    return model.eval()


@pytest.mark.parametrize(
    ("changes", "added"),
    [
        ({"stages": [[2, 8, 3, 2], [2, 12, 2, 2], [2, 16, 2, 2]]}, 3),
        ({"stem": 12, "width": 16, "stages": [[3, 16, 1, 2], [2, 12, 2, 2], [4, 24, 1, 2]]}, 0),
        ({"block": "dense", "stages": [[1, 8, 2, 2], [1, 20, 2, 2], [1, 16, 2, 2]]}, 2),
    ],
)
def test_a_wider_and_deeper_net_computes_the_same(changes: dict[str, Any], added: int) -> None:
    block = changes.get("block", "depthwise")
    smaller = _trained(_config(stages=STAGES, block=block))
    larger = build_model(_config(64, **changes))
    growth = grow(larger, smaller.state_dict(), smaller.config)
    assert (growth.same, growth.added, growth.left_out) == (True, added, 0)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(larger.eval()(x), smaller(x), atol=2e-5, rtol=0)


def test_small_starts_near_tiny() -> None:
    tiny, small = (load_section(StageConfig, "student", name).model for name in ("tiny", "small"))
    growth = grow(build_model(small), build_model(tiny).state_dict(), tiny)
    # small has blocks 1, 2, 5, 5 where tiny has 2, 3, 4, 3: two are lost, 1 + 2 are new
    assert (growth.added, growth.left_out, growth.unlike, growth.same) == (3, 2, 0, False)
    # a block of c channels and h hidden ones has 2 c h + 17 h + 4 c numbers: 37,376 of (64, 256), 94,016 of (104, 416);
    # the added ones have 37,376 + 2 x 94,016 = 225,408 of small's 645,027
    assert str(growth) == (
        "65 % of the net's weights are taken over, 3 added blocks start as identities, 2 blocks of the smaller net are "
        "left out: it starts near it, not equal to it"
    )


def test_what_does_not_fit_starts_anew_and_is_said() -> None:
    smaller = _trained(_config(stages=STAGES))
    # a narrower stage, and a block that has a shortcut now
    larger = build_model(_config(stages=[[2, 8, 1, 2], [2, 12, 2, 2], [2, 12, 1, 1]]))
    growth = grow(larger, smaller.state_dict(), smaller.config)
    assert growth.unlike > 0
    assert not growth.same
    assert "have no counterpart and start anew: it starts near it" in str(growth)
    coords = ModelConfig(arch="coord_net", input_size=32, options={"stem": 8, "stages": [[1, 8, 1, 2]], "neck": 8})
    with pytest.raises(PairError, match="expected a heatmap_net into a heatmap_net, found a heatmap_net into a coord"):
        grow(build_model(coords), smaller.state_dict(), smaller.config)
