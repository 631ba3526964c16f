"""The files that the verbs are called on: images, labels, tables, lists, configurations, a dataset, runs, models."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np

from tests.cli.command import pairfld

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "submissions/tiny/tiny.zip"
FACES = 24  # pairfld package wants 20 that the detector finds
SUFFIXES = (".png", ".jpg", ".bmp", ".webp", ".tiff")

_CALM = {"flip": 0.0, "rotation": 5.0, "scale": 0.05, "shift": 0.02, "photometric": 0.0, "grey": 0.0, "blur": 0.0,
         "noise": 0.0, "occlude": 0.0}  # fmt: skip
_TINY = {"arch": "coord_net", "input_size": 32, "options": {"stem": 8, "stages": [[1, 8, 1, 2]], "neck": 8}}
_LIMIT = {"max": 50.0, "source": "the fuzzer"}


def _stage(losses: dict[str, float]) -> dict[str, object]:
    train = {"epochs": 2, "batch_size": 4, "lr": 3e-3, "warmup_epochs": 0.2, "ema_decay": 0.9, "amp": False,
             "losses": losses, "augment": _CALM, "threads": 1}  # fmt: skip
    return {"model": _TINY, "train": train}


def recipe() -> dict[str, object]:
    """A recipe of tiny stages, all sections in one file."""
    sources = [
        {"name": "faces", "kind": "ibug", "path": "faces", "split": "train"},
        {"name": "rendered", "kind": "synthetic", "count": 6, "seed": 3, "split": "valid"},
        {"name": "table", "kind": "csv", "path": "table.csv", "split": "test"},
    ]
    return {
        "name": "tiny",
        "data": {"sources": sources, "root": ".", "pack_size": 48, "num_workers": 1},
        "teacher": _stage({"wing": 1.0}),
        "student": _stage({"wing": 0.5, "kd_wing": 1.0}),
        "quant": {"precisions": ["fp32"], "release": "fp32", "calibration_images": 4, "max_nme_loss": 1e6,
                  "max_drift_px": 1e6, "max_fp32_drift_px": 1e3},
        "budget": {"model_mb": _LIMIT, "archive_mb": _LIMIT, "params_m": _LIMIT, "gflops": _LIMIT,
                   "required_files": ["run_model.py"]},
    }  # fmt: skip


def build(folder: Path, *, trained: bool = True) -> None:
    """Write the world into the new `folder`, which is the working directory.

    trained: with a dataset, runs, and the model files that the stages make of them; otherwise only what no stage makes.
    """
    _faces(folder)
    _photos(folder)
    (folder / "recipe.yaml").write_text(json.dumps(recipe(), indent=1))  # JSON is YAML
    with zipfile.ZipFile(SHIPPED) as archive:
        archive.extract("model.tflite", folder)
    shutil.copy(SHIPPED, folder / "archive.zip")
    if not trained:
        return
    stages = [("prepare",), ("train-teacher",), ("distill",), ("quantize",), ("package",)]
    for verb in stages:
        _done(*verb, "--recipe", "recipe.yaml", "--work", "work")
    _annotator(folder / "annotator")
    _done("annotate", "annotator", "faces", "--out", "drafts", "--one-flip")
    _done("fit-scheme", "--from", "drafts", "--to", "faces", "--out", "map.npz")
    # a run that stopped in the middle
    _done("train-teacher", "--recipe", "recipe.yaml", "--work", "work", "--out", "stopped", "teacher.train.epochs=1")
    _done("train-teacher", "--recipe", "recipe.yaml", "--work", "work", "--out", "stopped", "--resume",
          "teacher.train.lr=0.001")  # fmt: skip
    shutil.copy(folder / "stopped/best.pt", folder / "stopped/last.pt")


def _done(*arguments: str) -> None:
    done = pairfld(*arguments)
    assert done.code == 0, (arguments, done.err)


def _faces(folder: Path) -> None:
    from pair_fld.data.synthetic import render_face
    from pair_fld.runtime.landmark_files import write_faces

    for name in ("faces/images", "faces/labels", "texts/images", "more"):
        (folder / name).mkdir(parents=True)
    for k in range(FACES):
        face = render_face(5, k)
        _save(folder / "faces/images" / f"{k}{SUFFIXES[k % len(SUFFIXES)]}", face.image)
        write_faces(folder / f"faces/labels/{k}.pts", [face.points])
        write_faces(folder / f"texts/images/{k}.txt", [face.points + 1])
    rows = []
    for k in range(3):
        face = render_face(6, k)
        _save(folder / f"more/t{k}.png", face.image)
        write_faces(folder / f"texts/t{k}.txt", [face.points + 1])
        rows.append(",".join([f"more/t{k}.png", *(f"{v:.2f}" for v in face.points.ravel())]))
    (folder / "table.csv").write_text("\n".join(rows) + "\n")


def _annotator(folder: Path) -> None:
    """One that knows no image: five points of every face, at fixed shares of its side."""
    folder.mkdir()
    (folder / "run_model.py").write_text(
        "import os, sys\n"
        "os.makedirs(sys.argv[2], exist_ok=True)\n"
        "for name in open(sys.argv[1], encoding='utf-8').read().splitlines():\n"
        "    k = sum(os.path.basename(name).encode())\n"
        "    rows = [f'{40 + 30 * i + (k * (i + 3)) % 11} {60 + 9 * i * i + (k * (i + 5)) % 7}' for i in range(5)]\n"
        "    out = os.path.join(sys.argv[2], os.path.splitext(os.path.basename(name))[0] + '.txt')\n"
        "    open(out, 'w').write('\\n'.join(['version: 1', 'n_points: 5', '{', *rows, '}']) + '\\n')\n"
    )
    (folder / "requirements.txt").write_text("")


def _photos(folder: Path) -> None:
    from pair_fld.data.synthetic import render_face

    (folder / "photos/below").mkdir(parents=True)
    for k, name in enumerate(("a.jpg", "b.png", "below/c.webp")):
        _save(folder / "photos" / name, render_face(7, k).image)
    (folder / "list.txt").write_text("photos/a.jpg\nphotos/b.png\n")
    image = render_face(7, 9).image
    clip = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (192, 192))
    for _ in range(3):
        clip.write(np.ascontiguousarray(image))
    clip.release()


def _save(path: Path, image: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
