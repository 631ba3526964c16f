"""The page of an archive whose detector is of `pairfld train-detector`, in a real browser."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pair_fld.data.synthetic import render_scene
from pair_fld.demo.engine import find_engine
from pair_fld.demo.server import address, open_server
from pair_fld.demo.site import write_site
from pair_fld.errors import PairError
from pair_fld.export.metadata import replace_metadata
from pair_fld.export.onnx import export_onnx
from pair_fld.export.quantization.formats import quantize
from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
from pair_fld.runtime.calibration import DetectorCalibration
from pair_fld.runtime.centre_detector import SIZE_UNIT, TASK, CentreDetector
from pair_fld.runtime.metadata import FORMAT_VERSION, METADATA_TASK, input_metadata
from pair_fld.runtime.search import SearchConfig, search_to_json
from pair_fld.runtime.session import read_metadata
from tests.demo.chromium import PROGRAM, chromium
from tests.demo.test_page import LOADED, choose

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed (apt-get install chromium)"),
]
SIDE, FACE = 128, 0.35  # of a view: the box of everything bright


def faces_on_black(count: int) -> list[np.ndarray]:
    """Images (400, 400, 3) of a face and nothing else."""
    images = []
    for k in range(count):
        scene = render_scene(9, k, 400, faces=1)
        (low, high), mask = (scene.faces[0].min(axis=0), scene.faces[0].max(axis=0)), np.zeros((400, 400), np.uint8)
        centre, reach = (low + high) / 2, (high - low).max() * 0.75
        cv2.circle(mask, (round(centre[0]), round(centre[1])), round(reach), 1, -1)
        images.append(scene.image * mask[:, :, None])
    return images


def brightness_detector(folder: Path, images: list[np.ndarray]) -> Path:
    """A detector file that takes what is bright for a face: one convolution in place of a trained net."""
    net = torch.nn.Conv2d(3, 5, 24, stride=8, padding=8)
    with torch.no_grad():
        net.weight.zero_()
        net.weight[0] = 4 / (3 * 24 * 24)
        net.bias.copy_(torch.tensor([3.0, 0, 0, np.log(FACE) / SIZE_UNIT, np.log(FACE) / SIZE_UNIT]))
    search = SearchConfig(zooms=(1.0,), tiles=(), turned="never")
    metadata = {
        "format_version": FORMAT_VERSION, METADATA_TASK: TASK, "name": "bright", "input": input_metadata(SIDE),
        "search": search_to_json(search),
    }  # fmt: skip
    export_onnx(net, SIDE, folder / "plain.onnx", metadata)
    views = np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images])
    (written,) = quantize(folder / "plain.onnx", folder, views, ["int8-static"], formats=["tflite"])
    return written.path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An unpacked archive: the shipped model with that detector."""
    folder = tmp_path / "own"
    with unpacked(shipped_archive()) as weights:
        shutil.copytree(weights, folder)
    (folder / "detector.onnx").unlink(missing_ok=True)
    detector = brightness_detector(tmp_path, faces_on_black(4))
    shutil.copyfile(detector, folder / "detector.tflite")
    metadata = read_metadata(folder / "model.tflite")
    nothing = DetectorCalibration("bright", (), np.zeros((0, 2)), np.zeros(0), np.zeros(4), np.eye(4))
    metadata["crop"]["detector_calibration"] = nothing.to_json()
    replace_metadata(folder / "model.tflite", metadata)
    return folder


def test_an_own_detector_gives_python_s_faces(archive: Path, tmp_path: Path) -> None:
    try:
        find_engine(None, lambda _: None)
    except PairError as error:
        pytest.skip(f"LiteRT for the web cannot be had: {error}")
    (pipeline,) = open_pipelines(archive, archive, 1)
    assert isinstance(pipeline.detector, CentreDetector)
    write_site(archive, tmp_path / "site")
    apart = []
    with open_server(tmp_path / "site") as server, chromium(tmp_path / "profile") as page:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            page.open(address(server))
            page.evaluate(LOADED)
            for k, image in enumerate(faces_on_black(4)):
                cv2.imwrite(str(tmp_path / f"{k}.png"), image)
                found, expected = choose(page, tmp_path / f"{k}.png"), pipeline.faces(image)
                assert len(found) == len(expected)
                for theirs, face in zip(found, expected, strict=True):
                    apart.append(np.hypot(*(np.array(theirs["points"]) - face.points).T).max())
            assert page.messages == []
        finally:
            server.shutdown()
    assert len(apart) >= 3
    assert max(apart) < 0.5
