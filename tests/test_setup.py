"""`make setup`: which builds of torch it takes, and what it says before; make in folders with any name."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SCRIPT = REPOSITORY / ".setup/install_torch.py"


def _wheel(folder: Path, name: str, version: str, *needs: str, filler: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: Tensors — quickly",
        *(f"Requires-Dist: {need}" for need in needs),
    ]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
        wheel.writestr(f"{name}/filler", bytes(filler))  # stored, not compressed


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with two indexes: `ordinary` has CUDA builds of 0.1 GB, `cpu` has CPU builds."""
    folder = tmp_path_factory.mktemp("indexes")
    _wheel(folder / "ordinary/torch", "torch", "2.13.0", "nvidia-cublas")
    _wheel(folder / "ordinary/nvidia-cublas", "nvidia_cublas", "13.0", filler=100_000_000)
    _wheel(folder / "cpu/torch", "torch", "2.13.0+cpu")
    for name, version in (("ordinary", "0.28.0"), ("cpu", "0.28.0+cpu")):
        _wheel(folder / name / "torchvision", "torchvision", version, "torch==2.13.0")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _say(*options: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    command = [sys.executable, str(SCRIPT), "--ignore-installed", "--retries", "0", *options]
    environment = clean | {"PIP_CONFIG_FILE": os.devnull, "PYTHONIOENCODING": "ascii"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_the_cpu_build_is_taken_where_there_is_one(index: str) -> None:
    done = _say("--say-only", "--index-url", f"{index}/ordinary", "--index", f"{index}/cpu")
    assert done.stdout.startswith("torch 2.13.0+cpu and torchvision 0.28.0+cpu: CPU build, 0.0 GB"), done.stderr


def test_a_cuda_build_says_how_large_it_is(index: str) -> None:
    done = _say("--say-only", "--index-url", f"{index}/ordinary")
    # 0.1 GB, unpacked 0.1 * 1.75 = 0.175
    expected = "torch 2.13.0 and torchvision 0.28.0: CUDA build, 0.1 GB to download, 0.2 GB on the disk"
    assert done.stdout.startswith(expected), done.stderr


def test_an_index_that_does_not_answer_is_left_out(index: str) -> None:
    done = _say("--say-only", "--index-url", f"{index}/ordinary", "--index", f"{index}/nowhere")
    first, second = done.stdout.splitlines()
    assert first == f"no answer from {index}/nowhere: taking what pip's ordinary index offers"
    assert second.startswith("torch 2.13.0 and")


def test_without_a_network_pip_has_the_last_word() -> None:
    done = _say("--no-index", "--index", "http://127.0.0.1:9")
    assert "cannot tell what there is to download" in done.stdout
    assert "No matching distribution found for torch" in done.stderr
    assert done.returncode == 1


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_quotes_every_path(tmp_path: Path) -> None:
    folder = tmp_path / "ä b/env"
    options = ["setup", "test", "lint", "prepare", "package", "distclean", f"VENV={folder}", "DATA=/the data"]
    plan = subprocess.run(
        ["make", "-n", *options], cwd=REPOSITORY, capture_output=True, text=True, encoding="utf-8", timeout=60
    ).stdout
    lines = [line for line in plan.splitlines() if str(folder) in line]
    assert len(lines) >= 12
    for line in lines:
        assert line.count(str(folder)) == line.count(f'"{folder}'), line
    assert '--root "/the data"' in plan
    # a finished setup is known by its file, which make finds whatever its folder is called
    folder.mkdir(parents=True)
    asked = ["make", "-q", "setup", f"VENV={folder}"]
    assert subprocess.run(asked, cwd=REPOSITORY, capture_output=True, timeout=60).returncode == 1
    (folder / ".done").touch()
    assert subprocess.run(asked, cwd=REPOSITORY, capture_output=True, timeout=60).returncode == 0


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize("name", ["nano", "tiny", "small"])
def test_each_student_that_ships_has_one_command(name: str) -> None:
    call = ["make", "-n", name, "DATA=faces"]
    plan = subprocess.run(call, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60).stdout
    stages = re.findall(r'pairfld" ([a-z-]+) (.*)', plan.replace("\\\n", " "))
    assert [verb for verb, _ in stages][-4:] == ["prepare", "train-teacher", "quantize", "package"]
    for verb, options in stages[-4:]:
        assert f"student={name} teacher=configs/student/{name}.yaml" in options, verb
        assert '--recipe "family"' in options, verb
        assert '"data.root=faces"' in options, verb
    assert (REPOSITORY / f"configs/student/{name}.yaml").is_file()


def test_an_editable_installation_of_any_path_lets_python_start(tmp_path: Path) -> None:
    """With LC_ALL=C, Python 3.11 took a .pth file with a letter beyond ASCII for a fatal error."""
    package = tmp_path / "zoë's"
    package.mkdir()
    (tmp_path / "_package.pth").write_text(f"{package}\n", encoding="utf-8")
    (tmp_path / "other.pth").write_text("import sys\n")
    subprocess.run([sys.executable, str(REPOSITORY / ".setup/ascii_paths.py"), str(tmp_path)], check=True, timeout=60)
    script = "import site, sys; site.addsitedir(sys.argv[1]); print(ascii(sys.path[-1]))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, str(tmp_path)],
        env=os.environ | {"LC_ALL": "C"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == ascii(str(package)), done.stderr
    assert (tmp_path / "other.pth").read_text() == "import sys\n"
