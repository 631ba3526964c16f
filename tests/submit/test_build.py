"""The package stage's own parts: what a face's score means is learnt for the model at hand."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from pair_fld.config import BudgetConfig, load_section
from pair_fld.data.dataset import FaceDataset
from pair_fld.evaluate.confidence import Candidates
from pair_fld.runtime.blazeface_calibration import BUILT_IN
from pair_fld.runtime.calibration import DetectorCalibration
from pair_fld.runtime.detector import open_detector
from pair_fld.runtime.pipeline import Pipeline, PipelineOptions
from pair_fld.runtime.session import load_model, read_metadata
from pair_fld.submit import build
from pair_fld.submit.archive import package


class Opened:
    """A model file as opened: what it says of itself."""

    def __init__(self, kind: str) -> None:
        self.metadata = {"output": {"kind": kind}, "crop": {}}


@pytest.fixture
def calibration() -> DetectorCalibration:
    none = np.zeros((0, 2))
    return DetectorCalibration("stub", (), none, none[:, 0], np.zeros(4), np.eye(4))


def test_a_model_without_heatmaps_has_no_confidence(
    dot_pack: Path, calibration: DetectorCalibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "load_model", lambda path: Opened("coords"))
    assert build.learned_confidence(FaceDataset(dot_pack), Path("m"), Path("d"), calibration, build.say_nothing) is None


def test_too_few_faces_leave_the_scores_to_the_detector_and_say_so(
    dot_pack: Path, calibration: DetectorCalibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def collect(pipeline: object, images: object) -> Candidates:
        seen.append(sum(not faces for _, faces in images))  # type: ignore[attr-defined]
        empty = np.zeros((0, 51))
        return Candidates(np.zeros((0, 8)), np.zeros(0), np.zeros((0, 2)), empty, empty)

    for name, stub in {"load_model": lambda path: Opened("heatmap"), "open_detector": lambda path: None,
                       "Pipeline": lambda detector, model: None, "collect_candidates": collect,
                       "read_source_images": lambda *a: iter(()),
                       "source_image_count": lambda *a: 9}.items():  # fmt: skip
        monkeypatch.setattr(build, name, stub)
    monkeypatch.setattr(build, "FACELESS", 20)
    said: list[str] = []
    assert build.learned_confidence(FaceDataset(dot_pack), Path("m"), Path("d"), calibration, said.append) is None
    assert seen == [2 * 9]
    assert "scores are the detector's alone: expected 60 or more candidates" in said[-1]


def test_what_the_archive_does_unasked_is_kept_in_its_metadata_and_card(
    models: dict[str, Path], detector: tuple[Path, str], tmp_path: Path
) -> None:
    options = PipelineOptions(refine=2, turned="always", smallest=0.1, min_score=0.3)
    own = BUILT_IN["blazeface_128"]
    copy = build.with_metadata(models["tflite"], own, None, None, options, tmp_path)
    pipeline = Pipeline(open_detector(detector[0]), load_model(copy))
    search = pipeline.detector.search
    assert (pipeline.refine, search.turned, search.smallest, pipeline.min_score) == (2, "always", 0.1, 0.3)
    budget = load_section(BudgetConfig, "budget", "pair2024")
    package([copy], tmp_path / "a.zip", budget, detector=detector)
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        card = packed.read("model_card.md").decode()
    said = "turned views always; faces from 10 % of the image's longer side upward; scores from 0.3 upward; refinement "
    assert f"- `run_model.py` without options: {said}passes: 2.\n" in card
    # 1 view of the whole image and 4 tiles of 0.6 of it, each upright and turned by 120 and -120 degrees
    assert "looks at 15 views of such an image" in card
    # packed again without options, nothing of them is left
    (tmp_path / "again").mkdir()
    metadata = read_metadata(build.with_metadata(copy, own, None, None, PipelineOptions(), tmp_path / "again"))
    assert "search" not in metadata
    assert "refine" not in metadata["crop"]
