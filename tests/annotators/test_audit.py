import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.annotators.fit_scheme import fit_scheme
from pair_fld.annotators.pairs import lookup_of, read_pairs
from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data import audit as checks
from pair_fld.data.conventions import move_points
from pair_fld.data.packing.prepare import prepare
from pair_fld.runtime.landmark_files import read_one_face, write_faces
from tests.annotators.shapes import write_annotations, write_set
from tests.cli.command import pairfld

SEEDS = range(12)


def wrong(folder: Path, seed: int, change) -> None:
    path = folder / "set/labels" / f"{seed}.pts"
    write_faces(path, [change(read_one_face(path))])


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    """Twelve faces: 3 has x and y exchanged, 5 its points reversed."""
    write_set(tmp_path, "set", SEEDS)
    wrong(tmp_path, 3, lambda p: p[:, ::-1])
    wrong(tmp_path, 5, lambda p: p[::-1])
    source = SourceConfig(name="set", kind="ibug", path="set", split="train")
    return DataConfig(sources=[source], root=str(tmp_path), pack_size=64, num_workers=1)


def test_sources_whose_labels_are_shifted_are_named(tmp_path: Path):
    """Labels of `b` lie 2 % to the right and 1 % up, its brows 3 % lower among its points.

    The reference is learnt at the zero point of `a`.
    """
    faces = {"a": range(40), "b": range(40, 80)}
    write_set(tmp_path, "a", faces["a"])
    write_set(tmp_path, "b", faces["b"], (2.0, -1.0))
    write_annotations(tmp_path / "labels", tmp_path, faces)
    sources = [SourceConfig(name=name, kind="ibug", path=name, split="train") for name in "ab"]
    config = DataConfig(sources=sources, root=str(tmp_path), pack_size=64, num_workers=1)
    pairs = read_pairs(lookup_of(str(tmp_path / "labels"), lambda _: config), [config])
    fit_scheme(pairs, ridges=(1e-3,))[0].save(tmp_path / "map.npz")
    low = np.where(np.arange(51)[:, None] < 10, [0, 3 - 30 / 51], [0, -30 / 51])  # of mean 0: no shift
    for seed in faces["b"]:
        path = tmp_path / "b/labels" / f"{seed}.pts"
        write_faces(path, [move_points(read_one_face(path), low, np.ones(51, bool))])
    prepare(config, tmp_path / "pack")
    call = (
        "audit",
        str(tmp_path / "pack"),
        "--labels",
        str(tmp_path / "labels"),
        "--scheme",
        str(tmp_path / "map.npz"),
    )
    done = pairfld(*call, "--out", str(tmp_path / "audit"), "--json")
    assert done.code == 0, done.err
    shifts = json.loads(done.out)["shifts"]
    assert [shifts[name]["off"] for name in "ab"] == [False, True]
    assert [shifts["b"][f"{axis}_percent"] for axis in "xy"] == pytest.approx([2.0, -1.0], abs=0.2)
    assert (shifts["b"]["faces"], max(shifts["b"]["spread_percent"]) < 0.5) == (40, True)
    record = json.loads((tmp_path / "audit/run.json").read_text())
    assert record["report"]["shifts"] == shifts
    # b's 10 brow points lie 3 % below its 41 others: 3 sqrt(10 * 41) / 51 = 1.19 %
    conventions = json.loads(done.out)["conventions"]
    assert conventions == record["report"]["conventions"]
    assert [conventions[name]["faces"] for name in "ab"] == [40, 40]
    assert [conventions[name]["rms_percent"] for name in "ab"] == pytest.approx([0.0, 1.19], abs=0.1)
    lines = pairfld(*call, "--out", str(tmp_path / "again")).out.splitlines()
    (row,) = [line for line in lines if line.split()[1:3] == ["b", "│"]]
    assert "off" in row
    assert f"{conventions['b']['rms_percent']:.2f}" in row


def test_prepare_warns_drops_or_is_silent(data: DataConfig, tmp_path: Path):
    expected = {checks.XY_EXCHANGED: 1, checks.REVERSED: 1}
    warned = prepare(data, tmp_path / "warn")
    assert (warned["faces"], warned["warnings"]) == (12, expected)
    dropped = prepare(data.model_copy(update={"audit": "drop"}), tmp_path / "drop")
    assert dropped["faces"] == 10
    assert dropped["left_out"] == {f"audit: {reason}": 1 for reason in expected}
    assert dropped["warnings"] == {}
    off = prepare(data.model_copy(update={"audit": "off"}), tmp_path / "off")
    assert (off["faces"], off["warnings"]) == (12, {})


def test_the_verb_ranks_and_shows_the_worst(data: DataConfig, tmp_path: Path):
    # a face of smooth grey, and one of 20 pixels
    image = tmp_path / "set/images/7.png"
    image.write_bytes(cv2.imencode(".png", np.full((240, 240, 3), 90, np.uint8))[1].tobytes())
    wrong(tmp_path, 8, lambda p: (p - p.mean(axis=0)) * 20 / np.ptp(p, axis=0).max() + 120)
    prepare(data, tmp_path / "pack")
    done = pairfld("audit", str(tmp_path / "pack"), "--out", str(tmp_path / "audit"), "--json")
    assert done.code == 0, done.err
    tree = json.loads(done.out)
    assert tree["faces"] == 12
    found = {entry["path"]: [v["reason"] for v in entry["verdicts"]] for entry in tree["worst"]}
    assert found["set/images/3.png"][0] == checks.XY_EXCHANGED
    assert found["set/images/5.png"][0] == checks.REVERSED
    assert checks.SOFT in found["set/images/7.png"]
    assert checks.SMALL in found["set/images/8.png"]
    # labels that are wrong for certain come before faces that are poor
    assert set(list(found)[:2]) == {"set/images/3.png", "set/images/5.png"}
    with (tmp_path / "audit/audit.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert {line["path"] for line in lines if line["certain"] == "yes"} == {"set/images/3.png", "set/images/5.png"}
    sheet = cv2.imread(str(tmp_path / "audit/worst.png"))
    assert sheet is not None
    assert sheet.shape[1] == 8 * 64
    assert pairfld("audit", str(tmp_path / "pack"), "--out", str(tmp_path / "audit")).code == 2
    assert "doubtful" in pairfld("audit", str(tmp_path / "pack"), "--out", str(tmp_path / "audit"), "--overwrite").out
