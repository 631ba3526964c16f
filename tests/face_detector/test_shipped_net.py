"""The trained net of submissions/detector: rendered faces at any roll, and nothing where no face is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pair_fld.data.synthetic import render_scene
from pair_fld.data.synthetic.faceless import draw_faceless
from pair_fld.evaluate.disturbances import turn
from pair_fld.export.model_cost import model_cost
from pair_fld.runtime.centre_detector import CentreDetector, key_points_of
from pair_fld.runtime.frame import fit_frame

FILE = Path(__file__).parents[2] / "submissions/detector/detector.tflite"
SEED, FACES = 77, 8  # training draws its scenes from another seed
# Mean distance of the key points from the rendered ones, over the eyes' distance, up to which a face counts.
FOUND = 0.35


@pytest.fixture(scope="module")
def detector() -> CentreDetector:
    """The trained net, with upright views only."""
    detector = CentreDetector(FILE)
    detector.search = replace(detector.search, turned="never")
    return detector


@pytest.mark.parametrize("roll", [0, 90, 180, 270])
def test_it_finds_rendered_faces_at_any_roll(detector: CentreDetector, roll: int) -> None:
    assert detector.calibration is not None
    errors, turns = [], []
    for number in range(FACES):
        scene = render_scene(SEED, number, 384, faces=1)
        image, points = turn(scene.image, scene.faces[0], roll)
        truth, frame = key_points_of(points), fit_frame(points)
        eyes = np.linalg.norm(truth[1] - truth[0])
        for found in detector.detect(image):
            error = np.linalg.norm(found.key_points - truth, axis=1).mean() / eyes
            if error < FOUND:
                errors.append(error)
                turns.append(abs((detector.calibration.frame(found).roll - frame.roll + 180) % 360 - 180))
    assert FACES - 2 <= len(errors) <= FACES
    assert np.median(errors) < 0.22
    assert np.median(turns) < 8  # degrees


def test_it_takes_no_drawn_image_for_a_face(detector: CentreDetector) -> None:
    found = [kind for kind, image in (draw_faceless(SEED, k) for k in range(14)) if detector.detect(image)]
    assert not found  # one of each kind


def test_it_costs_less_than_blazeface() -> None:
    cost = model_cost(FILE)
    assert cost.gflops <= 0.034  # BlazeFace: 0.0615
    assert cost.size_mb <= 0.25
    assert not cost.heavy_not_int8()
