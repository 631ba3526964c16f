"""Hard negatives: which detections are false, what is kept of them, and how a run continues with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pair_fld.config import DetectorConfig
from pair_fld.errors import PairError
from pair_fld.face_detector.images import rendered_scenes
from pair_fld.face_detector.mining import RECORD_FILE, SURROUNDINGS, HardNegatives, false_detection
from pair_fld.face_detector.train import DetectorSource
from pair_fld.face_detector.views import View, without_faces

CONFIG = DetectorConfig(
    widths=(4, 4, 8, 8, 8), input_size=64, steps=12, batch_size=4, threads=1,
    mining_rounds=2, mining_views=40, hard_negatives=5,
)  # fmt: skip
BLACK = np.zeros((64, 64, 3), np.uint8)


class Bright(nn.Module):
    """Takes every bright place for a face of a quarter of the view."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output = torch.zeros(len(x), 15, 8, 8)
        output[:, 0] = 40 * nn.functional.avg_pool2d(x.mean(dim=1), 8) - 20  # above 0 from 0.5 up
        output[:, 3:5] = 4 * np.log(0.25)  # quarters of the logarithm
        return output


class Teacher:
    """A detector that sees the same face everywhere, or none."""

    side = 32

    def __init__(self, sees: bool) -> None:
        self.sees = sees

    def infer(self, view: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert view.shape == (32, 32, 3)
        return np.zeros((0, 4)), np.zeros((0, 6, 2)), np.full(int(self.sees), threshold)


def output_of(*cells: tuple[int, int, float]) -> np.ndarray:
    """(15, 8, 8) with score logits at (row, column), each a face of a quarter of the view in the cell's middle."""
    output = np.zeros((15, 8, 8), np.float32)
    output[0] = -9
    output[3:5] = 4 * np.log(0.25)
    for row, column, logit in cells:
        output[0, row, column] = logit
    return output


def test_a_false_detection_by_hand():
    found = false_detection(without_faces(BLACK), output_of((1, 2, np.log(3)), (5, 5, 0.0)))
    assert found is not None
    score, centre, side = found
    assert score == pytest.approx(0.75)  # sigmoid of log 3
    # cell (row 1, column 2) of 8 pixels: its middle is 20 pixels from the left edge, the pixel centre 19.5
    np.testing.assert_allclose(centre, [19.5, 11.5])
    assert side == pytest.approx(16)
    assert false_detection(without_faces(BLACK), output_of((1, 2, -1.0))) is None  # sigmoid(-1) = 0.27 < 0.3


@pytest.mark.parametrize("certain", [True, False], ids=["a face", "a doubtful face"])
def test_what_is_near_a_face_is_not_false(certain: bool):
    # grown by 0.4 of its 20 pixels, the box reaches from 12 to 48
    face = View(BLACK, np.array([[20.0, 20, 40, 40]]), np.array([certain]), np.full((1, 5, 2), np.nan))
    assert false_detection(face, output_of((5, 5, 3.0))) is None  # at 43.5
    assert false_detection(face, output_of((6, 6, 3.0))) is not None  # at 51.5


def bright_spot() -> View:
    """A photograph with one bright spot, and its only face far from it."""
    image = np.zeros((200, 200, 3), np.uint8)
    image[140:180, 20:60] = 255
    return View(image, np.array([[150.0, 10, 190, 50]]), np.ones(1, bool), np.full((1, 5, 2), np.nan))


def test_kept_views_show_the_false_detection_in_their_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pair_fld.face_detector.mining.DRAWN", 0.0)
    hard = HardNegatives([bright_spot()], CONFIG, tmp_path)
    made = hard.mine(4, Bright())
    assert made.false_drawn == 0
    assert made.false_photographs >= len(made.kept) == 5 == len(hard.views)
    side = round(64 * SURROUNDINGS)
    for view in hard.views:
        assert view.image.shape == (side, side, 3)
        assert view.image[side // 2 - 3 : side // 2 + 3, side // 2 - 3 : side // 2 + 3].max() == 255


def test_a_place_where_the_teacher_sees_a_face_is_no_negative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pair_fld.face_detector.mining.DRAWN", 0.0)
    blind, sees = (HardNegatives([bright_spot()], CONFIG, tmp_path, Teacher(sees)) for sees in (False, True))  # pyright: ignore[reportArgumentType]
    assert blind.mine(4, Bright()).false_photographs > 0
    assert sees.mine(4, Bright()).false_photographs == 0


def test_rounds_are_due_after_equal_stretches_and_a_continued_run_has_the_same_views(tmp_path: Path):
    scenes = rendered_scenes(2)
    first = HardNegatives(scenes, CONFIG, tmp_path)
    for step in range(12):
        first.update(step, Bright())
    record = json.loads((tmp_path / RECORD_FILE).read_text())
    assert [one["step"] for one in record] == [4, 8]  # thirds of twelve steps
    assert len(first.views) == sum(len(one["kept"]) for one in record) > 0
    again = HardNegatives(scenes, CONFIG, tmp_path)
    again.restore(9)
    for a, b in zip(first.views, again.views, strict=True):
        assert np.array_equal(a.image, b.image)
    again.restore(8)  # the round before step 8 is still to come
    assert len(again.views) == len(record[0]["kept"])
    again.update(8, Bright())
    assert json.loads((tmp_path / RECORD_FILE).read_text()) == record


def test_a_share_of_the_training_views_shows_hard_negatives(tmp_path: Path):
    face = View(BLACK, np.array([[20.0, 20, 40, 40]]), np.ones(1, bool), np.full((1, 5, 2), 30.0))
    hard = HardNegatives([face], CONFIG, tmp_path)
    config = CONFIG.model_copy(update={"batch_size": 400})
    source = DetectorSource([face], [without_faces(BLACK)], config, torch.device("cpu"), hard)

    def bright() -> int:
        return int((source.draw(0).images.mean(dim=(1, 2, 3)) > 0).sum())

    assert bright() == 0
    hard.views.append(without_faces(np.full_like(BLACK, 255)))
    assert 35 <= bright() <= 85  # 60 expected of 400 with a chance of 0.15 each, and a deviation of 7


def test_a_damaged_record_is_one_sentence(tmp_path: Path):
    (tmp_path / RECORD_FILE).write_text('[{"step": 1}]')
    with pytest.raises(PairError, match="expected the record of the hard negatives, found something else"):
        HardNegatives([], CONFIG, tmp_path).restore(3)


def test_the_training_image_stays_as_it_is(tmp_path: Path):
    spot = bright_spot()
    before = replace(spot, image=spot.image.copy())
    HardNegatives([spot], CONFIG, tmp_path).mine(0, Bright())
    assert np.array_equal(spot.image, before.image)
