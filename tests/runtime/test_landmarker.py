"""The Python interface from the package and from an unpacked archive: the same class, the same faces, few imports."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import pair_fld
from pair_fld.data.synthetic import render_scene
from pair_fld.inference.archive import shipped_archive

LIGHT = {"cv2", "numpy", "ai_edge_litert", "onnxruntime", "tflite_runtime"}
SCRIPT = """
import json, sys
from {package} import Landmarker
[face] = Landmarker()({image!r})
video = Landmarker(mode="video")
followed = [*video({image!r}), *video({image!r})]
print(json.dumps([sorted({{name.partition(".")[0] for name in sys.modules}}), face.points.tolist(),
                  face.identity, [f.identity for f in followed]]))
"""


def run(package: str, image: Path, folder: Path) -> tuple[set[str], np.ndarray, None, list[int]]:
    """Modules, points and identities of a process of its own that works in `folder`."""
    command = [sys.executable, "-c", SCRIPT.format(package=package, image=str(image))]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    modules, points, *identities = json.loads(done.stdout)
    return set(modules) - set(sys.stdlib_module_names), np.array(points), *identities


def test_an_unpacked_archive_and_the_package_give_the_same_with_few_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(pair_fld.__file__).parent
    monkeypatch.setenv("PYTHONPATH", str(root.parent))
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), render_scene(1, 1, 512, faces=1).image)
    with zipfile.ZipFile(shipped_archive()) as packed:
        packed.extractall(tmp_path / "archive")
    shutil.rmtree(tmp_path / "archive/runtime")
    shutil.copytree(root / "runtime", tmp_path / "archive/runtime")  # as the next archive will have it
    of_package = run("pair_fld", image, tmp_path)
    of_archive = run("runtime", image, tmp_path / "archive")
    third_parties = {name for name in of_package[0] if not name.startswith("_")}
    assert "numpy" in third_parties
    assert third_parties <= LIGHT | {"pair_fld"}
    assert "pair_fld" not in of_archive[0]
    assert np.array_equal(of_package[1], of_archive[1])
    assert of_package[2:] == of_archive[2:] == (None, [1, 1])


def test_what_is_no_mode_and_a_time_that_stands_still_are_refused() -> None:
    with pytest.raises(ValueError, match="mode: expected one of image, video, found 'stream'"):
        pair_fld.Landmarker(mode="stream")
    landmarker = pair_fld.Landmarker(mode="video")
    black = np.zeros((64, 64, 3), np.uint8)
    assert landmarker(black, 0.0) == landmarker(black, 0.1) == []
    with pytest.raises(ValueError, match=r"expected a time after 0\.1 s, found 0\.1 s"):
        landmarker(black, 0.1)
