"""`pairfld predict --coco` and `--labelme`: drafts that come back as a source."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.sources.listing import list_samples
from tests.cli.test_predict import BOXES, photos, predict
from tests.cli.test_results import video

__all__ = ["BOXES", "photos"]  # a fixture comes by its name


@pytest.mark.parametrize(("kind", "path"), [("coco", "out/drafts.json"), ("labelme", "out/drafts")])
def test_drafts_come_back_as_a_source(photos: Path, kind: str, path: str) -> None:
    done = predict(photos, f"--{kind}", path, "--json", "all.json")
    assert done.code == 0, done.err
    assert not Path("landmarks").exists()  # something else was asked for
    source = SourceConfig.model_validate({"name": "s", "kind": kind, "path": path})
    listed = list_samples(DataConfig(sources=[source], root="."))
    # JSON holds three decimals
    predicted = {
        (Path(entry["image"]).resolve(), number): face["points"]
        for entry in json.loads(Path("all.json").read_text())
        for number, face in enumerate(entry["faces"])
    }
    assert len(listed.samples) == len(predicted) == 4
    for sample in listed.samples:
        same = [p for (image, _), p in predicted.items() if image == sample.path.resolve()]
        assert any(np.abs(np.array(points) - sample.points).max() < 6e-4 for points in same)
    assert [entry.reason for entry in listed.left_out] == ["image without labels"]  # none.png


def test_corrected_drafts_stay(photos: Path) -> None:
    assert predict(photos / "one.png", "--labelme", "drafts").code == 0
    corrected = Path("drafts/one.json")
    corrected.write_text("corrected by hand")
    again = predict(photos / "one.png", "--labelme", "drafts")
    assert again.code == 2
    assert "expected no earlier results, found a file of that name" in again.err
    assert predict(photos, "--labelme", "drafts", "--resume").code == 0
    assert corrected.read_text() == "corrected by hand"
    assert Path("drafts/more/one.json").is_file()
    assert predict(photos / "one.png", "--coco", "drafts/one.json").code == 2
    assert corrected.read_text() == "corrected by hand"


def test_videos_have_no_images_to_correct(photos: Path) -> None:
    video(Path("clip.avi"))
    done = predict("clip.avi", "--coco", "drafts.json")
    assert done.code == 2
    assert "clip.avi has no image files, which --coco and --labelme are labels of" in done.err
    assert not Path("drafts.json").exists()
