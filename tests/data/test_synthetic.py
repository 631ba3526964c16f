"""The renderer: same bytes from the same seed, points that lie on what is drawn, shapes that are faces."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.data.synthetic import render_face, render_scene
from pair_fld.data.synthetic.camera import draw_camera, rotation
from pair_fld.data.synthetic.curves import spline
from pair_fld.data.synthetic.expression import Expression, apply_expression
from pair_fld.data.synthetic.fit import EYE_SPAN_MM, fit
from pair_fld.data.synthetic.paint import to_texture
from pair_fld.data.synthetic.relief import Relief
from pair_fld.data.synthetic.shape import draw_head, load_prior
from pair_fld.runtime.scheme import FLIP

SIZE = 128


def _digest(seed: int, index: int) -> str:
    face = render_face(seed, index, SIZE)
    return hashlib.sha256(face.image.tobytes() + face.points.tobytes() + face.visible.tobytes()).hexdigest()


def test_same_seed_gives_same_bytes_in_any_order_thread_count_and_process() -> None:
    forward = [_digest(7, index) for index in range(6)]
    backward = [_digest(7, index) for index in reversed(range(6))][::-1]
    assert forward == backward
    assert len(set(forward)) == 6
    assert _digest(8, 0) != forward[0]
    code = (
        "import cv2; cv2.setNumThreads(1)\n"
        "from tests.data.test_synthetic import _digest\n"
        "print(*[_digest(7, i) for i in (4, 1)])"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True, cwd=root
    )
    assert done.stdout.split() == [forward[4], forward[1]]


def test_face_has_the_promised_form_and_lies_in_the_middle() -> None:
    inside, sides = [], []
    for index in range(40):
        face = render_face(0, index, SIZE)
        assert face.image.shape == (SIZE, SIZE, 3)
        assert face.image.dtype == np.uint8
        assert face.points.shape == (51, 2)
        assert face.points.dtype == np.float32
        assert face.visible.shape == (51,)
        inside.append(((face.points > -0.5) & (face.points < SIZE - 0.5)).all(axis=1).mean())
        sides.append(np.ptp(face.points, axis=0).max() / SIZE)
    assert np.mean(inside) > 0.99
    # 1 / 2.2 of the image, jittered by at most 14 %
    assert min(sides) > 0.86 / 2.2 - 1e-3
    assert max(sides) < 1.14 / 2.2 + 1e-3


def test_points_are_drawn_where_they_are_labelled() -> None:
    """The image's pixel at a visible point shows the texture's place that was painted through that point."""
    errors = []
    for index in range(25):
        rng = np.random.default_rng((3, index))
        head = draw_head(rng)
        camera = draw_camera(head, (95.5, 95.5), 87.0, rng)
        xy, depth = camera.project(head.vertices)
        fields = Relief.rasterise(xy, depth, (192, 192)).interpolate(to_texture(head.vertices, 1.0))
        points, _ = camera.project(head.points)
        flat = points.astype(np.float32)
        shown = np.stack([cv2.remap(f, flat[:, :1], flat[:, 1:], cv2.INTER_LINEAR)[:, 0] for f in fields], axis=1)
        off = np.linalg.norm(shown - to_texture(head.points, 1.0), axis=1) * camera.scale  # pixels
        errors.append(off[off < 8])  # beyond: hidden behind the nose or the cheek
    errors = np.concatenate(errors)
    assert len(errors) > 0.85 * 25 * 51
    assert np.median(errors) < 0.25
    assert np.percentile(errors, 95) < 1.0


def test_lips_differ_from_skin_at_the_labelled_contour_and_less_off_it() -> None:
    def contrast(image: np.ndarray, contour: np.ndarray) -> float:
        lip, ring = np.zeros((2, 192, 192), np.uint8)
        polygon = np.rint(spline(contour, closed=True) * 16).astype(np.int32)
        cv2.fillPoly(lip, [polygon], 255, cv2.LINE_8, 4)
        cv2.polylines(ring, [polygon], True, 255, 5, cv2.LINE_8, 4)
        lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(float)
        within, around = lab[(lip > 0) & (ring == 0)], lab[(ring > 0) & (lip == 0)]
        return float(np.linalg.norm(within.mean(axis=0) - around.mean(axis=0))) if len(within) > 9 else np.nan

    here, moved = [], []
    for index in range(45):
        face = render_face(5, index, 192)
        if not face.visible[31:51].all():
            continue
        here.append(contrast(face.image, face.points[31:43]))
        moved.append(contrast(face.image, face.points[31:43] + np.float32([0, 9])))
    assert len(here) > 15
    assert np.nanmean(here) > 1.3 * np.nanmean(moved)


def test_mean_shape_is_symmetric_upright_and_protrudes_at_the_nose() -> None:
    mean = load_prior().mean
    np.testing.assert_allclose(mean[list(FLIP)] * (-1, 1, 1), mean, atol=1e-3)
    assert np.linalg.norm(mean[28] - mean[19]) == pytest.approx(EYE_SPAN_MM, abs=1e-3)
    assert int(mean[:, 2].argmax()) == 13
    assert mean[0:10, 1].min() > mean[19:31, 1].max() > mean[13, 1] > mean[34, 1] > mean[40, 1]


def test_vertices_follow_the_points() -> None:
    """Some vertex lies near every point, in depth as well, or the drawing would slide under rotation."""
    for seed in range(10):
        head = draw_head(np.random.default_rng(seed))
        flat = head.vertices.reshape(-1, 3)
        nearest = np.linalg.norm(flat[None, :, :2] - head.points[:, None, :2], axis=2).argmin(axis=1)
        assert np.abs(flat[nearest, 2] - head.points[:, 2]).mean() < 3.0


@pytest.mark.parametrize(
    ("angles", "direction", "moves_to"),
    [
        ((90.0, 0.0, 0.0), (0, 0, 1), (1, 0, 0)),  # the nose turns to the image's right
        ((0.0, 90.0, 0.0), (0, 0, 1), (0, 1, 0)),  # looks up
        ((0.0, 0.0, 90.0), (0, 1, 0), (1, 0, 0)),  # clockwise: up becomes right
    ],
)
def test_rotation_turns_the_way_it_says(
    angles: tuple[float, float, float], direction: tuple[int, ...], moves_to: tuple[int, ...]
) -> None:
    np.testing.assert_allclose(rotation(*angles) @ direction, moves_to, atol=1e-12)


def test_expressions_neither_cross_lids_nor_lips() -> None:
    mean = load_prior().mean
    for lids, jaw in ((0.0, 0.0), (1.2, 30.0)):
        e = Expression(jaw=jaw, smile=1.0, lids=(lids, lids), raise_brows=5.0, gaze=(0.0, 0.0), press=True)
        p = apply_expression(mean, e)
        assert (p[[20, 21, 26, 27], 1] >= p[[24, 23, 30, 29], 1] - 1e-9).all()
        assert (p[[44, 45, 46], 1] >= p[[50, 49, 48], 1] - 1e-9).all()
        assert (p[[33, 34, 35], 1] > p[[44, 45, 46], 1]).all()
        assert (p[[50, 49, 48], 1] > p[[41, 40, 39], 1]).all()


def test_relief_inverts_a_skewed_plane_and_hides_what_is_behind() -> None:
    rows, columns = np.mgrid[:5, :6].astype(float)
    xy = np.stack([10 * columns + 2 * rows + 3, 9 * rows + 1 * columns + 4], axis=-1)
    relief = Relief.rasterise(xy, np.zeros((5, 6)), (64, 80))
    row, column = relief.interpolate(np.stack([rows, columns], axis=-1))
    assert row[13 + 2, 15 + 2] == pytest.approx(96 / 88, abs=1e-5)  # 9r + c = 11 and 2r + 10c = 14
    assert column[13 + 2, 15 + 2] == pytest.approx(104 / 88, abs=1e-5)
    assert relief.cell[0, 0] == 0
    mirrored = Relief.rasterise(xy * (-1, 1) + (70, 0), np.zeros((5, 6)), (64, 80))
    assert not mirrored.cell.any()  # seen from behind


def test_scene_holds_as_many_faces_as_asked() -> None:
    for count in (0, 1, 3):
        scene = render_scene(1, 2, 256, faces=count)
        assert scene.image.shape == (256, 256, 3)
        assert len(scene.faces) == count
        for points in scene.faces:
            assert points.shape == (51, 2)
            assert ((points > 0) & (points < 255)).all(axis=1).mean() > 0.9
    centres = sorted(p[:, 0].mean() for p in render_scene(1, 3, 256, faces=2).faces)
    assert centres[0] < 128 < centres[1]


def test_fit_recovers_depth_order_from_rotated_copies() -> None:
    mean = load_prior().mean.astype(float)
    rng = np.random.default_rng(0)
    shapes = []
    for _ in range(40):
        turned = mean @ rotation(*rng.normal(0, 20, 2), rng.normal(0, 10)).T
        flat = turned[:, :2] - turned[:, :2].mean(axis=0)
        shapes.append(flat / np.sqrt((flat**2).sum(-1).mean()))
    found = fit(np.array(shapes), rounds=12)
    assert float(found["residual"]) < 1.0  # millimetres
    assert np.abs(found["mean"][:, :2] - mean[:, :2]).max() < 4.0
    assert int(found["mean"][:, 2].argmax()) == 13
