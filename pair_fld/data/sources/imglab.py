"""Source kind imglab: the XML of dlib's imglab (dlib.net, train_shape_predictor), boxes with numbered parts.

Coordinates stand as written: dlib counts pixels from 0. A part that a box lacks is not labelled.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np

from pair_fld.data.sample import BAD_LABELS, NO_IMAGE, NO_LABELS
from pair_fld.data.sources.base import Listing, is_file
from pair_fld.data.sources.named_points import point_indices
from pair_fld.data.sources.texts import read_label_xml

EXPECTED = "an imglab file of dlib (dataset, images)"


def list_imglab(listing: Listing) -> None:
    """One sample for each box with parts, in the file's order; boxes marked `ignore` are no faces.

    Raises:
        PairError: the file is no such XML.
    """
    path = listing.need_file(("dataset.xml", "imglab.xml"), EXPECTED)
    tree = read_label_xml(path, "dataset", EXPECTED)
    finder = listing.image_finder(path)
    for image in tree.iter("image"):
        name = image.get("file", "")
        image_path = finder.path(name)
        boxes = [box for box in image.findall("box") if box.get("ignore") != "1" and box.find("part") is not None]
        if not boxes:
            listing.leave_out(image_path, NO_LABELS, f"{path.name}: no box with parts for {name}")
        for number, box in enumerate(boxes):
            suffix = f"#{number}" if len(boxes) > 1 else ""
            try:
                points, corners = _face(box, listing.source.scheme)
            except ValueError as error:
                listing.leave_out(image_path, BAD_LABELS, f"{path.name}, {name}, box {number}: {error}", suffix)
                continue
            if is_file(image_path):
                listing.add(image_path, points=points, suffix=suffix, box=corners)
            else:
                listing.leave_out(image_path, NO_IMAGE, f"{path.name}: no image {name!r}", suffix)


def _face(box: Element, scheme: str | None) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """points (N, 2), nan where the box has no such part, and the box's corners."""
    parts = box.findall("part")
    count, indices = point_indices([part.get("name", "") for part in parts], scheme)
    points = np.full((count, 2), np.nan)
    for part, index in zip(parts, indices, strict=True):
        points[index] = _number(part, "x"), _number(part, "y")
    left, top = _number(box, "left"), _number(box, "top")
    return points, (left, top, left + _number(box, "width"), top + _number(box, "height"))


def _number(element: Element, name: str) -> float:
    text = element.get(name, "")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} of a {element.tag} is no number") from None
