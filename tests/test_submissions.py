"""The committed records: whole, within the bounds that they claim, and as good on real faces as they say."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from pair_fld.config import BudgetConfig, load_section
from pair_fld.evaluate.validate import labelled_folder, open_model, validate_model
from pair_fld.export.model_cost import model_cost

SUBMISSIONS = Path(__file__).parents[1] / "submissions"
ENTRIES = sorted(p.parent for p in SUBMISSIONS.glob("*/metrics.json"))


def unpacked(entry: Path, folder: Path) -> Path:
    """The landmark model of a record's archive."""
    (archive,) = entry.glob("*.zip")
    with zipfile.ZipFile(archive) as packed:
        packed.extract("model.tflite", folder)
    return folder / "model.tflite"


@pytest.mark.parametrize("name", ["small", "tiny", "nano"])
def test_the_family_is_there_and_logged(name: str) -> None:
    assert SUBMISSIONS / name in ENTRIES
    assert f"submissions/{name}" in (SUBMISSIONS / "LOG.md").read_text()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda p: p.name)
def test_archive_is_what_its_metrics_describe(entry: Path) -> None:
    claimed = json.loads((entry / "metrics.json").read_text())["package"]
    (archive,) = entry.glob("*.zip")
    with zipfile.ZipFile(archive) as packed:
        found = {name: hashlib.sha256(packed.read(name)).hexdigest() for name in packed.namelist()}
    assert found == claimed["sha256"]
    assert archive.stat().st_size / 1e6 == pytest.approx(claimed["archive_mb"])


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda p: p.name)
def test_archive_keeps_the_budget_and_is_all_int8(entry: Path, tmp_path: Path) -> None:
    cost = model_cost(unpacked(entry, tmp_path))
    budget = load_section(BudgetConfig, "budget", "pair2024")
    assert cost.gflops <= budget.gflops.max
    assert cost.size_mb <= budget.model_mb.max
    assert not cost.heavy_not_int8()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda p: p.name)
def test_archive_scores_on_real_faces_what_it_claims(entry: Path, tmp_path: Path, shared_data: Path) -> None:
    claimed = json.loads((entry / "metrics.json").read_text())["metrics"]
    model = open_model(unpacked(entry, tmp_path))
    result, left_out = validate_model(model, labelled_folder([shared_data / "lfpw/valid"]))
    assert left_out == []
    assert result.faces == 112
    # another runtime version may round an int8 product the other way: a hundredth of a percent
    nme = result.overall["outer_corners"].nme_percent
    assert nme == pytest.approx(claimed["lfpw-valid"]["nme_outer_corners_percent"], abs=0.01)
