"""prepare, predict and validate say alike, in one line, what they pass over."""

from __future__ import annotations

from pathlib import Path

import pytest

from pair_fld.runtime.landmark_files import write_faces
from tests.cli.command import pairfld
from tests.cli.test_predict import BOXES, photos, predict
from tests.data.labelled_folders import face_image, face_points, save_image

__all__ = ["BOXES", "photos"]  # a fixture comes by its name

LINE = "passed over: 1 hidden, 1 archive not unpacked, 1 folder listed under another name, 1 .mp4"
DATA = "sources: [{{name: s, kind: ibug, path: set, split: train}}]\nroot: {root}\npack_size: 48\nnum_workers: 1\n"


@pytest.fixture
def labelled(photos: Path) -> Path:
    """set/: two labelled faces, one of them in a linked folder, and what no verb takes."""
    folder, other = Path("set"), Path("other")
    for place, seed in ((folder, 0), (other, 1)):
        save_image(place / f"{seed}.png", face_image(seed))
        write_faces(place / f"{seed}.pts", [face_points(seed)])
    (folder / "linked").symlink_to(other.resolve())
    (other / "up").symlink_to(folder.resolve())
    for name in ("._0.png", "more.zip", "clip.mp4"):
        (folder / name).touch()
    return folder


def test_all_three_verbs_list_alike(labelled: Path) -> None:
    Path("d.yaml").write_text(DATA.format(root=Path.cwd()))
    prepared = pairfld("prepare", "--data-config", "d.yaml", "--out", "pack")
    assert prepared.code == 0, prepared.err
    assert LINE in prepared.err
    write_faces(_text("texts/0.txt"), [face_points(0)])
    write_faces(_text("texts/linked/1.txt"), [face_points(1)])
    measured = pairfld("validate", "texts", "--images", str(labelled), "--out", "report")
    assert measured.code == 0, measured.err
    assert LINE in measured.err
    predicted = predict(labelled, "--json", "-")
    # predict reads no labels, so they are other files to it
    assert LINE.replace("1 .mp4", "2 .pts, 1 .mp4") in predicted.err
    assert predicted.out.count('"name"') == 2


def test_benchmark_models_counts_what_it_passes_over(labelled: Path) -> None:
    Path("model.onnx").write_bytes(b"none")
    assert LINE in pairfld("benchmark", "models", "model.onnx", "--images", str(labelled), "--runs", "1").err


def _text(name: str) -> Path:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    return Path(name)
