"""The study of accuracy against latency: its grid, its front, and that it goes on where it was killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pair_fld.benchmarks import pareto as studies
from pair_fld.benchmarks.pareto import OUTPUTS, Choice, ParetoSpec, Point, choices, pareto, placed, with_front
from pair_fld.config import ParetoConfig, load_section
from pair_fld.data.dataset import FaceDataset
from pair_fld.errors import PairError
from pair_fld.models import build_model
from pair_fld.models.layers import Residual
from pair_fld.train.run_folder import RunSpec
from tests.cli.command import pairfld
from tests.submit.conftest import tiny_model

TREE: dict[str, Any] = {
    "steps": 3,
    "stages": [[2, 16, 1, 2], [2, 16, 1, 2], [2, 24, 2, 2]],
    "neck": 16,
    "input_sizes": [64],
    "heads": ["heatmap", "coordinate"],
    "train": {"epochs": 1, "batch_size": 8, "threads": 1, "amp": False, "losses": {"wing": 1.0}},
    "calibration_images": 8,
}


@pytest.fixture
def config() -> ParetoConfig:
    return ParetoConfig.model_validate_json(json.dumps(TREE))


def spec(folder: Path, **options: Any) -> ParetoSpec:
    reference = tiny_model(folder)["tflite"]
    return ParetoSpec(RunSpec(folder / "out", device="cpu", **options), reference, (reference,), runs=10)


def test_one_change_at_a_time_or_every_combination(config: ParetoConfig) -> None:
    wide = config.model_copy(update={"widths": [1.0, 0.5], "blocks": ["depthwise", "dense"]})
    base = Choice(64, 1.0, 1.0, "heatmap", "depthwise")
    assert choices(wide) == [
        base,
        Choice(64, 1.0, 1.0, "heatmap", "dense"),
        Choice(64, 1.0, 1.0, "coordinate", "depthwise"),
        Choice(64, 0.5, 1.0, "heatmap", "depthwise"),
    ]
    assert len(choices(wide.model_copy(update={"vary": "all"}))) == 2 * 2 * 2


def test_width_and_depth_multiply_channels_and_blocks(config: ParetoConfig) -> None:
    model = Choice(64, 1.5, 1.5, "heatmap", "dense").model(config)
    # 16 x 1.5 = 24, 24 x 1.5 = 36 -> 4.5 eights, rounded to the even 4: 32; blocks 1.5 -> 2 (even), 3
    assert model.options["stages"] == [[2, 24, 2, 2], [2, 24, 2, 2], [2, 32, 3, 2]]
    assert any(isinstance(layer, Residual) for layer in build_model(model).modules())
    assert Choice(64, 0.1, 0.1, "simcc", "depthwise").model(config).options["stages"][0] == [2, 8, 1, 2]


@pytest.mark.parametrize(
    ("blocks", "early", "late"),
    [
        ([2, 3, 4, 3], [3, 3, 4, 2], [1, 3, 4, 4]),
        ([2, 3, 4, 1], [3, 3, 3, 1], [1, 3, 4, 2]),  # the last stage keeps its only block: the third gives one
        ([1, 1, 2], [2, 1, 1], None),  # nothing but the last stage, which would get the block, has one to give
    ],
)
def test_a_block_moves_to_the_first_or_the_last_stage(
    blocks: list[int], early: list[int], late: list[int] | None
) -> None:
    assert placed(blocks, "given") == blocks
    assert placed(blocks, "early") == early
    if late:
        assert placed(blocks, "late") == late
    else:
        with pytest.raises(PairError, match="a stage of two blocks or more beside the last one, found blocks"):
            placed(blocks, "late")


def test_blocks_move_after_depth_has_multiplied_them_and_the_name_says_so(config: ParetoConfig) -> None:
    early = Choice(64, 1.0, 1.5, "heatmap", "depthwise", "early")
    # blocks 1, 1, 2 x 1.5 = 1.5, 1.5, 3 -> 2 (even), 2, 3; one moves from the last stage to the first: 3, 2, 2
    assert early.model(config).options["stages"] == [[2, 16, 3, 2], [2, 16, 2, 2], [2, 24, 2, 2]]
    assert early.name == "64px-heatmap-depthwise-width1-depth1.5-early"
    assert Choice(64, 1.0, 1.5, "heatmap", "depthwise").name == "64px-heatmap-depthwise-width1-depth1.5"


def test_placements_are_one_more_axis(config: ParetoConfig) -> None:
    names = [c.name for c in choices(config.model_copy(update={"placements": ["given", "early"]}))]
    base = "64px-heatmap-depthwise-width1-depth1"
    assert names == [base, f"{base}-early", "64px-coordinate-depthwise-width1-depth1"]


def test_a_placement_that_no_stage_allows_is_told_before_the_study_begins(
    config: ParetoConfig, dot_pack: Path, tmp_path: Path
) -> None:
    study = spec(tmp_path)
    with pytest.raises(PairError, match="placements: late"):
        pareto(config.model_copy(update={"placements": ["given", "late"]}), FaceDataset(dot_pack), study)
    assert not study.run.out.exists()


def test_every_net_of_the_configured_study_can_be_built() -> None:
    config = load_section(ParetoConfig, "pareto", "tiny")
    assert len({build_model(choice.model(config)).output_kind for choice in choices(config)}) == 3


def test_the_front_is_what_nothing_beats() -> None:
    def point(name: str, ratio: float, nme: float) -> Point:
        return Point(name, 0.1, 0.01, ratio, nme)

    front = with_front(
        [point("fast", 0.5, 5.0), point("slow", 1.0, 3.0), point("beaten", 1.0, 4.0), point("bad", 1.2, 3.0)]
    )
    assert [p.name for p in front if p.best] == ["fast", "slow"]


@pytest.mark.slow
def test_a_study_is_measured_written_and_resumed(
    config: ParetoConfig, dot_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, study = FaceDataset(dot_pack), spec(tmp_path)
    points, peers = pareto(config, dataset, study)
    assert [p.name for p in points] == [f"64px-{h}-depthwise-width1-depth1" for h in ("heatmap", "coordinate")]
    assert all(p.latency_ratio > 0 and p.nme_percent and p.gflops for p in points)
    assert peers[0].latency_ratio == 1.0
    out = study.run.out
    assert all((out / name).is_file() for name in OUTPUTS)
    rows = list(csv.DictReader((out / "pareto.csv").open()))
    assert [row["kind"] for row in rows] == ["net", "net", "peer", "peer"]
    assert float(rows[0]["nme_percent"]) == points[0].nme_percent
    assert "3 steps of 8 faces" in (out / "pareto.md").read_text()
    with pytest.raises(PairError, match="an earlier run of pareto"):
        pareto(config, dataset, study)
    # as in the records of studies from before there were placements
    assert "placements" not in json.loads((out / "run.json").read_text())["config"]
    # a study that goes on trains nothing that is done
    again = spec(tmp_path, resume=True)
    monkeypatch.setattr(studies, "train_teacher", lambda *a, **k: pytest.fail("trained again"))
    assert pareto(config, dataset, again)[0] == points
    with pytest.raises(PairError, match="expected the same study to resume"):
        pareto(config.model_copy(update={"steps": 4}), dataset, again)


@pytest.mark.slow
def test_a_killed_study_goes_on(dot_pack: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(TREE))
    reference, out = tiny_model(tmp_path)["tflite"], tmp_path / "out"
    call = ["pareto", "--dataset", str(dot_pack), "--out", str(out), "--config", str(tmp_path / "grid.yaml"),
            "--reference", str(reference), "--runs", "10", "--device", "cpu"]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "pair_fld", *call], stderr=subprocess.DEVNULL)
    first = out / "64px-heatmap-depthwise-width1-depth1" / "point.json"
    deadline = time.monotonic() + 120
    while not first.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert first.is_file()
    written = first.stat().st_mtime_ns
    done = pairfld(*call, "--resume", "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["points"]) == 2
    assert first.stat().st_mtime_ns == written
