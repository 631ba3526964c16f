"""Several models, several views and an annotator as one."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pair_fld.config import DataConfig, ModelConfig, SourceConfig
from pair_fld.data.packing.prepare import prepare
from pair_fld.data.sample import Crop, Sample
from pair_fld.data.second_opinion import Reference
from pair_fld.evaluate.ensemble import MAX_VIEWS, ViewAverage, towards_annotator
from pair_fld.models import build_model
from pair_fld.models.checkpoint import save_checkpoint
from tests.cli.command import pairfld


class Blob:
    """Gives the middle of what is bright for every point, plus the shift of its label convention."""

    margin = 1.45

    def __init__(self, size: int, shift: float = 0.0) -> None:
        self.input_size, self.label_shift = size, np.tile([shift, 0.0], (51, 1))

    def predict(self, crops: np.ndarray) -> np.ndarray:
        weight = crops[..., 0].astype(np.float64)
        rows, columns = np.mgrid[: self.input_size, : self.input_size]
        places = np.array([[(w * columns).sum() / w.sum(), (w * rows).sum() / w.sum()] for w in weight])
        return np.repeat(places[:, None], 51, axis=1) + self.label_shift


def blob(size: int, x: float, y: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    grey = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 50)
    return np.repeat(grey[None, ..., None], 3, axis=-1).astype(np.uint8)


def test_every_view_of_every_model_leads_back_to_the_same_place() -> None:
    both = ViewAverage([Blob(64), Blob(96)], MAX_VIEWS)
    # as fine as the 96 px model's crop and 1.25 times as wide
    assert (both.input_size, both.margin) == (120, pytest.approx(1.8125))
    for x, y in ((60.0, 60.0), (45.0, 70.0)):
        np.testing.assert_allclose(both.predict(blob(120, x, y))[0], np.tile([x, y], (51, 1)), atol=0.1)


def test_a_shift_of_the_label_convention_neither_turns_nor_is_mirrored() -> None:
    # 2 of 48 pixels of the model's crop, which is as fine as the wider crop: 2 pixels to the right in every view
    found = ViewAverage([Blob(48, shift=2.0)], MAX_VIEWS).predict(blob(60, 28.0, 33.0))[0]
    np.testing.assert_allclose(found, np.tile([30.0, 33.0], (51, 1)), atol=0.1)


def _crop(scale: float) -> Crop:
    return cast(Crop, SimpleNamespace(matrix=np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]])))


def test_an_annotator_counts_where_it_agrees_with_itself_and_the_models() -> None:
    predicted = np.zeros((1, 51, 2))
    predicted[0, 19], predicted[0, 28] = (0, 0), (100, 0)  # the eye distance: 100 crop pixels
    answer, apart = predicted[0] / 2, np.zeros(51)  # the image has half of the crop's pixels
    answer[0] += (2.0, 0.0)  # 4 crop pixels away, within 10 % of 100: 0.35 of the way is 1.4
    answer[1] += (6.0, 0.0)  # 12 crop pixels
    answer[2] += (2.0, 0.0)
    apart[2] = 2.5  # 5 crop pixels between both flips, above 4 % of 100
    answer[3] += (2.0, 0.0)
    apart[3] = np.nan  # only one flip was answered
    answer[4] = np.nan
    expected = predicted[0].copy()
    expected[0] += (1.4, 0.0)
    reference = cast(Reference, SimpleNamespace(answer=lambda key, path: (answer, apart)))
    sample = Sample(Path("a.png"), "a.png", 0)
    found = towards_annotator(predicted, [sample], [_crop(2.0)], reference)[0]
    np.testing.assert_allclose(found, expected)
    nothing = cast(Reference, SimpleNamespace(answer=lambda key, path: None))
    np.testing.assert_array_equal(towards_annotator(predicted, [sample], [_crop(2.0)], nothing), predicted)


def _checkpoint(path: Path, size: int) -> Path:
    options: dict[str, Any] = {"stages": [[2, 8, 1, 2], [2, 8, 1, 2], [2, 8, 1, 2]], "width": 8, "stem": 8}
    config = ModelConfig(arch="heatmap_net", input_size=size, options=options)
    record = {"config": {"model": config.model_dump(mode="json")}}
    save_checkpoint(path, {"ema": build_model(config).state_dict(), "record": record})
    return path


def test_validate_averages_models_of_other_crops_views_and_an_annotator(labels: Path, tmp_path: Path) -> None:
    one, other = _checkpoint(tmp_path / "one.pt", 32), _checkpoint(tmp_path / "other.pt", 64)
    call = ("validate", str(one), "--ensemble", str(other), "--ensemble", str(labels), "--images", str(tmp_path / "t"))
    done = pairfld(*call, "--views", "3", "--work", str(tmp_path / "w"), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["faces"] == 6  # the one that the annotator missed too
    assert "its answers stay in its own convention, since" in done.err
    source = SourceConfig(name="a", kind="ibug", path="a", split="train")
    prepare(DataConfig(sources=[source], root=str(tmp_path), pack_size=32, num_workers=1), tmp_path / "w" / "data")
    done = pairfld(*call, "--work", str(tmp_path / "w"), "--json")
    assert done.code == 0, done.err
    moved = json.loads(done.out)["annotator_convention"]
    # the map is learnt from these very labels: what is left to move is a few thousandths of the eye distance
    assert (list(moved["training_faces"]), moved["rms_percent"] < 0.5) == (["a"], True)
    refused = pairfld(*call, "--slices", "--work", str(tmp_path / "w"))
    assert refused.code == 2
    assert "--disturbed and --slices measure models alone" in refused.err
    refused = pairfld("validate", str(labels), "--views", "2", "--images", str(tmp_path / "t"), "--work", str(tmp_path))
    assert refused.code == 2
    assert "expected a model for --ensemble, --flip, --views or --split valid, found a folder." in refused.err
