"""The trained net of submissions/detector: rendered faces at any roll, nothing where no face is; in an archive too."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pair_fld.config import BudgetConfig, load_section
from pair_fld.data.synthetic import render_scene
from pair_fld.data.synthetic.faceless import draw_faceless
from pair_fld.evaluate.disturbances import turn
from pair_fld.evaluate.matching import match_faces
from pair_fld.export.metadata import replace_metadata
from pair_fld.export.model_cost import model_cost
from pair_fld.face_detector.files import find_detector
from pair_fld.inference.archive import shipped_archive
from pair_fld.runtime.centre_detector import CentreDetector, key_points_of, mean_face_calibration
from pair_fld.runtime.frame import fit_frame
from pair_fld.runtime.pipeline import load_pipeline
from pair_fld.runtime.session import read_metadata
from pair_fld.submit.archive import package

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


def test_an_archive_with_it_and_the_shipped_model_finds_faces(tmp_path: Path) -> None:
    with zipfile.ZipFile(shipped_archive()) as shipped:
        shipped.extract("model.tflite", tmp_path)
    metadata = read_metadata(tmp_path / "model.tflite")
    metadata["crop"]["detector_calibration"] = mean_face_calibration("centre_128").to_json()
    replace_metadata(tmp_path / "model.tflite", metadata)
    budget = load_section(BudgetConfig, "budget", "pair2024")
    package([tmp_path / "model.tflite"], tmp_path / "own.zip", budget, detector=find_detector(str(FILE)))
    shutil.unpack_archive(tmp_path / "own.zip", tmp_path / "own")
    pipeline = load_pipeline(tmp_path / "own")
    assert pipeline.detector.name == "centre_128"
    scenes = [render_scene(SEED, number, 384, faces=1 + number % 3) for number in range(6)]  # 12 faces in all
    found = [pipeline.faces(scene.image) for scene in scenes]
    pairs = [match_faces([f.points for f in faces], scene.faces).pairs for faces, scene in zip(found, scenes)]  # noqa: B905
    assert sum(map(len, pairs)) >= 11
    assert sum(map(len, found)) <= 12
    assert not pipeline.faces(draw_faceless(SEED, 0)[1])  # a clock
