"""Source kind labelme: a folder of labelme's JSON files, one an image (github.com/wkentaro/labelme).

A face is the `point` shapes of one group_id, each labelled with its point's name or number, or one shape with all the
points in order (points, linestrip, line, polygon). A point's flag "occluded" or "hidden" is its visibility.
Coordinates stand as written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pair_fld.data.sample import BAD_LABELS, BEHIND, NO_LABELS, SELF_HIDDEN
from pair_fld.data.sources.base import FileFace, ImageLookup, Listing, is_file
from pair_fld.data.sources.files import IMAGE_SUFFIXES
from pair_fld.data.sources.named_points import point_indices
from pair_fld.data.sources.texts import named_kind, read_label_json, read_text
from pair_fld.errors import PairError

EXPECTED = "a labelme file (shapes, imagePath)"
_WHOLE_FACES = ("points", "linestrip", "line", "polygon")


def list_labelme(listing: Listing) -> None:
    """One sample for each face of each file, by the files' names."""
    folder = listing.need_folder()
    found = listing.files(folder, ".json", *IMAGE_SUFFIXES)
    used: set[Path] = set()
    for path in found.of((".json",)):
        try:
            tree = read_label_json(path, EXPECTED)
            if not isinstance(tree, dict) or not isinstance(tree.get("shapes"), list):
                kind = named_kind(read_text(path, EXPECTED)) or "other JSON"
                raise PairError(path, EXPECTED, kind, "Remove it or correct `kind`.")
        except PairError as error:
            listing.leave_out(path, BAD_LABELS, str(error))
            continue
        lookup = listing.image_lookup(path)
        image = _image(lookup, path, tree.get("imagePath"))
        used.add(image)
        _list_faces(listing, path, image, tree["shapes"])
    for path in found.of(IMAGE_SUFFIXES):
        if path not in used:
            listing.leave_out(path, NO_LABELS, f"{path.name}: no file of labelme names it")


def _image(lookup: ImageLookup, path: Path, name: Any) -> Path:
    """The image that a file names, else the one of the file's own name."""
    named = lookup.path(name if isinstance(name, str) else "")
    if is_file(named):
        return named
    beside = (path.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)
    return next((image for image in beside if is_file(image)), named)


def _list_faces(listing: Listing, path: Path, image: Path, shapes: list[Any]) -> None:
    groups: dict[Any, list[Any]] = {}
    try:
        for number, shape in enumerate(shapes):
            if shape["shape_type"] == "point":
                groups.setdefault(shape.get("group_id"), []).append(shape)
            elif shape["shape_type"] in _WHOLE_FACES:
                groups[f"shape {number}"] = [shape]
    except (KeyError, TypeError, AttributeError) as error:
        listing.leave_out(image, BAD_LABELS, f"{path.name}: a shape without {error}")
        return

    def read(face: list[Any]) -> FileFace:
        try:
            return FileFace(*_face(face, listing.source.scheme))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no usable {error}") from None

    listing.add_faces(path, image.name, image, list(groups.values()), read, "shapes that are points")


def _face(shapes: list[Any], scheme: str | None) -> tuple[np.ndarray, np.ndarray]:
    """points (N, 2), nan where there is no shape, and visibility (N,)."""
    if shapes[0]["shape_type"] != "point":
        points = np.array(shapes[0]["points"], np.float64).reshape(-1, 2)
        return points, np.full(len(points), _visibility(shapes[0]), np.uint8)
    count, indices = point_indices([str(shape["label"]) for shape in shapes], scheme)
    points, visibility = np.full((count, 2), np.nan), np.zeros(count, np.uint8)
    for shape, index in zip(shapes, indices, strict=True):
        points[index] = np.array(shape["points"], np.float64).reshape(1, 2)
        visibility[index] = _visibility(shape)
    return points, visibility


def _visibility(shape: Any) -> int:
    flags = shape.get("flags") or {}
    return SELF_HIDDEN if flags.get("hidden") else BEHIND if flags.get("occluded") else 0
