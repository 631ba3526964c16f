"""Machines unlike those that this was written on, each played in a process of its own.

torchvision of the same build as torch (its operators load), of another build (they do not), absent, broken; a machine
without shared memory, a writable home, a second core or Unicode, where every path has spaces and letters beyond ASCII.
"""

from __future__ import annotations

import os
import shutil
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
    inherited = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    surroundings = inherited | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment
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
    command = ["-m", "pair_fld", "train-teacher", "--dataset", str(dot_pack), "--work", str(tmp_path / "w")]
    small = ["teacher.model.arch=coord_net", "teacher.model.input_size=32", "teacher.model.options={}"]
    done = run([*command, *small, "teacher.train.losses={wing: 1}"], stand_in(tmp_path, kind))
    assert done.returncode == 2, done.stderr
    assert found in done.stderr
    assert "pip install torch torchvision" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("package", "failure", "sentence"),
    [
        (
            "cv2",
            "ImportError('libGL.so.1: cannot open shared object file')",
            "expected packages that Python can import",
        ),
        (
            "torch",
            "ModuleNotFoundError(\"No module named 'torch'\", name='torch')",
            "needs the package torch, which is",
        ),
    ],
)
def test_a_package_that_does_not_import_is_a_sentence(
    tmp_path: Path, package: str, failure: str, sentence: str
) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(f"raise {failure}")
    done = run(["-m", "pair_fld", "train-teacher", "--work", str(tmp_path / "w")], tmp_path)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


# A machine with one core that has no /dev/shm, where semaphores would lie.
_POOR = """
import errno, os, _multiprocessing
os.cpu_count = lambda: 1
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
class SemLock(_multiprocessing.SemLock):
    def __new__(cls, *arguments):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
_multiprocessing.SemLock = SemLock
"""
_ODD = "spaces and späces"


@pytest.fixture
def odd_machine(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A copy of the package in a folder with an odd name, and the environment of a machine that has little."""
    folder = tmp_path / _ODD
    for name in ("pair_fld", "configs", "tests", "pyproject.toml"):
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        (folder / "repository é").mkdir(parents=True, exist_ok=True)
        copy(source, folder / "repository é" / name)
    (folder / "temporary ö").mkdir()
    (folder / "poor").mkdir()
    (folder / "poor/sitecustomize.py").write_text(_POOR)
    nowhere = "/proc/nowhere" if Path("/proc").is_dir() else "/dev/null/nowhere"  # not even root writes there
    environment = {name: nowhere for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    environment |= {"TMPDIR": str(folder / "temporary ö"), "LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii"}
    return folder / "repository é", environment


def _run_odd(odd_machine: tuple[Path, dict[str, str]], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    folder, environment = odd_machine
    return run(arguments, folder.parent / "poor", folder, cwd=folder, **environment)


def test_faces_are_loaded_where_there_is_no_shared_memory(odd_machine: tuple[Path, dict[str, str]]) -> None:
    work = odd_machine[0] / "faces"
    changes = ["data.num_workers=2", "data.sources.0.count=130", "data.sources.1.count=2"]  # two parts
    done = _run_odd(odd_machine, ["-m", "pair_fld", "prepare", "--work", str(work), *changes])
    assert done.returncode == 0, done.stderr
    assert (work / "data/faces.npz").is_file()
    assert done.stderr.isascii()


@pytest.mark.slow
def test_the_whole_chain_runs_on_a_poor_machine(odd_machine: tuple[Path, dict[str, str]]) -> None:
    done = _run_odd(odd_machine, ["-m", "pytest", "-p", "no:cacheprovider", "tests/cli/test_chain.py"])
    assert done.returncode == 0, done.stdout


def test_onnx_runtime_sends_and_stores_nothing(tmp_path: Path) -> None:
    """By default it makes a device identifier below the cache folder when it is imported."""
    homes = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME")}
    for module in ("pair_fld", "pair_fld.runtime"):
        done = run(["-c", f"import {module}, onnxruntime"], **homes)
        assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
