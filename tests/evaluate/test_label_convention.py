"""Where one data set's labels lie against a model's points: learnt on training faces, added by the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pair_fld.errors import PairError
from pair_fld.evaluate import label_convention
from pair_fld.evaluate.ensemble import MirrorAverage, ModelAverage
from pair_fld.evaluate.label_convention import Residuals, learn_convention, mean_shift, open_convention
from pair_fld.evaluate.validate import open_model
from pair_fld.export.metadata import replace_metadata
from pair_fld.runtime.frame import fit_frame
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.session import load_model, read_metadata
from tests.data.labelled_folders import add_face
from tests.submit.conftest import SIZE, tiny_model
from tests.submit.conftest import models as models  # the fixture

ALL = np.ones((4, 51), bool)
CONVENTION = """
root: {root}
sources:
  - {{name: a, kind: ibug, path: a, split: train, weight: 1}}
  - {{name: b, kind: ibug, path: b, split: train, weight: 3}}
"""


def residuals(off: np.ndarray | tuple[float, float], weight: float = 1.0, mask: np.ndarray = ALL) -> Residuals:
    """Four faces whose labels are the model's points plus `off`."""
    predicted = np.repeat(MEAN_FACE[None], 4, axis=0)
    return Residuals(predicted, predicted + off, mask, weight)


def test_sources_count_by_their_weight() -> None:
    # (1 x (0.02, 0) + 3 x (0, 0.04)) / 4 = (0.005, 0.03)
    shift = mean_shift([residuals((0.02, 0.0)), residuals((0.0, 0.04), weight=3.0)], per_point=True)
    assert shift == pytest.approx(np.tile([0.005, 0.03], (51, 1)))


def test_a_point_without_labels_takes_the_mean_of_the_others() -> None:
    off, mask = np.zeros((51, 2)), ALL.copy()
    off[:25], off[25:] = (0.01, 0.0), (0.03, 0.0)
    mask[:, 50] = False
    # 25 points of 0.01 and 25 of 0.03: 0.02
    assert mean_shift([residuals(off, mask=mask)], per_point=True)[[0, 49, 50], 0] == pytest.approx([0.01, 0.03, 0.02])
    assert mean_shift([residuals(off, mask=mask)], per_point=False)[:, 0] == pytest.approx(np.full(51, 0.02))


def written(folder: Path, *, brows: float, noise: float = 0.0) -> str:
    """Two sources of 60 faces: the mean face as the model sees it, its brows higher, all to the right."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for number in range(60):
            points = 60 + 40 * MEAN_FACE + (0.8, 0.0) + rng.normal(0, noise, (51, 2))
            points[:10, 1] -= brows
            add_face(folder / name, f"{number:02d}", number, points)
    (folder / "mine.yaml").write_text(CONVENTION.format(root=folder))
    return str(folder / "mine.yaml")


def test_higher_brows_are_learnt_point_by_point(models: dict[str, Path], tmp_path: Path) -> None:
    source = open_convention(written(tmp_path, brows=2.0))
    assert source is not None
    learned = learn_convention(open_model(models["tflite"]), source)
    assert (learned.name, learned.faces, learned.per_point) == ("mine", 120, True)
    # the model sees the mean face in every crop, and the crop's frame is fitted to the labels: what is left of them is
    # what no similarity takes out, in units of the frame's size
    labels = 60 + 40 * MEAN_FACE + (0.8, 0.0)
    labels[:10, 1] -= 2.0
    frame = fit_frame(labels)
    assert learned.shift == pytest.approx((labels - frame.centre) / frame.size - MEAN_FACE, abs=2e-4)
    assert learned.nme_percent["per_point"] < 1 < learned.nme_percent["common"] <= learned.nme_percent["neutral"]


def test_one_shift_for_all_where_points_of_their_own_predict_no_better(models: dict[str, Path], tmp_path: Path) -> None:
    source = open_convention(written(tmp_path, brows=0.0, noise=1.0))
    assert source is not None
    learned = learn_convention(open_model(models["tflite"]), source)
    assert not learned.per_point
    assert np.ptp(learned.shift, axis=0) == pytest.approx([0, 0])


def test_too_few_faces_are_refused(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_convention(written(tmp_path, brows=0.0))
    assert source is not None
    monkeypatch.setattr(label_convention, "MIN_FACES", 61)
    with pytest.raises(PairError, match="convention mine: expected 61 faces of each source, found 60"):
        learn_convention(open_model(models["tflite"]), source)


def test_neutral_is_none_and_unknown_names_are_refused() -> None:
    assert open_convention("neutral") is None
    with pytest.raises(PairError, match=r"expected a convention configuration, found no such file.*pair2024"):
        open_convention("pair2025")


@pytest.fixture
def shifted(tmp_path: Path) -> Path:
    """The mean-face model with a convention: 0.0145 of the frame's size to the right, 0.029 down for point 0."""
    path = tiny_model(tmp_path)["tflite"]
    metadata = read_metadata(path)
    shift = np.tile([0.0145, 0.0], (51, 1))
    shift[0, 1] = 0.029
    replace_metadata(path, metadata | {"convention": {"name": "mine", "shift": shift.tolist()}})
    return path


def test_the_runtime_adds_it(models: dict[str, Path], shifted: Path) -> None:
    crop = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    moved = load_model(shifted).predict(crop) - load_model(models["tflite"]).predict(crop)
    # a crop of 32 px shows 1.45 frames: 0.0145 of a frame is 0.0145 / 1.45 x 32 = 0.32 px
    assert moved[0, :, 0] == pytest.approx(np.full(51, 0.32), abs=1e-5)
    assert moved[0, :2, 1] == pytest.approx([0.64, 0.0], abs=1e-5)


def test_mirrored_and_averaged_predictions_keep_the_shift(models: dict[str, Path], shifted: Path) -> None:
    crop = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    plain, moved = open_model(models["tflite"]), open_model(shifted)
    gained = MirrorAverage(moved).predict(crop) - MirrorAverage(plain).predict(crop)
    assert gained[0, 1] == pytest.approx([0.32, 0.0], abs=1e-5)
    # of two models of which one has the convention: half of it
    gained = MirrorAverage(ModelAverage([plain, moved])).predict(crop) - MirrorAverage(plain).predict(crop)
    assert gained[0, 1] == pytest.approx([0.16, 0.0], abs=1e-5)


@pytest.mark.parametrize("shift", [[[0.1, 0.0]] * 50, [[0.6, 0.0]] * 51, [[float("nan"), 0.0]] * 51, 3])
def test_a_damaged_convention_is_refused(shifted: Path, shift: object) -> None:
    metadata = read_metadata(shifted)
    replace_metadata(shifted, metadata | {"convention": {"name": "mine", "shift": shift}})
    with pytest.raises(ValueError, match="convention whose shift is not 51 small pairs"):
        load_model(shifted)
