"""No verb empties a folder that holds an input of the same call, and gates count what was not measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pair_fld.runs import MARKER
from tests.cli.command import pairfld
from tests.data.labelled_folders import add_face

STAGES = {
    "train-teacher": "training of a teacher",
    "distill": "training of a student",
    "ablate": "ablation",
    "train-detector": "train-detector",
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The folder `made`, an earlier result of the test's verb, with files that somebody may want to read."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "made"
    folder.mkdir()
    for name in ("best.pt", "model.tflite", "model.onnx"):
        (folder / name).write_bytes(b"hours of work")
    return folder


@pytest.mark.parametrize(
    "call",
    [
        ["train-teacher", "--dataset", "made/pack"],
        ["distill", "--dataset", "pack", "--teacher", "link/best.pt"],
        ["distill", "--dataset", "pack", "--teacher", "made/best.pt"],
        ["ablate", "--dataset", "pack", "--teacher", "made/best.pt"],
        ["quantize", "--dataset", "pack", "--checkpoint", "made/best.pt"],
        ["package", "--dataset", "pack", "--model", "made/model.tflite"],
        ["validate", "made/model.tflite", "--images", "faces"],
        ["validate", "texts", "--images", "made/faces"],
        ["prepare", "--recipe", "r.yaml", "--root", "made"],
        ["train-detector", "--dataset", "made/pack"],
        ["annotate", "annotator", "made/faces"],
        ["audit", "made/pack"],
        ["report", "made/model.tflite"],
    ],
)
def test_an_input_in_the_output_folder_is_not_removed(made: Path, dot_pack: Path, call: list[str]) -> None:
    Path("link").symlink_to(made)
    shutil.copytree(dot_pack, "pack")
    shutil.copytree(dot_pack, made / "pack")
    add_face(Path("faces"), "a", 1)
    add_face(made / "faces", "a", 1)
    Path("texts").mkdir()
    Path("d.yaml").write_text("sources: [{name: a, kind: ibug, path: faces}]")
    Path("r.yaml").write_text("{name: r, data: d.yaml, teacher: unet64, student: heat64, budget: pair2024}")
    (made / MARKER).write_text(STAGES.get(call[0], call[0]) + "\n")
    Path("annotator").mkdir()
    for name in ("run_model.py", "requirements.txt"):
        Path("annotator", name).touch()
    before = {p: p.read_bytes() for p in made.rglob("*") if p.is_file()}
    work = [] if call[0] in ("annotate", "audit", "report") else ["--work", "w"]
    done = pairfld(*call, "--out", "made", "--overwrite", *work)
    assert done.code == 2
    assert "is an input of this call and lies in the output folder made" in done.err
    assert {p: p.read_bytes() for p in made.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("target", "expected"), [("made/model.onnx", "is an input"), ("old.png", "no earlier results")]
)
def test_a_plot_replaces_neither_a_model_nor_an_earlier_plot(made: Path, target: str, expected: str) -> None:
    Path("old.png").write_bytes(b"hours of work")
    done = pairfld(
        "benchmark", "models", "made/model.onnx", "--plot", target, *(["--overwrite"] if "made" in target else [])
    )
    assert done.code == 2
    assert expected in done.err
    assert Path(target).read_bytes() == b"hours of work"


def test_a_map_replaces_neither_its_labels_nor_an_earlier_map(made: Path) -> None:
    Path("table.csv").write_text("hours of work")
    Path("map.npz").write_text("hours of work")
    for target, flags, expected in (("table.csv", ["--overwrite"], "is an input"), ("map.npz", [], "no earlier")):
        done = pairfld("fit-scheme", "--from", "table.csv", "--to", "faces", "--out", target, *flags)
        assert (done.code, expected in done.err) == (2, True)
        assert Path(target).read_text() == "hours of work"


def texts_of_four_faces(damaged: int) -> None:
    """faces/: four labelled faces, `damaged` of them unreadable; texts/: the labels themselves."""
    Path("texts").mkdir()
    for k, name in enumerate("abcd"):
        add_face(Path("faces"), name, k)
        shutil.copy(f"faces/labels/{name}.pts", f"texts/{name}.txt")
    for name in "abcd"[:damaged]:
        Path(f"faces/images/{name}.png").write_bytes(b"no image")


def test_a_gate_says_how_many_faces_it_rests_on(made: Path) -> None:
    texts_of_four_faces(damaged=3)
    call = ["validate", "texts", "--images", "faces", "--max-nme", "5"]
    done = pairfld(*call, "--out", "r1")
    assert done.code == 1
    assert "only 1 of 4 labelled faces were measured" in done.err
    assert "1 of 4 labelled faces were measured, fewer than the 100 % of --min-measured" in done.err
    assert json.loads(Path("r1/metrics.json").read_text())["labelled_faces"] == 4
    assert pairfld(*call, "--out", "r2", "--min-measured", "25").code == 0
    assert pairfld(*call, "--out", "r3", "--min-measured", "26").code == 1
    done = pairfld("validate", "texts", "--images", "faces", "--out", "r4")  # no gate: a sentence
    assert (done.code, "only 1 of 4" in done.err) == (0, True)


def test_a_gate_over_all_faces_passes_without_more_words(made: Path) -> None:
    texts_of_four_faces(damaged=0)
    done = pairfld("validate", "texts", "--images", "faces", "--max-nme", "5", "--out", "r")
    assert (done.code, "only" in done.err) == (0, False), done.err


def test_paths_are_printed_as_they_were_given(made: Path) -> None:
    texts_of_four_faces(damaged=1)
    for folder in (Path("faces"), Path("faces").absolute()):
        done = pairfld("validate", "texts", "--images", str(folder), "--out", f"r{len(str(folder))}")
        (line,) = [line for line in done.err.splitlines() if line.startswith("left out: ")]
        assert line.split()[2].rstrip(":").endswith("faces/images/a.png")
        assert Path(line.split()[2].rstrip(":")).is_file()


def test_a_report_in_the_workspace_stays_when_another_thing_is_measured(made: Path) -> None:
    texts_of_four_faces(damaged=0)
    shutil.copytree("faces", "others")
    for data in ("faces", "others", "faces"):
        assert pairfld("validate", "texts", "--images", data, "--work", "w").code == 0
    assert len(list(Path("w/validate").iterdir())) == 2


def test_a_report_that_is_there_is_refused_before_the_work(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts_of_four_faces(damaged=0)
    assert pairfld("validate", "texts", "--images", "faces", "--out", "r").code == 0
    monkeypatch.setattr("pair_fld.evaluate.validate.validate_texts", lambda *_: pytest.fail("the work had begun"))
    done = pairfld("validate", "texts", "--images", "faces", "--out", "r")
    assert (done.code, "an earlier run of validate" in done.err) == (2, True)
    assert "--resume" not in done.err  # validate has none


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "..", "a/b", ""])
def test_names_stay_in_their_folder(made: Path, name: str) -> None:
    (made.parent / "configs").mkdir()
    recipe = f"{{name: '{name}', data: synthetic, teacher: unet64, student: heat64, budget: pair2024}}"
    Path("r.yaml").write_text(recipe)
    done = pairfld("prepare", "--recipe", "r.yaml")
    assert done.code == 2
    assert "is no name of a folder" in done.err
    if name:
        done = pairfld("package", "--model", "made/model.tflite", "--name", name, "--out", "p")
        assert (done.code, "is not a valid file name" in done.err) == (2, True)


@pytest.mark.parametrize("suffix", [".ONNX", ".TFLITE", ".Onnx"])
def test_suffixes_in_capitals_are_known(made: Path, suffix: str) -> None:
    path = made / f"m{suffix}"
    path.write_bytes(b"no model")
    add_face(Path("faces"), "a", 1)
    for call in (["validate", str(path), "--images", "faces", "--out", "r"], ["benchmark", "models", str(path)]):
        done = pairfld(*call)
        assert done.code == 2
        assert "expected a .onnx or .tflite file" not in done.err
        assert "expected an .onnx or .tflite file" not in done.err
        assert "found .ONNX" not in done.err


def ends(monkeypatch: pytest.MonkeyPatch, verb: str, error: BaseException, *call: str):
    def raising(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(verb, raising)
    return pairfld(*call)


def test_ctrl_c_advises_resume_only_where_there_is_one(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, packed = "pair_fld.train.run_history.list_runs", "pair_fld.data.packing.prepare.prepare"
    done = ends(monkeypatch, listed, KeyboardInterrupt(), "runs")
    assert (done.code, done.err) == (130, "interrupted\n")
    done = ends(monkeypatch, packed, KeyboardInterrupt(), "prepare")
    assert (done.code, "interrupted; --resume continues" in done.err) == (130, True)


@pytest.mark.parametrize("error", [EOFError("No data left in file"), BrokenPipeError(), SystemExit(1), MemoryError()])
def test_code_1_is_for_failed_gates_alone(made: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    done = ends(monkeypatch, "pair_fld.train.run_history.list_runs", error, "runs")
    assert done.code == 2
    assert "Aborted" not in done.err


def test_defaults_that_a_verb_works_out_are_shown(made: Path) -> None:
    done = pairfld("distill", "--help")
    for default in ("WORK/student", "WORK/teacher/best.pt", "WORK/data", "runs/RECIPE"):
        assert f"[default: ({default})]" in done.out
