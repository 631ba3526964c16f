"""Machines unlike those that this was written on, each played in a process of its own.

torchvision: of the same build as torch (its operators load), of another build (they do not), absent, broken.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

# What `import torchvision` does to torch's registry of operators, by kind of wheel. The compiled library of a matching
# wheel declares the namespace itself; where it does not load, torchvision/_meta_registrations.py looks for its schemas.
_REGISTER_FAKE = """
import torch, torchvision.extension
@torch.library.register_fake("torchvision::nms")
def meta_nms(dets, scores, iou_threshold): ...
"""
_MATCHING = """
import torch
operators = torch.library.Library("torchvision", "DEF")
operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
TORCHVISION = {
    "matching": _MATCHING + _REGISTER_FAKE,
    "mismatched": _REGISTER_FAKE,
    "absent": "raise ModuleNotFoundError(\"No module named 'torchvision'\", name='torchvision')",
    "broken": "raise RuntimeError('compiled with different CUDA major versions')",
}
_TIMM = ("", "optim", "scheduler", "utils", "layers", "models", "models/mobilevit")


def run(
    arguments: list[str], *paths: Path, cwd: Path = REPOSITORY, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Python with `arguments`, `paths` before everything else on its path."""
    path = os.pathsep.join(str(p) for p in (*paths, REPOSITORY))
    surroundings = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=surroundings, capture_output=True, text=True, timeout=300
    )


def stand_in(folder: Path, kind: str) -> Path:
    """A folder with a torchvision of that kind, and a timm that does no more than import it."""
    files = {"torchvision/__init__.py": TORCHVISION[kind], "torchvision/extension.py": ""}
    files |= {f"timm/{module}/__init__.py": "import torchvision" for module in _TIMM}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("kind", ["matching", "mismatched"])
def test_timm_imports_beside_either_torchvision(tmp_path: Path, kind: str) -> None:
    script = "import torch; from pair_fld.models.timm_compat import timm; timm(); print(torch.ops.torchvision.nms)"
    done = run(["-c", script], stand_in(tmp_path, kind))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "torchvision.nms"


def test_commands_and_networks_import_neither_timm_nor_torchvision() -> None:
    script = (
        "import sys, pair_fld.cli.app\n"
        "from pair_fld.config import ModelConfig; from pair_fld.models import build_model\n"
        "import pair_fld.train.trainer, pair_fld.face_detector.train, pair_fld.export.quantization.qat\n"
        "build_model(ModelConfig(arch='coord_net', input_size=32, options={'stem': 8, 'stages': [[1, 8, 1, 2]]}))\n"
        "print(sorted({'timm', 'torchvision'} & set(sys.modules)))"
    )
    done = run(["-c", script])
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("kind", "found"),
    [("absent", "No module named 'torchvision'"), ("broken", "compiled with different CUDA major versions")],
)
def test_a_torchvision_that_does_not_import_is_a_sentence(
    tmp_path: Path, dot_pack: Path, kind: str, found: str
) -> None:
    command = ["-m", "pair_fld", "train-teacher", "--data", str(dot_pack), "--work", str(tmp_path / "w")]
    small = ["teacher.model.arch=coord_net", "teacher.model.input_size=32", "teacher.model.options={}"]
    done = run([*command, *small, "teacher.train.losses={wing: 1}"], stand_in(tmp_path, kind))
    assert done.returncode == 2, done.stderr
    assert found in done.stderr
    assert "pip install torch torchvision" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
