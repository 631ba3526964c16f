"""Exported nets, session-wide: exporting takes a second each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from pair_fld.export.onnx import export_onnx
from pair_fld.runtime.metadata import model_metadata
from tests.export.tiny_nets import SIZE, Exported, TinyFaceNet, settled

Export = Callable[..., Exported]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """export(module, kind) -> the float ONNX file of a settled module with metadata."""

    def make(module: nn.Module, kind: str = "coords") -> Exported:
        path = tmp_path_factory.mktemp("float") / "net.onnx"
        metadata = model_metadata(SIZE, 1.45, kind, note="ünïcode")
        export_onnx(settled(module), SIZE, path, metadata)
        return Exported(module, path, metadata)

    return make


@pytest.fixture(scope="session", params=["coords", "heatmap"])
def face_net(request: pytest.FixtureRequest, export: Export) -> Exported:
    torch.manual_seed(1)
    return export(TinyFaceNet(request.param), request.param)


@pytest.fixture(scope="session")
def coords_net(export: Export) -> Exported:
    torch.manual_seed(1)
    return export(TinyFaceNet("coords"), "coords")
