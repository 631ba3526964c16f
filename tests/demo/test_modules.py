"""The page's modules give the runtime's numbers: the same input through both."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pair_fld.runtime.blazeface import AnchorLayer, anchor_centres, decode_faces
from pair_fld.runtime.centre_detector import decode_map
from pair_fld.runtime.confidence import FEATURES, Confidence, face_features, second_crop, second_features
from pair_fld.runtime.detection import Detection, sigmoid, weighted_nms
from pair_fld.runtime.frame import Frame, fit_frame, frame_matrix, frame_residual, move_frame, place
from pair_fld.runtime.geometry import warp
from pair_fld.runtime.image_file import ImageFile
from pair_fld.runtime.metadata import input_metadata, model_metadata, normalise
from pair_fld.runtime.pose import fit_pose, measure_openness
from pair_fld.runtime.search import SearchConfig, search_steps, search_to_json
from pair_fld.runtime.session import Model
from pair_fld.runtime.smoothing import FaceFilter
from tests.demo.conftest import Node
from tests.runtime.test_tracker import COVERS

RNG = np.random.default_rng(7)
FRAMES = [Frame((100.5, 80.25), 60.0, 0.0), Frame((10.0, 300.0), 420.0, -170.0), Frame((250.0, 90.0), 35.0, 65.0)]


def tree(frame: Frame) -> dict[str, object]:
    return {"centre": frame.centre, "size": frame.size, "roll": frame.roll}


def test_types_are_sound(page_folder: Path, tmp_path: Path) -> None:
    compiler = shutil.which("tsc")
    if compiler is None:
        pytest.skip("tsc is not installed (npm install -g typescript)")
    for path in page_folder.glob("*.js"):
        shutil.copy(path, tmp_path)
    (tmp_path / "engine").mkdir()
    shutil.copy(Path(__file__).with_name("litert.d.ts"), tmp_path / "engine")
    shutil.copy(Path(__file__).with_name("page_types.json"), tmp_path / "tsconfig.json")
    done = subprocess.run([compiler, "-p", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_frames_and_their_residuals(node: Node) -> None:
    moved = [place(frame) + RNG.normal(0, frame.size / 30, (51, 2)) for frame in FRAMES]
    weights = RNG.uniform(0, 1, 51)
    weights[:5] = 0
    got = node(
        "frame.js",
        """return x.points.map((points, k) => {
             const frame = m.fitFrame(points);
             const residual = m.frameResidual(x.frames[k], frame);
             return { frame, weighted: m.fitFrame(points, m.MEAN_FACE, x.weights), residual,
                      again: m.moveFrame(x.frames[k], residual), matrix: m.frameMatrix(frame, 96, 1.45) };
           });""",
        points=[points.tolist() for points in moved],
        frames=[tree(frame) for frame in FRAMES],
        weights=weights.tolist(),
    )
    for frame, points, found in zip(FRAMES, moved, got, strict=True):
        own = fit_frame(points)
        for mine, theirs in ((own, found["frame"]), (fit_frame(points, weights=weights), found["weighted"])):
            assert np.allclose(numbers(mine), flat(theirs), rtol=1e-12, atol=1e-9)
        residual = frame_residual(frame, own)
        assert np.allclose(residual, found["residual"], atol=1e-12)
        assert np.allclose(numbers(move_frame(frame, residual)), flat(found["again"]), atol=1e-9)
        assert np.allclose(frame_matrix(own, 96, 1.45).ravel(), found["matrix"], atol=1e-9)


def numbers(frame: Frame) -> list[float]:
    return [*frame.centre, frame.size, frame.roll]


def flat(frame: dict[str, object]) -> list[Any]:
    return [*frame["centre"], frame["size"], frame["roll"]]  # pyright: ignore[reportGeneralTypeIssues]


def test_points_in_one_place_give_no_frame(node: Node) -> None:
    assert node("frame.js", "return m.fitFrame(m.MEAN_FACE.map(() => [3, 4]))") is None


@pytest.mark.parametrize("side", [30.0, 144.0, 240.0, 300.0, 700.0, 1900.0])
def test_crops_are_the_runtime_s(node: Node, side: float) -> None:
    image = cv2.GaussianBlur(RNG.integers(0, 256, (211, 283, 3), dtype=np.uint8), (0, 0), 2)
    image = np.clip((image.astype(float) - 127) * 4 + 127, 0, 255).astype(np.uint8)
    rgba = cv2.cvtColor(image, cv2.COLOR_BGR2RGBA)
    frames = [Frame((140.5, 100.5), side, 0.0), Frame((30.5, 180.0), side, 37.0)]
    matrices = [frame_matrix(frame, 96, 1.0) for frame in frames]
    got = node(
        "geometry.js",
        """const image = { width: x.width, height: x.height, data: Uint8Array.from(x.data) };
           return x.matrices.map((matrix) => [...m.warp(image, matrix, 96)]);""",
        width=283,
        height=211,
        data=rgba.ravel().tolist(),
        matrices=[matrix.ravel().tolist() for matrix in matrices],
    )
    for matrix, found in zip(matrices, got, strict=True):
        expected = warp(image, matrix, 96)[:, :, ::-1].astype(int)
        apart = np.abs(np.reshape(found, (96, 96, 3)) - expected)
        assert apart.max() == 0


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("heatmap", (1, 51, 12, 12)),
        ("simcc", (1, 51, 384)),
        ("coords", (1, 102)),
        ("coords", (1, 51, 2)),
        ("points", (1, 51, 3)),
        ("points", (1, 51, 2)),
    ],
)
def test_outputs_are_decoded_alike(node: Node, kind: str, shape: tuple[int, ...]) -> None:
    output = RNG.normal(0, 3 if kind != "coords" else 0.5, shape).astype(np.float32)
    shift = RNG.normal(0, 0.01, (51, 2))  # of the frame's size: the labels' convention
    model = Model(
        Path("model.tflite"),
        model_metadata(96, 1.45, kind, convention={"name": "other", "shift": shift.tolist()}),
        lambda _: output,
    )
    points, spreads = model.locate(np.zeros((1, 96, 96, 3), np.uint8))
    # a TFLite file's heatmaps have their channels last
    stored = output.transpose(0, 2, 3, 1) if kind == "heatmap" else output
    got = node(
        "codec.js",
        "return m.decode(Float32Array.from(x.output), x.shape, { kind: x.kind, size: 96, label_shift: x.shift });",
        output=stored.ravel().tolist(),
        shape=stored.shape,
        kind=kind,
        shift=model.label_shift.tolist(),
    )
    assert np.allclose(points[0], got["points"], atol=1e-4)
    assert got["spreads"] is None if spreads is None else np.allclose(spreads[0], got["spreads"], atol=1e-4)


def test_inputs_are_normalised_alike(node: Node) -> None:
    crop = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    spec = input_metadata(8)
    got = node(
        "codec.js",
        "return [...m.toInput(Uint8Array.from(x.crop), x.spec, 'float32')];",
        crop=crop[:, :, ::-1].ravel().tolist(),
        spec=spec,
    )
    assert np.allclose(normalise(crop, {"input": spec}).ravel(), got, atol=1e-7)


def test_blazeface_is_decoded_alike(node: Node) -> None:
    layers = [[4, 2], [2, 6]]
    regressors, logits = RNG.normal(0, 9, (56, 16)).astype(np.float32), RNG.normal(0, 2, 56).astype(np.float32)
    boxes, points = decode_faces(regressors, anchor_centres([AnchorLayer(*layer) for layer in layers]), 128)
    scores = sigmoid(logits)
    got = node(
        "detectors.js",
        """return m.blazeFace([{ data: Float32Array.from(x.logits), shape: [1, 56, 1] },
                             { data: Float32Array.from(x.regressors), shape: [1, 56, 16] }],
                            { side: 128, layers: x.layers }, 0.4);""",
        regressors=regressors.ravel().tolist(),
        logits=logits.tolist(),
        layers=layers,
    )
    seen = np.flatnonzero(scores >= 0.4)
    assert len(seen) == len(got) > 0
    assert np.allclose(boxes[seen], [face["box"] for face in got], atol=1e-6)
    assert np.allclose(points[seen], [face["keyPoints"] for face in got], atol=1e-6)
    assert np.allclose(scores[seen], [face["score"] for face in got], atol=1e-6)


@pytest.mark.parametrize("key_points", [5, 0])  # files of earlier versions have none
def test_the_own_detector_is_decoded_alike(node: Node, key_points: int) -> None:
    output = RNG.normal(0, 2, (5 + 2 * key_points, 6, 7)).astype(np.float32)
    boxes, points, scores = decode_map(output)
    got = node(
        "detectors.js",
        "return m.centreMap({ data: Float32Array.from(x.output), shape: [1, 6, 7, x.channels] }, 0.5);",
        output=output.transpose(1, 2, 0).ravel().tolist(),
        channels=len(output),
    )
    seen = np.flatnonzero(scores >= 0.5)
    assert len(seen) == len(got) > 0
    assert np.allclose(points[seen], np.reshape([face["keyPoints"] for face in got], points[seen].shape), atol=1e-6)
    assert np.allclose(boxes[seen], [face["box"] for face in got], atol=1e-6)
    assert np.allclose(scores[seen], [face["score"] for face in got], atol=1e-6)


@pytest.mark.parametrize("key_points", [6, 0])
def test_detections_of_one_face_are_joined_alike(node: Node, key_points: int) -> None:
    detections = []
    for k in range(24):  # around two faces, one of them also seen upside down
        corner = np.array([40.0, 50.0]) + (k % 2) * 80 + RNG.normal(0, 5, 2)
        points = RNG.normal(0, 3, (key_points, 2)) + corner + (60.0 if k % 6 == 1 else 0.0)
        box, roll = np.concatenate([corner, corner + 100]), 180.0 if k % 6 == 1 else 0.0
        detections.append(Detection(box, points, float(RNG.uniform(0.4, 1)), roll))
    joined = weighted_nms(detections, 0.3)
    assert 2 < len(joined) < 24
    got = node(
        "detection.js",
        "return m.weightedNms(x.detections, 0.3);",
        detections=[
            {"box": d.box.tolist(), "keyPoints": d.key_points.tolist(), "score": d.score, "roll": d.roll}
            for d in detections
        ],
    )
    assert [d.score for d in joined] == [face["score"] for face in got]
    assert [d.roll for d in joined] == [face["roll"] for face in got]
    assert np.allclose([d.box for d in joined], [face["box"] for face in got])
    assert np.allclose(np.array([d.key_points for d in joined]).ravel(), np.ravel([face["keyPoints"] for face in got]))


@pytest.mark.parametrize(("width", "height"), [(640, 480), (300, 1200), (100, 90)])
@pytest.mark.parametrize(("turned", "names"), [("auto", ("nose",)), ("auto", ()), ("always", ("nose",)), ("never", ())])
def test_the_search_looks_in_the_same_places(
    node: Node, width: int, height: int, turned: str, names: tuple[str, ...]
) -> None:
    class Looker:
        side, search, key_points = 128, SearchConfig(zooms=(1.0, 1.5), turned=turned), names

    steps = list(search_steps(width, height, Looker()))
    got = node(
        "search.js",
        "const steps = m.searchSteps(x.width, x.height, x.search, 128, x.keyPoints);"
        "return [...steps].map(s => ({ ...s, below: String(s.below) }));",
        keyPoints=bool(names),
        width=width,
        height=height,
        search=search_to_json(Looker.search),
    )
    assert [step.turned for step in steps] == [step["turned"] for step in got]
    assert np.allclose(
        [step.below for step in steps], [float(step["below"].replace("Infinity", "inf")) for step in got]
    )
    for step, found in zip(steps, got, strict=True):
        assert np.allclose([numbers(view) for view in step.views], [flat(view) for view in found["views"]])


def test_confidence_is_the_same(node: Node) -> None:
    confidence = Confidence(
        np.linspace(-9, 2, len(FEATURES)), -20.0, np.linspace(-7, 3, len(FEATURES)), -17.0, gain=600.0, power=4.5,
        again_weights=np.linspace(-5, 2, len(FEATURES) + 2), again_bias=-3.0,
    )  # fmt: skip
    frame = FRAMES[0]
    points = place(frame) + RNG.normal(0, 2, (51, 2))
    spreads, crop = RNG.uniform(0.5, 4, 51), Frame((102.0, 79.0), 63.0, 4.0)
    features = face_features(points, spreads, crop, 0.9)
    got = node(
        "confidence.js",
        """const features = m.faceFeatures(x.points, x.spreads, x.crop, 0.9);
           return { features, score: m.score(x.tree, features), presence: m.presence(x.tree, features),
                    deviations: m.deviations(x.tree, x.spreads, 60), second: m.secondCrop(x.crop),
                    again: m.presenceAgain(x.tree, features, m.secondFeatures(x.points, x.spots, x.spreads, 60)),
                    doubts: [0.04, 0.5, 0.99].map(p => m.doubts(x.tree, p)) };""",
        spots=(points + 3).tolist(),
        points=points.tolist(),
        spreads=spreads.tolist(),
        crop=tree(crop),
        tree=confidence.to_json(),
    )
    assert np.allclose(features, got["features"], atol=1e-9)
    assert np.isclose(confidence.score(features), got["score"], rtol=1e-9)
    assert np.isclose(confidence.presence(features), got["presence"], rtol=1e-9)
    assert np.allclose(confidence.deviations(spreads, 60), got["deviations"], rtol=1e-9)
    assert np.isclose(
        confidence.presence_again(features, second_features(points, points + 3, spreads, 60)), got["again"], rtol=1e-9
    )
    assert np.allclose(numbers(second_crop(crop)), flat(got["second"]))
    assert [confidence.doubts(p) for p in (0.04, 0.5, 0.99)] == got["doubts"] == [False, True, False]


@pytest.mark.parametrize("strength", [0.0, 1.0, 2.5])
def test_points_are_smoothed_alike(node: Node, strength: float) -> None:
    mine, filtered, frames = FaceFilter(strength), [], []
    texture = cv2.GaussianBlur(RNG.normal(127, 200, (100, 120, 3)), (0, 0), 2).clip(0, 255).astype(np.uint8)
    for k in range(5):  # a head that moves
        frame = Frame((45.0 + 4 * k, 50.0), 60.0 + k / 2, 170.0 + 2 * k)
        image = np.roll(texture, 4 * k, axis=1)
        points = place(frame) + RNG.normal(0, 1, (51, 2))
        own = fit_frame(points)
        pixels = cv2.cvtColor(image, cv2.COLOR_BGR2RGBA).ravel().tolist()
        frames.append({"points": points.tolist(), "frame": tree(own), "data": pixels})
        filtered.append(mine(ImageFile.of_array(image), points, own, 1 / 30))
    got = node(
        "smoothing.js",
        """const { ImageFile } = await import(x.image_file);
           const filter = new m.FaceFilter(x.strength);
           return x.frames.map(({ points, frame, data }) => {
             const image = ImageFile.ofFrame({ width: 120, height: 100, data });
             return filter.smooth(image, points, frame, 1 / 30);
           });""",
        strength=strength,
        frames=frames,
        image_file=(node.folder / "image_file.js").as_uri(),
    )
    assert np.allclose(filtered, got, atol=1e-6)


@pytest.mark.parametrize(("frames", "cuts"), COVERS)
def test_cuts_are_told_alike(node: Node, frames: list[np.ndarray], cuts: list[int]) -> None:
    got = node(
        "tracker.js",
        """const tracker = new m.Tracker(null);
           return x.frames.flatMap((data, k) => tracker.isCut({ width: 64, height: 48, data }) ? [k] : []);""",
        frames=[cv2.cvtColor(frame, cv2.COLOR_BGR2RGBA).ravel().tolist() for frame in frames],
    )
    assert got == cuts


def test_pose_and_openness_are_the_same(node: Node) -> None:
    rng = np.random.default_rng(4)
    faces = [place(frame) + rng.normal(0, frame.size / 25, (51, 2)) for frame in FRAMES for _ in range(4)]
    for face, squeeze in zip(faces, np.linspace(0.5, 1, len(faces)), strict=True):  # seen from the side
        face[:, 0] = face[:, 0].mean() + squeeze * (face[:, 0] - face[:, 0].mean())
    got = node(
        "pose.js",
        """return x.faces.map((points) => {
             const pose = m.fitPose(points);
             return { ...pose, ...m.measureOpenness(points, pose) };
           });""",
        faces=[face.tolist() for face in faces],
    )
    turned = []
    for points, found in zip(faces, got, strict=True):
        pose = fit_pose(points)
        turned.append(pose.yaw)
        for name in ("yaw", "pitch", "roll"):
            assert found[name] == pytest.approx(getattr(pose, name), abs=1e-4)  # degrees
        for name, share in vars(measure_openness(points, pose)).items():
            assert found[name] == pytest.approx(share, abs=1e-6)
        assert found["size"] == pytest.approx(np.linalg.norm(pose.matrix[:3, 0]), rel=1e-6)
    assert np.ptp(turned) > 20
    assert node("pose.js", "return m.fitPose(x.points)", points=[[3, 4]] * 51) is None


def test_a_crop_that_missed_its_face_is_cut_anew(node: Node, tmp_path: Path) -> None:
    shutil.copytree(node.folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "engine").mkdir(exist_ok=True)
    (tmp_path / "engine/litert.js").write_text("export const loadAndCompile = 0, loadLiteRt = 0, Tensor = 0;")
    # centres of the faces found in one crop after the other; 30 is 0.3 of the size, more than MISSED_SHIFT
    found = [[130, 160, 190, 220, 250], [130, 160, 160, 190], [104, 130]]
    points = [[place(Frame((x, 70), 100.0)).tolist() for x in row] for row in found]
    got = Node(tmp_path)(
        "pipeline.js",
        """return Promise.all(x.points.map(async (faces) => {
             const pipeline = new m.Pipeline({ model: { refine: 0, confidence: null } });
             let crops = 0;
             pipeline.locate = async () => ({ points: faces[crops++], spreads: null });
             const plain = pipeline.face.bind(pipeline);
             pipeline.face = async (...all) => ({ ...(await plain(...all)), score: 0.5 + crops / 10 });
             const [face] = await pipeline.predict(null, [x.frame], [0.9]);
             return [crops, Math.round(face.frame.centre[0]), face.score];
           }));""",
        points=points,
        frame=tree(Frame((100.0, 70.0), 100.0)),
    )
    # as in tests/runtime/test_main.py; the score is the lowest, that of the first crop that was judged
    assert got == [[4, 220, 0.7], [3, 160, 0.7], [1, 104, 0.6]]
