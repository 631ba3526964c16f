"""Damaged label files: cut short, bytes changed, values of other types. Each reader gives faces or one sentence."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pair_fld.config import SourceConfig
from pair_fld.data.load_face import load_crop
from pair_fld.data.sample import SkipSample
from pair_fld.data.sources.listing import list_samples
from pair_fld.errors import PairError
from pair_fld.inference.drafts import Draft, write_coco, write_labelme
from pair_fld.runtime.landmark_files import write_faces
from tests.data.labelled_folders import SIDE, data_config, face_image, face_points, save_image

CASES = 60
ODD = (None, True, -1, 1e308, float("nan"), "", "a\0b", "x" * 300, [], {}, [[]], {"id": []}, "../../a.png", "\ud800")


def _coco(root: Path) -> Path:
    write_coco(root / "a.json", [Draft(root / "a.png", (SIDE, SIDE), [face_points()])])
    return root / "a.json"


def _labelme(root: Path) -> Path:
    write_labelme(root / "a.json", Draft(root / "a.png", (SIDE, SIDE), [face_points()]))
    return root / "a.json"


def _cvat(root: Path) -> Path:
    points = "".join(
        f"<points label='{k}' outside='0' occluded='1' points='{x},{y}'/>" for k, (x, y) in enumerate(face_points())
    )
    text = f"<?xml version='1.0'?><annotations><image name='a.png'><skeleton>{points}</skeleton></image></annotations>"
    (root / "a.xml").write_text(text)
    return root / "a.xml"


def _imglab(root: Path) -> Path:
    parts = "".join(f"<part name='{k:02d}' x='{x}' y='{y}'/>" for k, (x, y) in enumerate(face_points()))
    box = f"<box top='1' left='2' width='90' height='90'>{parts}</box>"
    (root / "a.xml").write_text(f"<dataset><images><image file='a.png'>{box}</image></images></dataset>")
    return root / "a.xml"


def _wflw(root: Path) -> Path:
    points = " ".join(f"{v:.6f}" for v in np.random.default_rng(0).uniform(30, 90, 196))
    (root / "a.txt").write_text(f"{points} 1 2 90 90 0 1 0 0 1 0 a.png\n")
    return root / "a.txt"


def _csv(root: Path) -> Path:
    header = ",".join(f"{axis}{k}" for k in range(51) for axis in "xy")
    values = ",".join(map(str, face_points().ravel()))
    (root / "a.csv").write_text(f"image,{header}\na.png,{values}\n")
    return root / "a.csv"


def _pts(root: Path) -> Path:
    write_faces(root / "a.pts", [face_points()])
    return root / "a.pts"


WRITERS: dict[str, Callable[[Path], Path]] = {
    "coco": _coco, "labelme": _labelme, "cvat": _cvat, "imglab": _imglab, "wflw": _wflw, "csv": _csv, "ibug": _pts,
}  # fmt: skip


def _read(root: Path, kind: str, path: Path) -> int:
    """How many faces can be loaded."""
    where = "." if kind in ("labelme", "ibug") else path.name
    source = SourceConfig.model_validate({"name": "s", "kind": kind, "path": where})
    loaded = 0
    for sample in list_samples(data_config(root, source)).samples:
        try:
            load_crop(sample, source, 32, 2.2)
            loaded += 1
        except SkipSample:
            pass
    return loaded


def _damaged(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    match rng.randrange(3):
        case 0:
            return bytes(changed[: rng.randrange(len(changed))])
        case 1:
            for _ in range(rng.randint(1, 8)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        case _:
            at, length = rng.randrange(len(changed)), rng.randint(1, 40)
            del changed[at : at + length]
    return bytes(changed)


@pytest.mark.parametrize("kind", WRITERS)
def test_damaged_bytes_give_faces_or_a_sentence(tmp_path: Path, kind: str) -> None:
    save_image(tmp_path / "a.png", face_image())
    path = WRITERS[kind](tmp_path)
    whole = path.read_bytes()
    assert _read(tmp_path, kind, path) == 1
    rng = random.Random(kind)
    sentences = []
    for _ in range(CASES):
        path.write_bytes(_damaged(whole, rng))
        try:
            sentences += [] if _read(tmp_path, kind, path) else ["left out"]
        except PairError as error:
            sentences.append(str(error))
    assert len(sentences) > CASES / 10
    assert not any("\n" in sentence for sentence in sentences)


def _places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree[:3]) if isinstance(tree, list) else ()
    return [at, *(place for key, value in inner for place in _places(value, (*at, key)))]


def _swapped(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[place[0]] = _swapped(tree[place[0]], place[1:], value)  # type: ignore[index]
    return copy


@pytest.mark.parametrize("kind", ["coco", "labelme"])
def test_values_of_another_type_give_faces_or_a_sentence(tmp_path: Path, kind: str) -> None:
    save_image(tmp_path / "a.png", face_image())
    path = WRITERS[kind](tmp_path)
    tree = json.loads(path.read_text())
    refused = 0
    for place in _places(tree):
        for value in ODD:
            path.write_text(json.dumps(_swapped(tree, place, value)))
            try:
                _read(tmp_path, kind, path)
            except PairError:
                refused += 1
    assert refused > 10
