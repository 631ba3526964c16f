import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pair_fld.annotators.annotate import annotate
from pair_fld.annotators.annotator import SHIPPED, open_annotator
from pair_fld.annotators.images import data_of
from pair_fld.config import DataConfig, SourceConfig
from pair_fld.data.annotations import Annotations, annotation_path
from pair_fld.errors import PairError
from pair_fld.runtime.frame import Frame, place
from tests.annotators.conftest import red_face, red_image
from tests.cli.command import pairfld


def run(annotator: Path, config: DataConfig, out: Path, **options):
    with open_annotator(str(annotator)) as opened:
        return annotate(opened, config, out, interpreter=sys.executable, **options)


def test_points_come_back_to_the_image_on_both_flips(red_annotator: Path, tmp_path: Path):
    red_face(tmp_path / "faces", "a", (150, 120))
    red_face(tmp_path / "faces", "b", (250, 200), roll=20)
    report = run(red_annotator, data_of(str(tmp_path / "faces")), tmp_path / "out")
    assert list(report.sources.values()) == [{"faces": 2, "found": 2, "both_flips": 2}]
    labels = Annotations(tmp_path / "out")
    for key, centre in (("images/a.png", (150, 120)), ("images/b.png", (250, 200))):
        found = labels.find(key)
        assert found is not None
        for points in found.flips:
            assert points is not None
            # the square's middle; the shown crop is a resampled one, so within a pixel
            np.testing.assert_allclose(points[0], centre, atol=1.0)
    straight = labels.find("images/a.png")
    assert straight is not None
    # point 1 is the left upper end of the shown square: of the mirrored one that is the image's right upper end
    np.testing.assert_allclose(straight.points[1], [130, 100], atol=1.5)
    np.testing.assert_allclose(straight.mirrored[1], [170, 100], atol=1.5)


def test_a_relative_folder_is_installed_and_run_from_where_it_lies(
    red_annotator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    red_face(tmp_path / "faces", "a", (150, 120))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAIRFLD_CACHE", "cache")
    with open_annotator(red_annotator.name) as opened:
        assert opened.folder == Path(red_annotator.name)
        interpreter = opened.interpreter(os.path.relpath(sys.executable))
        assert Path(interpreter).is_relative_to(tmp_path / "cache")
        report = annotate(opened, data_of("faces"), Path("out"), interpreter=sys.executable)
    assert list(report.sources.values()) == [{"faces": 1, "found": 1, "both_flips": 1}]


def test_faces_of_another_place_are_not_taken(red_annotator: Path, tmp_path: Path):
    red_face(tmp_path / "faces", "a", (150, 120))
    # the label moves 50 pixels away from the blob, of a face 60 wide: beyond 0.6 of it
    label = tmp_path / "faces/labels/a.pts"
    label.rename(tmp_path / "faces/labels/b.pts")
    red_image(tmp_path / "faces/images/b.png", (200, 120), 20)
    (tmp_path / "faces/images/a.png").unlink()
    report = run(red_annotator, data_of(str(tmp_path / "faces")), tmp_path / "out")
    assert next(iter(report.sources.values())) == {"faces": 1, "found": 0, "both_flips": 0}
    found = Annotations(tmp_path / "out").find("images/b.png")
    assert found is not None
    assert found.flips == (None, None)
    # it was shown at every margin before it was given up
    assert (red_annotator / "calls.txt").read_text().split() == ["2", "2", "2"]


def test_images_without_labels_are_shown_whole(red_annotator: Path, tmp_path: Path):
    red_image(tmp_path / "plain/deep/x.png", (60, 250), 9)
    report = run(red_annotator, data_of(str(tmp_path / "plain")), tmp_path / "out", flips=1)
    assert next(iter(report.sources.values()))["found"] == 1
    found = Annotations(tmp_path / "out").find("deep/x.png")
    assert found is not None
    np.testing.assert_allclose(found.points, [[60, 250], [51, 241], [69, 241], [69, 259], [51, 259]], atol=1e-3)
    assert found.mirrored is None


def test_a_label_file_is_shown_and_what_is_passed_over_is_counted(red_annotator: Path, tmp_path: Path):
    """Two faces of one image in a table; hidden and linked files are listed by the one rule of all verbs."""
    red_image(tmp_path / "faces" / "x.png", (150, 120), 20)
    rows = [place(Frame(centre, 60.0, 0.0)).ravel() for centre in ((150.0, 120.0), (300.0, 200.0))]
    text = "".join(f"x.png,{','.join(map(str, row))}\n" for row in rows)
    (tmp_path / "faces" / "labels.csv").write_text(text)
    for named in ("faces", "faces/labels.csv"):  # the folder goes by the one table in it
        out = tmp_path / "out" / named.replace("/", "-")
        report = run(red_annotator, data_of(str(tmp_path / named)), out)
        assert list(report.sources.values()) == [{"faces": 2, "found": 1, "both_flips": 1}]
        assert Annotations(out).find("x.png#1") is not None
    red_image(tmp_path / "plain" / "a.png", (150, 120), 20)
    (tmp_path / "plain" / ".hidden.pts").touch()  # no label: hidden files are no data
    (tmp_path / "plain" / "notes.doc").touch()
    report = run(red_annotator, data_of(str(tmp_path / "plain")), tmp_path / "seen", flips=1)
    assert next(iter(report.sources.values()))["found"] == 1
    assert report.to_json()["passed_over"] == {"hidden": 1, ".doc": 1}


def test_files_that_may_be_labels_are_named(tmp_path: Path):
    red_image(tmp_path / "a.png", (150, 120), 20)
    (tmp_path / "b.json").write_text("{}")
    said: list[str] = []
    assert data_of(str(tmp_path), say=said.append).sources[0].kind == "unlabelled"
    assert said == ["b.json: no labels of a known kind"]
    with pytest.raises(PairError, match="a label file or a data configuration, found an image"):
        data_of(str(tmp_path / "a.png"))


def test_an_interrupted_run_goes_on(red_annotator: Path, tmp_path: Path):
    for name, x in (("a", 100), ("b", 150), ("c", 200)):
        red_face(tmp_path / "faces", name, (x, 120))
    config, out = data_of(str(tmp_path / "faces")), tmp_path / "out"
    run(red_annotator, config, out)
    annotation_path(out, 0, "images/b.png").unlink()
    (red_annotator / "calls.txt").unlink()  # part of its hash
    with pytest.raises(PairError, match="--resume to continue"):
        run(red_annotator, config, out)
    report = run(red_annotator, config, out, resume=True)
    assert next(iter(report.sources.values()))["both_flips"] == 3
    assert (red_annotator / "calls.txt").read_text().split() == ["2"]  # b alone, on both flips
    (red_annotator / "run_model.py").write_text("raise SystemExit(3)")
    with pytest.raises(PairError, match="a run of this annotator on this data to resume, found hash"):
        run(red_annotator, config, out, resume=True)


def test_labels_are_looked_up_by_image_where_roots_differ(red_annotator: Path, tmp_path: Path):
    red_face(tmp_path / "faces", "a", (150, 120))
    run(red_annotator, data_of(str(tmp_path / "faces")), tmp_path / "out")
    labels = Annotations(tmp_path / "out")
    path = tmp_path / "faces/images/a.png"
    assert labels.find("faces/images/a.png") is None
    assert labels.find("faces/images/a.png", path) is not None


def test_keys_stay_inside_the_folder(tmp_path: Path):
    for key in ("/etc/x.png", "../../x.png", "C:/x.png"):
        assert tmp_path / "points" in annotation_path(tmp_path, 0, key).parents


def test_annotators_that_have_seen_test_images_may_not_label_them(red_annotator: Path, tmp_path: Path):
    (red_annotator / "about.yaml").write_text("title: red\ntraining_only: true\nwarning: It has seen them.\n")
    red_face(tmp_path / "faces", "a", (150, 120))
    source = SourceConfig(name="t", kind="ibug", path="faces", labels="human", split="test")
    with pytest.raises(PairError, match=r"training images only, found test images \(t\)\. It has seen them"):
        run(red_annotator, DataConfig(sources=[source], root=str(tmp_path)), tmp_path / "out")
    learnt = source.model_copy(update={"name": "l", "split": "train"})
    report = run(red_annotator, DataConfig(sources=[source, learnt], root=str(tmp_path)), tmp_path / "out")
    assert list(report.sources) == ["l"]


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("import sys; sys.exit('no model here')", "run_model.py ended with exit code 1:\nno model here"),
        ("pass", "expected contest text for every image"),
        (
            "import sys, pathlib\nout = pathlib.Path(sys.argv[2]); out.mkdir()\n"
            "for n in open(sys.argv[1]).read().split():\n"
            "    (out / (pathlib.Path(n).stem + '.txt')).write_text('version: 1\\nn_points: 1\\n{\\n1 2\\n}\\n')\n",
            "1 points in place of 5",
        ),
    ],
)
def test_annotators_that_fail_are_a_sentence(red_annotator: Path, tmp_path: Path, script: str, sentence: str):
    (red_annotator / "run_model.py").write_text(script)
    red_face(tmp_path / "faces", "a", (150, 120))
    with pytest.raises(PairError) as error:
        run(red_annotator, data_of(str(tmp_path / "faces")), tmp_path / "out")
    assert sentence in str(error.value)


