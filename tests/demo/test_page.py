"""The page in a real browser: it finds what Python finds, says nothing on the console, and asks nobody else."""

from __future__ import annotations

import base64
import threading
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.data.synthetic import render_scene
from pair_fld.demo.measurements import read_measurements
from pair_fld.demo.server import address, open_server
from pair_fld.demo.site import write_site
from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
from pair_fld.runtime.frame import frame_matrix
from pair_fld.runtime.geometry import warp
from pair_fld.runtime.pipeline import Pipeline
from pair_fld.runtime.tracker import Tracker
from tests.demo.chromium import PROGRAM, Page, chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed (apt-get install chromium)"),
]
IMAGES = 20
LOADED = (
    "import('/main.js').then(async m => { window.page = m; window.pipeline = (await m.ready).pipeline; return 1; })"
)


def moving(count: int) -> list[np.ndarray]:
    """Frames (240, 320, 3) in which a face moves to the right and turns."""
    image = render_scene(5, 1, 320, faces=1).image
    frames = []
    for k in range(count):
        matrix = cv2.getRotationMatrix2D((160.0, 160.0), -2.0 * k, 0.9)
        matrix[:, 2] += (3.0 * k - 10, -40)
        frames.append(cv2.warpAffine(image, matrix, (320, 240), borderMode=cv2.BORDER_REPLICATE))
    return frames


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Chromium shows as a camera: an uncompressed video that goes to and fro."""
    frames = moving(12)
    path = tmp_path_factory.mktemp("camera") / "face.y4m"
    with path.open("wb") as stream:
        stream.write(b"YUV4MPEG2 W320 H240 F30:1 Ip A1:1 C420jpeg\n")
        for frame in frames + frames[::-1]:
            stream.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())
    return path


@pytest.fixture(scope="module")
def page(site: str, camera: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Page]:
    flags = [
        "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}",
        "--use-fake-ui-for-media-stream",
    ]  # fmt: skip
    with chromium(tmp_path_factory.mktemp("chromium") / "profile", flags) as opened:
        opened.open(site)
        opened.evaluate(LOADED)
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
          const {{ input }} = pipeline.archive.model;
          const crop = Uint8Array.from(atob("{text}"), (c) => c.charCodeAt(0));
          const [output] = await pipeline.model.run(toInput(crop, input, pipeline.model.inputType));
          return decode(output.data, output.shape, pipeline.archive.model).points;
        }})()"""
    )
    points, _ = pipeline.model.locate(crop[None])
    assert np.abs(np.array(got) - points[0]).max() < 1e-3  # crop pixels


def test_images_give_python_s_faces(page: Page, pipeline: Pipeline, tmp_path: Path) -> None:
    apart = []
    for k in range(IMAGES):
        image = render_scene(5, k, (320, 400, 512)[k % 3], faces=0 if k == 4 else 1 + k % 2).image
        cv2.imwrite(str(tmp_path / f"{k}.png"), image)
        got, expected = choose(page, tmp_path / f"{k}.png"), pipeline.faces(image)
        assert len(got) == len(expected)
        for theirs, face in zip(got, expected, strict=True):
            apart.append(np.hypot(*(np.array(theirs["points"]) - face.points).T).max())
    # What is cropped is in whole 1/64 of a pixel, so crops are equal and points are apart by float32's last bits. Only
    # where the two detectors fall to the two sides of such a step may an int8 network answer a little differently.
    assert len(apart) >= IMAGES - 1
    assert np.median(apart) < 1e-3
    assert max(apart) < 0.5


