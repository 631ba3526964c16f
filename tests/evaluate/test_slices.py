"""Disturbed copies of labelled faces: what is disturbed, and that labels and frames follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.errors import PairError
from pair_fld.evaluate import slices
from pair_fld.evaluate.measurement import MeasurementSpec
from pair_fld.evaluate.slices import SLICES, LooseCrop, slice_scores
from pair_fld.evaluate.validate import labelled_folder
from pair_fld.io import write_json
from pair_fld.runtime.frame import Frame, fit_frame, place
from tests.evaluate.test_disturbed_frames import Stubborn
from tests.evaluate.test_disturbed_frames import folder as folder  # the fixture

SEEN = np.ones(51, bool)


def loose() -> LooseCrop:
    """A grey crop of 120 with a white dot on the right outer eye corner of a face of 60, its frame turned by 10."""
    frame = Frame((58.0, 61.0), 60.0, 10.0)
    points = place(frame)
    image = np.full((120, 120, 3), 100, np.uint8)
    cv2.circle(image, tuple(int(v) for v in np.rint(points[28])), 3, (255, 255, 255), -1)
    return LooseCrop(image, points, frame)


def brightest(image: np.ndarray) -> np.ndarray:
    """Centre (x, y) of what is brighter than the grey."""
    weights = (image[..., 0].astype(float) - 130).clip(0)
    rows, columns = np.indices(weights.shape)
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


@pytest.mark.parametrize("name", ["turned", "small", "soft"])
def test_labels_and_frame_follow_the_image(name: str) -> None:
    before, after = loose(), SLICES[name](loose(), SEEN, np.random.default_rng(3))
    scale = after.frame.size / before.frame.size
    dot = brightest(before.image) - before.points[28]  # half a pixel, from rounding
    assert np.linalg.norm(brightest(after.image) - after.points[28]) < np.linalg.norm(dot) * scale + 0.35
    frame = fit_frame(after.points)
    assert frame.centre == pytest.approx(after.frame.centre, abs=1e-6)
    assert frame.size == pytest.approx(after.frame.size)
    assert np.cos(np.deg2rad(frame.roll - after.frame.roll)) == pytest.approx(1)


def test_a_small_face_has_24_pixels() -> None:
    # 120 px for a face of 60: 48 px for one of 24
    assert SLICES["small"](loose(), SEEN, np.random.default_rng(0)).image.shape == (48, 48, 3)


def test_the_dark_has_an_eighth_of_the_light() -> None:
    image = SLICES["dark"](loose(), SEEN, np.random.default_rng(0)).image
    # 100 x 0.12 = 12, noise of 3
    assert np.median(image) == pytest.approx(12, abs=1)
    assert 2 < image[:20].std() < 4


def test_an_unlabelled_point_does_not_move_the_patches() -> None:
    face, mask = loose(), SEEN.copy()
    mask[50] = False
    face.points[50] = 0.0
    hidden = SLICES["occluded"](face, mask, np.random.default_rng(0)).image
    changed = np.argwhere((hidden != face.image).any(axis=-1))
    assert len(changed) > 100
    assert changed.min() > 5  # none in the corner where point 50 would be


def test_a_model_that_sees_an_upright_crop_is_right_in_every_slice(folder: Path) -> None:
    scores = slice_scores(Stubborn(), labelled_folder([folder]))
    assert [s.name for s in scores] == ["dark", "soft", "occluded", "turned", "small"]
    assert all(s.faces == 6 for s in scores)
    assert all(s.nme_outer_corners_percent < 0.05 for s in scores)
    assert "slice dark: NME (outer corners) 0.0" in str(scores[0])


def test_slices_are_drawn_anew_from_a_seed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Seeing(Stubborn):
        def predict(self, crops: np.ndarray) -> np.ndarray:
            return super().predict(crops) + crops.mean(axis=(1, 2, 3))[:, None, None] / 1000

    monkeypatch.setattr(slices, "SLICES", {"occluded": SLICES["occluded"]})
    first, again, other = (slice_scores(Seeing(), labelled_folder([folder]), seed)[0] for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_packed_crops_have_no_slices() -> None:
    spec = MeasurementSpec((Path(__file__),), (), lambda: pytest.fail("listed"), Path("pack"), "valid", slices=True)
    with pytest.raises(PairError, match="--slices: expected a model and whole images, found texts or packed crops"):
        spec.check()


@pytest.mark.parametrize("option", ["disturbed", "slices"])
def test_a_report_with_more_measurements_is_not_replaced_by_one_without(tmp_path: Path, option: str) -> None:
    plain = MeasurementSpec((Path("m.tflite"),), (), lambda: pytest.fail("listed"), Path("pack"))
    more = replace(plain, **{option: True})
    folder = more.own_folder(tmp_path)
    folder.mkdir(parents=True)
    write_json(folder / "run.json", {"config": more.record()})
    assert more.own_folder(tmp_path) == folder
    assert plain.own_folder(tmp_path) != folder
