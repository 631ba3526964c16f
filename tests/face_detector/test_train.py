"""The detector's targets, losses and training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pair_fld.config import DetectorConfig
from pair_fld.data.synthetic.faceless import scrambled
from pair_fld.errors import PairError
from pair_fld.face_detector.images import faceless_images, faceless_photographs, rendered_scenes
from pair_fld.face_detector.net import DetectorNet
from pair_fld.face_detector.targets import loss_terms, target_map
from pair_fld.face_detector.train import (
    DetectorBatch,
    DetectorObjective,
    DetectorSource,
    fit_detector,
)
from pair_fld.face_detector.views import View, draw_view, shrunk
from pair_fld.runs import provenance
from pair_fld.train.metric_log import METRICS
from pair_fld.train.run_folder import RunSpec
from pair_fld.train.run_history import find_run
from pair_fld.train.trainer import TrainProgress

CONFIG = DetectorConfig(
    widths=(4, 4, 8, 8, 8), input_size=64, steps=6, batch_size=4, threads=1, mining_rounds=1, mining_views=8
)


def seen(*boxes: list[float], certain: bool = True, size: int = 64, key_points: np.ndarray | None = None) -> View:
    return View(
        np.zeros((size, size, 3), np.uint8),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.full(len(boxes), certain),
        np.full((len(boxes), 5, 2), np.nan) if key_points is None else key_points,
    )


def test_target_by_hand():
    # outer edges 16 to 48 in pixel centres 15.5 to 47.5: centre cell coordinate 4, side 4 cells of 8
    target = target_map(seen([15.5, 15.5, 47.5, 47.5]), 64, 8)
    # cells (3, 3) to (4, 4) have their centres at a distance of 0.707 < 0.18 * 4 = 0.72
    assert np.argwhere(target[0] == 1).tolist() == [[3, 3], [3, 4], [4, 3], [4, 4]]
    assert target[1:3, 3, 4].tolist() == [-4, 4]  # half a cell left, half a cell down, in eighths
    np.testing.assert_allclose(target[3:5, 3, 3], 4 * np.log(0.5), rtol=1e-6)
    assert target[5, 3, 3] == 4
    assert target[0, 3, 2] == -1  # 1.58 < 0.42 * 4 = 1.68
    assert target[0, 3, 1] == 0
    assert np.isnan(target[6:, 3, 3]).all()


def test_key_point_targets_by_hand():
    points = np.array([[[23.5, 23.5], [39.5, 23.5], [31.5, 33.5], [np.nan, np.nan], [39.5, 47.5]]])
    target = target_map(seen([15.5, 15.5, 47.5, 47.5], key_points=points), 64, 8)
    # from the centre 31.5 in 32nds of the side, 32 pixels: so in pixels
    assert target[6:12, 3, 4].tolist() == [-8, -8, 8, -8, 0, 2]
    assert np.isnan(target[12:14, 3, 4]).all()
    assert target[14:, 4, 3].tolist() == [8, 16]


@pytest.mark.parametrize(
    "view",
    [seen([15.5, 15.5, 47.5, 47.5], certain=False), seen([30.5, 30.5, 33, 33]), seen([50, 50, 90, 90])],
    ids=["doubtful", "too small", "cut by the edge"],
)
def test_faces_that_are_neither_wanted_nor_held_against_the_net(view: View):
    target = target_map(view, 64, 8)
    assert not (target[0] == 1).any()
    assert (target[0] == -1).any()


def test_of_two_faces_the_nearer_one_is_predicted():
    target = target_map(seen([0, 0, 31, 31], [8, 0, 39, 31]), 64, 8)
    centres = np.argwhere(target[0] == 1)[:, 1] + 0.5 + target[1][target[0] == 1] / 8
    assert set(np.round(centres, 3)) == {round((15.5 + 0.5) / 8, 3), round((23.5 + 0.5) / 8, 3)}


def test_losses_are_small_for_the_right_prediction_and_blind_to_what_does_not_matter():
    points = np.full((1, 5, 2), np.nan)
    points[0, 0] = 23.5, 21.5
    target = torch.from_numpy(target_map(seen([15.5, 15.5, 47.5, 47.5], key_points=points), 64, 8))[None]
    right = torch.zeros(1, 15, 8, 8)
    right[:, 0] = torch.where(target[:, 0] == 1, 12.0, -12.0)
    right[:, 1:5] = target[:, 1:5]
    right[:, 5:7] = target[:, 6:8]
    right[:, 7:] = 99  # nobody labelled the other key points
    score, box, key_points = loss_terms(right, target)
    assert float(score) < 1e-6
    assert float(box) == 0
    assert float(key_points) == 0
    ignored = right.clone()
    ignored[:, 0][target[:, 0] == -1] = 12.0
    assert loss_terms(ignored, target)[0] == score
    moved = right.clone()
    moved[:, 1] += 8  # one cell: a quarter of the face
    assert float(loss_terms(moved, target)[1]) == pytest.approx(0.25 - 0.025, rel=1e-5)
    moved[:, 5] += 8  # a quarter of the face, in 32nds
    assert float(loss_terms(moved, target)[2]) == pytest.approx(0.25 - 0.025, rel=1e-5)


def test_views_keep_faces_under_their_boxes():
    image = np.zeros((100, 120, 3), np.uint8)
    image[30:60, 40:70] = 255
    source = shrunk(seen([39.5, 29.5, 69.5, 59.5]))
    source = replace(source, image=image)
    negative = seen(size=50)
    checked = 0
    for k in range(60):
        view = draw_view([source], [negative], 64, np.random.default_rng((3, k)))
        assert view.image.shape == (64, 64, 3)
        for box in view.boxes:
            x, y = (box[:2] + box[2:]) / 2
            half = (box[2] - box[0]) / 2
            if half > 4 and 4 < x < 60 and 4 < y < 60:
                near = view.image[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3].mean()
                assert near > view.image.mean()
                checked += 1
    assert checked > 20


def test_shrinking_moves_the_boxes_by_the_pixel_centre_rule():
    large = seen([-0.5, 99.5, 49.5, 199.5], key_points=np.full((1, 5, 2), 99.5))
    small = shrunk(replace(large, image=np.zeros((768, 100, 3), np.uint8)))
    assert small.image.shape[:2] == (384, 50)
    np.testing.assert_allclose(small.boxes, [[-0.5, 49.5, 24.5, 99.5]])
    np.testing.assert_allclose(small.key_points, 49.5)


def test_key_points_stay_on_their_pixels_in_turned_and_mirrored_views():
    points = np.array([[40.0, 40], [80, 42], [61, 60], [45, 80], [76, 81]])
    image = np.zeros((120, 120, 3), np.uint8)
    for x, y in points.astype(int).tolist():
        cv2.circle(image, (x, y), 5, (255, 255, 255), -1)
    source = replace(seen([30, 30, 90, 90], key_points=points[None]), image=image)
    rolls = []
    for k in range(300):
        view = draw_view([source], [source], 128, np.random.default_rng((4, k)))
        found = view.key_points[0] if len(view.key_points) == 1 else np.zeros((5, 2))  # a mosaic has several
        if not ((found > 2) & (found < 125)).all() or (view.boxes[0, 2:] - view.boxes[0, :2]).max() < 40:
            continue
        assert min(view.image[round(y), round(x)].mean() for x, y in found) > view.image.mean() + 20
        (ax, ay), (bx, by) = found[1] - found[0], found[4] - found[1]
        assert ax * by - ay * bx > 0  # the left eye stays the face's own left one, mirrored or not
        rolls.append(np.degrees(np.arctan2(ay, ax)))
    assert len(rolls) > 10
    assert np.abs(rolls).max() > 90


def test_faceless_parts_keep_away_from_faces():
    image = np.zeros((200, 300, 3), np.uint8)
    image[60:120, 100:160] = 255
    source = replace(seen([99.5, 59.5, 159.5, 119.5], certain=False), image=image)
    made = faceless_photographs([source] * 12, 12, np.random.default_rng(0))
    parts = made[:-6]  # the last six are whole photographs with their blocks mixed
    assert len(parts) >= 6
    assert all(part.image.max() == 0 and part.image.size > 0 and not len(part.boxes) for part in parts)
    assert all(mixed.image.max() == 255 for mixed in made[-6:])
    full = replace(source, boxes=np.array([[-0.5, -0.5, 299.5, 199.5]]))
    assert len(faceless_photographs([full], 1, np.random.default_rng(0))) == 1  # no room: only the mixed one


def test_scrambled_images_have_the_same_pixels():
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    mixed = scrambled(image, np.random.default_rng(1), blocks=6)
    assert mixed.shape == (40, 60, 3)
    assert (mixed != image).any()
    assert np.array_equal(np.sort(mixed.ravel()), np.sort(image.ravel()))


def test_steps_are_a_function_of_the_seed_and_a_stopped_run_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scenes, negatives = rendered_scenes(2), faceless_images(1)
    assert [len(s.boxes) for s in scenes] == [1, 2]
    source = DetectorSource(scenes, negatives, CONFIG, torch.device("cpu"))
    assert torch.equal(source.draw(3).images, source.draw(3).images)
    monkeypatch.setattr("pair_fld.face_detector.train.STEPS_PER_EPOCH", 3)
    monkeypatch.setattr("pair_fld.face_detector.mining.FALSE", 0.0)  # mined before step 3; the run stops after step 4
    record = provenance(CONFIG.model_dump(mode="json"), data_hash="none")
    whole = fit_detector(CONFIG, scenes, negatives, RunSpec(tmp_path / "whole", device="cpu"), record)

    class Stop(Exception):
        pass

    def stop(progress: TrainProgress) -> None:
        if progress.step == 4:
            raise Stop

    run = RunSpec(tmp_path / "parts", resume=True, device="cpu")
    with pytest.raises(Stop):
        fit_detector(CONFIG, scenes, negatives, run, record, stop)
    assert find_run(tmp_path, "parts").state == "stopped"
    parts = fit_detector(CONFIG, scenes, negatives, run, record)
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert (tmp_path / "whole" / METRICS).read_text() == (tmp_path / "parts" / METRICS).read_text()
    found = find_run(tmp_path, "parts")
    assert (found.kind, found.state, found.epochs_done) == ("detector", "finished", 2)
    other = CONFIG.model_copy(update={"batch_size": 2})
    changed = provenance(other.model_dump(mode="json"), data_hash="none")
    with pytest.raises(
        PairError, match=r"found batch_size=2 \(it was started with 4\). Only lr, steps, mining_rounds, "
    ):
        fit_detector(other, scenes, negatives, run, changed)


def test_losses_of_parts_add_up_to_that_of_the_whole():
    """A step in two parts has the loss of the step in one, though only one part has a face."""
    targets = [target_map(view, 64, 8) for view in (seen([15.5, 15.5, 47.5, 47.5]), seen())]
    batch = DetectorBatch(torch.from_numpy(np.stack(targets)))
    outputs, objective = torch.randn(2, 15, 8, 8), DetectorObjective()
    parts = batch.split(2)
    weights = torch.stack([objective.weights(part) for part in parts])
    assert weights.tolist() == [
        [4, 4, 4],
        [1, 1, 1],
    ]  # four positive cells (test_target_by_hand); one at least
    terms = torch.stack([objective.terms(out, part) for out, part in zip(outputs.split(1), parts, strict=True)])
    # all divided by five, where the whole divides by its four positive cells
    shares = (terms * weights / weights.sum(dim=0)).sum(dim=0)
    torch.testing.assert_close(shares * 5 / 4, objective.terms(outputs, batch))


def test_the_net_gives_fifteen_maps_at_stride_eight_within_its_budget():
    from torch.utils.flop_counter import FlopCounterMode

    net = DetectorNet(DetectorConfig(steps=1).widths).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert net(torch.zeros(1, 3, 128, 128)).shape == (1, 15, 16, 16)
    assert counter.get_total_flops() <= 0.034e9
    assert sum(p.numel() for p in net.parameters()) <= 220_000
