"""Measurements of other devices are read, compared, and named when they are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pair_fld.demo.measurements import FORMAT, STAGES
from tests.cli.command import pairfld

GOOD: dict[str, Any] = {
    "format": FORMAT,
    "archive": "tiny",
    "model_sha256": "0" * 64,
    "engine": "LiteRT",
    "device": "a telephone",
    "cores": 8,
    "runs": 100,
    "load_ms": 1520,
    "stages": {name: {"median_ms": 1.25 + k, "p95_ms": 2.5 + k} for k, name in enumerate(STAGES)},
    "live": {"frames_per_second": 29.7, "stages": {}},
}


def saved(folder: Path, tree: Any) -> str:
    path = folder / "phone.json"
    path.write_text(json.dumps(tree))
    return str(path)


def test_a_device_is_a_row(tmp_path: Path) -> None:
    done = pairfld("benchmark", "devices", saved(tmp_path, GOOD))
    assert done.code == 0, done.err
    assert "a telephone" in done.out
    assert "1.25 / 2.50" in done.out
    assert "30" in done.out
    (entry,) = json.loads(pairfld("benchmark", "devices", saved(tmp_path, GOOD), "--json").out)["devices"]
    assert entry["stages"]["face"] == {"median_ms": 2.25, "p95_ms": 3.5}  # the second stage: 1.25 + 1, 2.5 + 1
    assert entry["load_ms"] == 1520


def test_files_of_earlier_pages_are_read(tmp_path: Path) -> None:
    stages = dict(GOOD["stages"])
    stages["look"] = stages.pop("view")  # as they named it
    done = pairfld("benchmark", "devices", saved(tmp_path, {**GOOD, "stages": stages}), "--json")
    (entry,) = json.loads(done.out)["devices"]
    assert entry["stages"]["view"] == {"median_ms": 1.25, "p95_ms": 2.5}
    assert "look" not in entry["stages"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"format": "other"}, "other JSON"),
        ({"stages": {}}, "no 'view'"),
        ({"device": 3}, "3 where a text belongs"),
        ({"load_ms": -1}, "-1 where a number belongs"),
        ({"live": []}, "damaged ones"),
    ],
)
def test_other_files_are_named(tmp_path: Path, change: dict[str, Any], found: str) -> None:
    done = pairfld("benchmark", "devices", saved(tmp_path, {**GOOD, **change}))
    assert done.code == 2
    assert found in done.err
    assert "phone.json" in done.err
