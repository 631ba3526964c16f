import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.config import BudgetConfig, load_section
from pair_fld.errors import GateError, PairError
from pair_fld.inference.archive import shipped_archive
from pair_fld.runtime.landmark_files import format_faces
from pair_fld.submit.archive import package
from pair_fld.submit.verify import verify

DEMO = ("image_0001", "image_0180", "image_0429", "image_1148")


@pytest.fixture(scope="module")
def archive(detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model packed anew: an untrained one would not throw out what is no face."""
    folder = tmp_path_factory.mktemp("verify")
    with zipfile.ZipFile(shipped_archive()) as shipped:
        shipped.extract("model.tflite", folder)
    budget = load_section(BudgetConfig, "budget", "pair2024")
    package([folder / "model.tflite"], folder / "tiny.zip", budget, detector=detector)
    return folder / "tiny.zip"


def check_demo(faces) -> None:
    """Face counts of the four contest images as a person would give them."""
    assert faces["image_0001"] == 1
    assert faces["image_0180"] in (1, 2)  # the driver, and a passenger half hidden behind the seat
    assert faces["image_0429"] == 0
    assert faces["image_1148"] in (3, 4)  # the fourth is out of focus behind the others


def test_the_archive_runs_from_its_own_folder(archive: Path, shared_data: Path):
    images = [shared_data / "contest_demo" / f"{name}.jpg" for name in DEMO]
    report = verify(archive, images, install=False)
    check_demo(report.faces)
    assert report.run_s > 0
    assert report.to_json()["images"] == 4


@pytest.mark.slow
def test_the_archive_runs_in_a_fresh_environment(archive: Path, shared_data: Path):
    probe = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(archive.parent), "ai-edge-litert"]
    if subprocess.run(probe, capture_output=True, timeout=300).returncode != 0:
        pytest.skip("pip reaches no package index here")
    images = [shared_data / "contest_demo" / f"{name}.jpg" for name in DEMO]
    check_demo(verify(archive, images).faces)


def face(x: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 51, endpoint=False)
    return np.stack([x + 20 * np.cos(turn), 50 + 20 * np.sin(turn)], axis=1)


@pytest.fixture
def fake(tmp_path: Path):
    """An archive whose run_model.py writes the given text for every image (None: nothing); and one image."""
    image = tmp_path / "p.png"
    image.write_bytes(cv2.imencode(".png", np.zeros((100, 200, 3), np.uint8))[1].tobytes())

    def make(text: str | None, code: int = 0) -> tuple[Path, list[Path]]:
        script = (
            "import sys, pathlib\n"
            "names = [pathlib.Path(n).stem for n in open(sys.argv[1]).read().split()]\n"
            "out = pathlib.Path(sys.argv[2]); out.mkdir()\n"
            f"text = {text!r}\n"
            "for n in names if text is not None else []: (out / (n + '.txt')).write_text(text)\n"
            f"print('the last words', file=sys.stderr); sys.exit({code})\n"
        )
        path = tmp_path / "fake.zip"
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("run_model.py", script)
        return path, [image]

    return make


def test_answers_are_scored_against_labels(fake):
    found = [face(150), face(60), face(20)]
    truth = [face(62), face(151), face(300)]  # 2 off, 1 off, not found
    report = verify(*fake(format_faces(found)), {"p": truth, "elsewhere": [face(0)]}, install=False)
    assert (report.labelled, report.missed, report.unmatched) == (3, 1, 1)
    assert report.result is not None
    np.testing.assert_allclose(sorted(report.result.nme["box"]), [1 / 40, 2 / 40], rtol=0.01)


def test_labels_of_other_schemes_are_accepted(fake):
    label = np.concatenate([np.zeros((17, 2)), face(60)])  # 68 points with a jaw
    report = verify(*fake(format_faces([face(60)])), {"p": [label]}, install=False)
    assert report.result is not None
    assert report.result.nme["box"][0] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "run_model.py wrote no p.txt"),
        ("version: 1\nn_points: 51\n{\n1 2\n}\n", "the header promises 51 points, the block holds 1"),
        (format_faces([face(60)[:50]]), "expected 51 finite points per face, found an array (50, 2)"),
        (format_faces([face(60) * np.nan]), "expected 51 finite points per face"),
        (format_faces([face(60), face(150)]), "expected the faces from the image's right to its left"),
    ],
)
def test_answers_that_the_contest_would_not_take(fake, text: str | None, sentence: str):
    with pytest.raises(GateError) as error:
        verify(*fake(text), install=False)
    assert sentence in str(error.value)


def test_a_run_that_fails_shows_its_last_words(fake):
    with pytest.raises(GateError, match=r"run_model\.py ended with exit code 2:\nthe last words"):
        verify(*fake("", code=2), install=False)


@pytest.mark.slow
def test_requirements_that_cannot_be_installed(fake):
    archive, images = fake("")
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("requirements.txt", "./no-such-folder-to-install\n")
    with pytest.raises(GateError, match=r"installing requirements\.txt ended with exit code 1"):
        verify(archive, images)


def test_no_archive_and_no_images(tmp_path: Path, fake):
    with pytest.raises(PairError, match="expected a submission archive"):
        verify(tmp_path / "none.zip", [tmp_path])
    with pytest.raises(PairError, match="at least one to run the archive on"):
        verify(fake("")[0], [])
