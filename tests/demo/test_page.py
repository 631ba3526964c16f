"""The page in a real browser: it finds what Python finds, says nothing on the console, and asks nobody else."""

from __future__ import annotations

import base64
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np
import pytest

import pair_fld
from pair_fld.data.synthetic import render_scene
from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
from pair_fld.runtime.frame import frame_matrix
from pair_fld.runtime.geometry import warp
from pair_fld.runtime.pipeline import Pipeline
from tests.demo.chromium import PROGRAM, Page, chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed (apt-get install chromium)"),
]
IMAGES = 20
LOADED = (
    "import('/main.js').then(async m => { window.page = m; window.pipeline = (await m.ready).pipeline; return 1; })"
)


@pytest.fixture(scope="module")
def page(site: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as opened:
        opened.open(site)
        opened.wait(f"document.readyState === 'complete' && {LOADED}")
        yield opened


@pytest.fixture(scope="module")
def pipeline() -> Generator[Pipeline]:
    with unpacked(shipped_archive()) as folder:
        yield open_pipelines(folder, shipped_archive(), 1)[0]


def choose(page: Page, path: Path) -> list[dict[str, list[list[float]]]]:
    """The faces that the page shows for a file that a person chooses."""
    page.evaluate("page.state.frames = 0")
    document = page.send("DOM.getDocument")["root"]["nodeId"]
    node = page.send("DOM.querySelector", nodeId=document, selector="#file")["nodeId"]
    page.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])
    page.wait("page.state.frames > 0")
    return page.evaluate("page.state.faces")


def test_the_same_crop_gives_the_same_points(page: Page, pipeline: Pipeline) -> None:
    image = render_scene(5, 1, 512, faces=1).image
    (face,) = pipeline.faces(image)
    crop = warp(image, frame_matrix(face.frame, pipeline.model.input_size, pipeline.model.margin), 96)
    text = base64.b64encode(crop[:, :, ::-1].tobytes()).decode()
    got = page.evaluate(
        f"""(async () => {{
          const {{ decode, toInput }} = await import("/codec.js");
          const {{ input, kind, size }} = pipeline.archive.model;
          const crop = Uint8Array.from(atob("{text}"), (c) => c.charCodeAt(0));
          const [output] = await pipeline.model.run(toInput(crop, input, pipeline.model.inputType));
          return decode(output.data, output.shape, {{ kind, size }}).points;
        }})()"""
    )
    points, _ = pipeline.model.locate(crop[None])
    assert np.abs(np.array(got) - points[0]).max() < 1e-3  # crop pixels


def test_images_give_python_s_faces(page: Page, tmp_path: Path) -> None:
    landmarker, apart, size = pair_fld.load(), [], []
    for k in range(IMAGES):
        image = render_scene(5, k, (320, 400, 512)[k % 3], faces=0 if k == 4 else 1 + k % 2).image
        cv2.imwrite(str(tmp_path / f"{k}.png"), image)
        got, expected = choose(page, tmp_path / f"{k}.png"), landmarker(image)
        assert len(got) == len(expected)
        for theirs, face in zip(got, expected, strict=True):
            apart.append(np.hypot(*(np.array(theirs["points"]) - face.points).T).mean())
            size.append(face.frame.size)
    # The two detectors agree to 1e-4 pixels, so some pixels of a crop fall to the next grey level, and an int8 network
    # takes one such step in one pixel for half a pixel in some point. The mean over a face's points is steadier.
    assert len(apart) >= IMAGES - 1
    assert np.median(apart) < 0.5
    assert (np.array(apart) < np.maximum(0.5, 0.01 * np.array(size))).all()


def test_nothing_was_said_and_nobody_else_asked(page: Page, site: str) -> None:
    assert page.messages == []
    assert page.requests
    assert all(url.startswith((site, "blob:", "data:")) for url in page.requests)
    # the browser itself would refuse
    refused = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => error.name)")
    assert refused == "TypeError"
    assert any("Content Security Policy" in text for _, text in page.messages)