def test_a_large_photograph_gives_python_s_faces(page: Page, pipeline: Pipeline, tmp_path: Path) -> None:
    image = cv2.resize(render_scene(5, 6, 512, faces=1).image, (1800, 1700), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "large.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    (face,) = pipeline.faces_of_file(tmp_path / "large.jpg")  # looks for faces in the JPEG at half its size
    (found,) = choose(page, tmp_path / "large.jpg")
    # over the face's size: libjpeg halves an image a little differently than blocks do
    assert np.hypot(*(np.array(found["points"]) - face.points).T).mean() < 0.005 * face.frame.size


def test_pose_and_openness_are_shown_as_python_says(page: Page, pipeline: Pipeline, tmp_path: Path) -> None:
    image = render_scene(5, 3, 512, faces=1).image
    cv2.imwrite(str(tmp_path / "face.png"), image)
    (face,) = pipeline.faces(image)
    choose(page, tmp_path / "face.png")
    found = page.evaluate(
        """import("/pose.js").then((m) => {
             const [{ points }] = page.state.faces;
             const pose = m.fitPose(points);
             return { ...pose, ...m.measureOpenness(points, pose) };
           })"""
    )
    angles = [face.pose.yaw, face.pose.pitch, face.pose.roll]
    shares = list(vars(face.openness).values())
    assert [found[name] for name in ("yaw", "pitch", "roll")] == pytest.approx(angles, abs=0.05)
    assert [found[name] for name in vars(face.openness)] == pytest.approx(shares, abs=0.005)
    shown = page.evaluate("['pose', 'openness'].map((id) => document.getElementById(id).textContent)")
    assert [float(text) for text in shown[0].replace("°", "").split()] == pytest.approx(angles, abs=0.6)
    assert [float(text) for text in shown[1].split()] == pytest.approx(shares, abs=0.06)
    page.screenshot(tmp_path / "expression.png")


def test_a_device_s_measurements_are_read_back(page: Page, tmp_path: Path) -> None:
    page.evaluate("document.querySelector('#measure').click()")
    page.wait("document.querySelector('#measured a') !== null")
    text = page.evaluate("fetch(document.querySelector('#measured a').href).then((file) => file.text())")
    (tmp_path / "device.json").write_text(text)
    measured = read_measurements(tmp_path / "device.json")
    assert measured.archive == shipped_archive().stem
    assert "Chrome" in measured.device
    assert measured.runs == 100
    assert 0 < measured.stages["model"].median_ms < measured.stages["face"].median_ms
    assert measured.stages["detector"].median_ms < measured.stages["view"].median_ms


def test_a_video_gives_python_s_tracks(page: Page, pipeline: Pipeline) -> None:
    frames, tracker = moving(24), Tracker(pipeline)
    frames[8:12] = [np.full_like(frames[0], 90)] * 4  # the face is gone for a moment
    expected = [tracker(frame, 1 + k / 30) for k, frame in enumerate(frames)]
    texts = [base64.b64encode(cv2.imencode(".png", frame)[1].tobytes()).decode() for frame in frames]
    got = page.evaluate(
        f"""(async () => {{
          const {{ Tracker }} = await import("/tracker.js");
          const {{ PixelReader }} = await import("/sources.js");
          const tracker = new Tracker(pipeline);
          const reader = new PixelReader();
          const found = [];
          for (const [k, text] of {texts}.entries()) {{
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const image = reader.read(await createImageBitmap(new Blob([bytes])));
            found.push(await tracker.faces(image, 1 + k / 30));
          }}
          return found;
        }})()"""
    )
    identities = [[face.identity for face in faces] for faces in expected]
    assert identities == [[face["identity"] for face in faces] for faces in got]
    assert [] in identities
    assert sum(map(len, identities)) >= 18
    apart = [
        np.hypot(*(np.array(theirs["points"]) - face.points).T).max()
        for mine, others in zip(expected, got, strict=True)
        for face, theirs in zip(mine, others, strict=True)
    ]
    assert np.median(apart) < 1e-3
    assert max(apart) < 0.5


def test_a_camera_runs(page: Page, pipeline: Pipeline, tmp_path: Path) -> None:
    page.evaluate("document.querySelector('#camera').click()")
    page.wait("page.state.frames > 20 && page.state.faces.length === 1 && page.state.shown.mirrored")
    places = np.array([face.frame.centre for frame in moving(12) for face in pipeline.faces(frame)])
    found = np.array(page.evaluate("page.state.faces[0].frame.centre"))
    assert np.hypot(*(places - found).T).min() < 4  # it is one of the places on the face's way
    assert page.evaluate("Number(document.querySelector('#fps').textContent)") > 0
    for width, height, dark in ((1280, 800, False), (390, 844, True), (844, 390, True)):
        page.resize(width, height, dark=dark)
        page.wait("document.documentElement.scrollWidth <= innerWidth")
        sides = page.evaluate(
            """[...document.querySelectorAll("button, .button")].map((one) => one.getBoundingClientRect())
               .flatMap(({ width, height }) => (width ? [Math.min(width, height)] : []))"""
        )
        assert min(sides) >= 44  # CSS pixels: what a finger hits
        page.screenshot(tmp_path / f"{width}.png")
    page.evaluate("document.querySelector('#stop').click()")
    assert page.evaluate("page.state.shown") is None


def test_without_a_network_a_page_that_was_loaded_once_runs(tmp_path: Path, pipeline: Pipeline) -> None:
    write_site(shipped_archive(), tmp_path / "site")
    image = render_scene(5, 1, 320, faces=1).image
    cv2.imwrite(str(tmp_path / "face.png"), image)
    server = open_server(tmp_path / "site")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with chromium(tmp_path / "profile") as opened:
        opened.open(address(server))
        opened.evaluate(LOADED)
        opened.evaluate("navigator.serviceWorker.ready.then(() => 1)")
        server.shutdown()
        server.server_close()
        thread.join()
        opened.open("about:blank")
        opened.open(address(server))
        opened.evaluate(LOADED)
        (found,) = choose(opened, tmp_path / "face.png")
        assert opened.messages == []
    (face,) = pipeline.faces(image)
    assert np.abs(np.array(found["points"]) - face.points).max() < 0.5


def test_what_is_no_image_is_named(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("none")
    document = page.send("DOM.getDocument")["root"]["nodeId"]
    node = page.send("DOM.querySelector", nodeId=document, selector="#file")["nodeId"]
    page.send("DOM.setFileInputFiles", nodeId=node, files=[str(tmp_path / "notes.png")])
    page.wait("document.querySelector('#hint').textContent.startsWith('notes.png could not be opened')")
    assert page.evaluate("document.querySelector('#view').hidden")


def test_nothing_was_said_and_nobody_else_asked(page: Page, site: str) -> None:
    assert page.messages == []
    assert page.requests
    assert all(url.startswith((site, "blob:", "data:")) for url in page.requests)
    # the browser itself would refuse
    refused = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => error.name)")
    assert refused == "TypeError"
    assert any("Content Security Policy" in text for _, text in page.messages)
