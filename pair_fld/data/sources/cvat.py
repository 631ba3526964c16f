"""Source kind cvat: "CVAT for images 1.1" XML (docs.cvat.ai, "XML annotation format"), points and skeletons.

A face is a <skeleton> of named <points>, or one <points> element with all its points in order. Coordinates stand as
written. occluded: the point is behind something; outside: it is not labelled.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np

from pair_fld.data.sample import BEHIND
from pair_fld.data.sources.base import FileFace, Listing
from pair_fld.data.sources.named_points import point_indices
from pair_fld.data.sources.texts import read_label_xml
from pair_fld.errors import PairError

EXPECTED = "an export of CVAT (CVAT for images 1.1)"


def list_cvat(listing: Listing) -> None:
    """One sample for each skeleton or points element, in the file's order. `path` may be the folder of the export.

    Raises:
        PairError: the file is no such XML, or one of CVAT for video.
    """
    path = listing.need_file(("annotations.xml",), EXPECTED)
    tree = read_label_xml(path, "annotations", EXPECTED)

    def read(face: Element) -> FileFace:
        points, visibility = _face(face, listing.source.scheme)
        return FileFace(points, visibility, tags=_tags(face))

    images = tree.findall("image")
    if not images and tree.find("track") is not None:
        raise PairError(path, EXPECTED, "one of CVAT for video", "Export the task as CVAT for images 1.1.")
    lookup = listing.image_lookup(path)
    for image in images:
        name = image.get("name", "")
        faces = [element for element in image if element.tag in ("skeleton", "points")]
        listing.add_faces(path, name, lookup.path(name), faces, read, "points or skeleton")


def _face(face: Element, scheme: str | None) -> tuple[np.ndarray, np.ndarray]:
    """points (N, 2), nan where not labelled, and visibility (N,)."""
    if face.tag == "points":
        points = _coordinates(face)
        behind = BEHIND if face.get("occluded") == "1" else 0
        return points, np.full(len(points), behind, np.uint8)
    parts = face.findall("points")
    if not parts:
        raise ValueError("a skeleton without points")
    count, indices = point_indices([part.get("label", "") for part in parts], scheme)
    points, visibility = np.full((count, 2), np.nan), np.zeros(count, np.uint8)
    for part, index in zip(parts, indices, strict=True):
        if part.get("outside") != "1":
            points[index] = _coordinates(part)[0]
            visibility[index] = BEHIND if part.get("occluded") == "1" else 0
    return points, visibility


def _coordinates(element: Element) -> np.ndarray:
    text = element.get("points", "")
    try:
        return np.array([[float(number) for number in pair.split(",")] for pair in text.split(";")]).reshape(-1, 2)
    except ValueError:
        raise ValueError(f"points {text[:40]!r} that are no x,y;x,y;...") from None


def _tags(face: Element) -> tuple[str, ...]:
    """A face's attributes as name=value."""
    return tuple(f"{a.get('name', '')}={(a.text or '').strip()}" for a in face.findall("attribute"))
