"""Source kind imglab: the XML of dlib's imglab (dlib.net, train_shape_predictor), boxes with numbered parts.

Coordinates stand as written: dlib counts pixels from 0. A part that a box lacks is not labelled.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np

from pair_fld.data.sources.base import FileFace, Listing
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
    lookup = listing.image_lookup(path)
    for image in tree.iter("image"):
        name = image.get("file", "")
        boxes = [box for box in image.findall("box") if box.get("ignore") != "1" and box.find("part") is not None]
        listing.add_faces(
            path, name, lookup.path(name), boxes, lambda box: _face(box, listing.source.scheme), "box with parts"
        )


def _face(box: Element, scheme: str | None) -> FileFace:
    """Points (N, 2), nan where the box has no such part, and the box's corners."""
    parts = box.findall("part")
    count, indices = point_indices([part.get("name", "") for part in parts], scheme)
    points = np.full((count, 2), np.nan)
    for part, index in zip(parts, indices, strict=True):
        points[index] = _number(part, "x"), _number(part, "y")
    left, top = _number(box, "left"), _number(box, "top")
    corners = (left, top, left + _number(box, "width"), top + _number(box, "height"))
    return FileFace(points, box=corners)


def _number(element: Element, name: str) -> float:
    text = element.get(name, "")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} of a {element.tag} is no number") from None
