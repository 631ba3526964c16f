"""Predictions as label files that a person corrects in an annotation tool: a COCO keypoints file (CVAT imports it), or
a file of labelme for each image. Both come back as sources of kind coco and labelme with every digit."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.data.schemes import PAIR51, load_scheme
from pair_fld.io import atomic_path
from pair_fld.outputs import printable
from pair_fld.runtime.geometry import points_box
from pair_fld.runtime.scheme import CURVES

_SEEN = 2  # COCO: labelled and visible
_LABELME = "5.5.0"  # the version whose files these are


@dataclass(frozen=True)
class Draft:
    """An image and the faces found in it. size: width, height. faces: (51, 2) _img each."""

    image: Path
    size: tuple[int, int]
    faces: Sequence[np.ndarray]


def write_coco(path: Path, drafts: Iterable[Draft]) -> None:
    """One COCO keypoints file of all images, those without a face included; images are named relative to it."""
    scheme = load_scheme(PAIR51)
    images, annotations = [], []
    for number, draft in enumerate(drafts, 1):
        width, height = draft.size
        name = _relative(draft.image, path.parent)
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for face in draft.faces:
            x0, y0, x1, y1 = map(float, points_box(face))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "keypoints": [v for x, y in face for v in (float(x), float(y), _SEEN)],
                    "num_keypoints": len(face),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                }
            )
    # COCO counts the ends of a skeleton's edges from 1
    skeleton = [[a + 1, b + 1] for curve in CURVES.values() for a, b in itertools.pairwise(curve)]
    category = {"id": 1, "name": "face", "supercategory": "", "keypoints": list(scheme.names), "skeleton": skeleton}
    tree = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": [category]}
    _write(path, tree)


def write_labelme(path: Path, draft: Draft) -> None:
    """One file of labelme: each point a shape with its name, each face a group."""
    names = load_scheme(PAIR51).names
    width, height = draft.size
    shapes = [
        {
            "label": name,
            "points": [[float(x), float(y)]],
            "group_id": group,
            "description": "",
            "shape_type": "point",
            "flags": {},
        }
        for group, face in enumerate(draft.faces)
        for name, (x, y) in zip(names, face, strict=True)
    ]
    tree = {
        "version": _LABELME,
        "flags": {},
        "shapes": shapes,
        "imagePath": _relative(draft.image, path.parent),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    _write(path, tree)


def _relative(image: Path, folder: Path) -> str:
    """The image's path relative to a folder, with forward slashes; absolute where another drive holds it."""
    try:
        relative = os.path.relpath(os.path.realpath(image), os.path.realpath(folder))
    except ValueError:
        relative = os.path.abspath(image)
    return printable(Path(relative).as_posix())


def _write(path: Path, tree: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(tree, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