def test_what_is_no_annotator(tmp_path: Path):
    (tmp_path / "bare").mkdir()
    for where, sentence in (("nothing", "no such folder or zip"), ("bare", r"an annotator with run_model\.py")):
        with pytest.raises(PairError, match=sentence), open_annotator(str(tmp_path / where)):
            pass
    (tmp_path / "bare/run_model.py").touch()
    (tmp_path / "bare/requirements.txt").touch()
    (tmp_path / "bare/about.yaml").write_text("points: many\n")
    with pytest.raises(PairError, match="title, points and licence"), open_annotator(str(tmp_path / "bare")):
        pass


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_annotators_are_whole(name: str):
    with open_annotator(name) as annotator:
        assert annotator.about.points in (68, 478)
        assert "==" in (annotator.folder / "requirements.txt").read_text()
        compile((annotator.folder / "run_model.py").read_text(), name, "exec")
    with open_annotator("dlib") as annotator:
        assert annotator.about.training_only
        assert "LFPW" in annotator.about.warning


@pytest.mark.slow
def test_the_verb_makes_an_environment_once(red_annotator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PAIRFLD_CACHE", str(tmp_path / "cache"))
    # nothing to install, so no index is needed; cv2 and numpy are missing in a fresh environment
    (red_annotator / "run_model.py").write_text(
        "import sys, pathlib\nassert sys.prefix != sys.base_prefix\nout = pathlib.Path(sys.argv[2]); out.mkdir()\n"
        "for n in open(sys.argv[1]).read().splitlines():\n    (out / (pathlib.Path(n).stem + '.txt')).touch()\n"
    )
    red_face(tmp_path / "faces", "a", (150, 120))
    packed = tmp_path / "red.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in red_annotator.iterdir():
            archive.write(path, path.name)
    for out in ("one", "two"):
        done = pairfld("annotate", str(packed), str(tmp_path / "faces"), "--out", str(tmp_path / out), "--json")
        assert done.code == 0, done.err
        assert '"found": 0' in done.out
    assert len(list((tmp_path / "cache/environments").glob("*/.pairfld-ready"))) == 1
