"""torch to ONNX: same numbers, free batch, no BatchNorm, metadata, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pair_fld.errors import PairError
from pair_fld.export.onnx import export_onnx, get_metadata, load_onnx
from pair_fld.runtime.metadata import METADATA_KEY, model_metadata
from pair_fld.runtime.session import load_model
from tests.export.tiny_nets import SIZE, Exported, TinyFaceNet, random_crops, raw_outputs

META = model_metadata(SIZE, 1.45, "coords")


def test_torch_and_onnx_agree_for_any_batch(face_net: Exported) -> None:
    crops = random_crops(5)
    expected = face_net.torch_outputs(crops)
    assert expected.std() > 0.01  # not a constant
    np.testing.assert_allclose(raw_outputs(face_net.path, crops), expected, atol=1e-5)
    np.testing.assert_allclose(raw_outputs(face_net.path, crops[:1]), expected[:1], atol=1e-5)


def test_the_graph_is_plain(face_net: Exported) -> None:
    model = onnx.load(str(face_net.path))
    assert {node.op_type for node in model.graph.node} <= {"Conv", "Relu", "Clip", "Add", "Resize", "Concat", "Reshape"}
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["output"]
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == ["batch", 3, SIZE, SIZE]


def test_metadata_travels(coords_net: Exported) -> None:
    model = onnx.load(str(coords_net.path))
    (entry,) = [e for e in model.metadata_props if e.key == METADATA_KEY]
    assert json.loads(entry.value) == coords_net.metadata == get_metadata(model)
    opened = load_model(coords_net.path)
    assert opened.metadata["note"] == "ünïcode"
    assert opened.predict(random_crops(2)).shape == (2, 51, 2)


def test_the_training_flag_returns(tmp_path: Path) -> None:
    module = TinyFaceNet("heatmap").train()
    export_onnx(module, SIZE, tmp_path / "a.onnx", META, output_name="logits")
    assert module.training
    assert module.stem[1].training
    assert load_onnx(tmp_path / "a.onnx").graph.output[0].name == "logits"


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x * 2


class Moody(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class LoneNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.relu(self.norm(x)))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Pair(), "expected a module with one output tensor, found 2"),
        (Moody(), "expected a module that torch.onnx can trace"),
    ],
)
def test_what_cannot_be_exported(module: nn.Module, message: str, tmp_path: Path) -> None:
    path = tmp_path / "b.onnx"
    with pytest.raises(PairError, match=message):
        export_onnx(module, SIZE, path, META)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_norm_that_cannot_be_folded(tmp_path: Path) -> None:
    with pytest.raises(PairError, match=r"expected BatchNorms folded.*Put each BatchNorm directly after"):
        export_onnx(LoneNorm(), SIZE, tmp_path / "c.onnx", META)
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "d.onnx").write_bytes(b"\xff\xfe not a model")
    with pytest.raises(PairError, match="expected an ONNX file, found truncated or damaged"):
        load_onnx(tmp_path / "d.onnx")
    with pytest.raises(PairError, match="found no such file"):
        load_onnx(tmp_path / "e.onnx")
    (tmp_path / "f.onnx").write_bytes(b"\x08\x08")  # an IR version, and nothing else
    with pytest.raises(PairError, match="expected an ONNX graph, found no operators"):
        load_onnx(tmp_path / "f.onnx")
