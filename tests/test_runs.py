"""Run folders: nothing is overwritten, nothing is left half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from pair_fld.errors import PairError
from pair_fld.runs import atomic_path, claim_folder, provenance, read_json, write_json


def test_claim_refuses_a_folder_with_files(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(PairError, match="expected a new or empty output folder, found one with files in it"):
        claim_folder(tmp_path)
    with pytest.raises(PairError, match=r"expected a folder of an earlier run \(with run.json\), found some other"):
        claim_folder(tmp_path, overwrite=True)
    assert (tmp_path / "precious.txt").read_text() == "x"


def test_claim_replaces_an_earlier_run_only_when_told(tmp_path: Path) -> None:
    run = tmp_path / "run"
    claim_folder(run)
    write_json(run / "run.json", {})
    with pytest.raises(PairError, match="--overwrite"):
        claim_folder(run)
    claim_folder(run, overwrite=True)
    assert list(run.iterdir()) == []


def test_claim_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(PairError, match="expected a folder, found a file"):
        claim_folder(tmp_path / "file")


def test_atomic_path_leaves_the_old_file_on_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_read_json_faults(tmp_path: Path) -> None:
    with pytest.raises(PairError, match="expected a record, found no such file"):
        read_json(tmp_path / "none.json", "a record")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(PairError, match="expected a record, found damaged JSON"):
        read_json(tmp_path / "bad.json", "a record")


def test_provenance_names_versions_and_data() -> None:
    record = provenance({"a": 1}, seed=3, data_hash="h")
    assert record["config"] == {"a": 1}
    assert (record["seed"], record["data_hash"]) == (3, "h")
    assert set(record["packages"]) >= {"torch", "numpy", "onnx"}
