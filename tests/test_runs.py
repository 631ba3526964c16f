"""Run folders: nothing is overwritten, nothing is left half written."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from pair_fld.errors import GateError, PairError
from pair_fld.io import atomic_path, read_json
from pair_fld.runs import MARKER, claim_folder, fresh_folder, provenance


def test_claim_refuses_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    (tmp_path / "run.json").write_text('{"mine": 1}')  # a file of that name does not make it ours
    for overwrite in (False, True):
        with pytest.raises(PairError, match="new or empty output folder for prepare, found one with other files in it"):
            claim_folder(tmp_path, "prepare", overwrite=overwrite)
    assert (tmp_path / "precious.txt").read_text() == "x"


def test_claim_replaces_an_earlier_run_of_its_stage_only_when_told(tmp_path: Path) -> None:
    run = tmp_path / "run"
    claim_folder(run, "prepare")
    (run / "faces.npz").write_text("hours of work")
    with pytest.raises(PairError, match=r"found an earlier run of prepare.*--overwrite"):
        claim_folder(run, "prepare")
    with pytest.raises(PairError, match="found one of prepare"):
        claim_folder(run, "quantize", overwrite=True)
    assert (run / "faces.npz").is_file()
    claim_folder(run, "prepare", overwrite=True)
    assert [p.name for p in run.iterdir()] == [MARKER]


def test_fresh_folder_takes_the_place_only_of_a_success(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with fresh_folder(run, "quantize") as draft:
        (draft / "model").write_text("old")

    def fail(error: Exception) -> None:
        with fresh_folder(run, "quantize", overwrite=True) as draft:
            (draft / "model").write_text("new")
            raise error

    with pytest.raises(RuntimeError):
        fail(RuntimeError())
    assert (run / "model").read_text() == "old"
    with pytest.raises(GateError):  # a broken gate leaves its files to look at
        fail(GateError())
    assert (run / "model").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_claim_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(PairError, match="expected a folder, found a file"):
        claim_folder(tmp_path / "file", "prepare")


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


def test_read_json_errors(tmp_path: Path) -> None:
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


def test_provenance_names_the_opencv_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package != "opencv-python":
            raise PackageNotFoundError(package)
        return "5.0.0"

    monkeypatch.setattr("pair_fld.runs.version", version)
    assert provenance({})["packages"] == {"opencv-python": "5.0.0"}
