"""Source kind coco: a keypoints file of COCO's data format (cocodataset.org, "Data format", 2. Keypoint Detection).

Coordinates stand as written. A point's v is 0 not labelled, 1 labelled but not visible, 2 labelled and visible.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pair_fld.data.sample import BAD_LABELS, BEHIND, NO_IMAGE, NO_LABELS
from pair_fld.data.sources.base import ImageLookup, Listing, is_file
from pair_fld.data.sources.named_points import point_indices
from pair_fld.data.sources.texts import named_kind, read_label_json, read_text
from pair_fld.errors import PairError

EXPECTED = "a COCO keypoints file (images, annotations)"
_USUAL = ("images", "train2017", "val2017", "train", "val", "test", "images/train", "images/val")


def list_coco(listing: Listing) -> None:
    """One sample for each annotation with keypoints, in the file's order.

    Raises:
        PairError: the file is no such JSON.
    """
    path = listing.need_file(("annotations.json", "annotations/person_keypoints_default.json"), EXPECTED)
    tree = read_label_json(path, EXPECTED)
    if not isinstance(tree, dict) or not all(isinstance(tree.get(k), list) for k in ("images", "annotations")):
        found = named_kind(read_text(path, EXPECTED)) or "other JSON"
        raise PairError(path, EXPECTED, found, "Correct the source's `kind` or `path`.")
    lookup = listing.image_lookup(path, _USUAL)
    try:
        names = {image["id"]: str(image["file_name"]) for image in tree["images"]}
        points_of = {c["id"]: c.get("keypoints") for c in tree.get("categories") or []}
    except (KeyError, TypeError, AttributeError) as error:
        found = f"an image or a category without {error}"
        raise PairError(path, EXPECTED, found, "Export the file again.") from None
    labelled = set()
    for number, annotation in enumerate(tree["annotations"]):
        where = f"{path.name}, annotation {annotation.get('id', number) if isinstance(annotation, dict) else number}"
        try:
            if not annotation.get("keypoints") or annotation.get("iscrowd"):
                continue
            labelled.add(annotation["image_id"])
            _add(
                listing, lookup, names[annotation["image_id"]], annotation, points_of.get(annotation.get("category_id"))
            )
        except (KeyError, TypeError, AttributeError) as error:
            listing.leave_out(path, BAD_LABELS, f"{where}: no usable {error}", f"#{number}")
        except ValueError as error:
            listing.leave_out(path, BAD_LABELS, f"{where}: {error}", f"#{number}")
    for image, name in names.items():
        if image not in labelled:
            listing.leave_out(lookup.path(name), NO_LABELS, f"{path.name}: no keypoints for {name}")


def _add(listing: Listing, lookup: ImageLookup, name: str, annotation: Any, point_names: Any) -> None:
    image, suffix = lookup.path(name), f"#{annotation['id']}"
    table = np.array(annotation["keypoints"], np.float64)
    if table.ndim != 1 or table.size % 3:
        raise ValueError(f"{table.size} numbers are no list of x, y, v")
    table = table.reshape(-1, 3)
    if not np.isin(table[:, 2], (0, 1, 2)).all():
        raise ValueError("a visibility that is none of 0, 1, 2")
    points = np.where(table[:, 2:] > 0, table[:, :2], np.nan)
    visibility = np.where(table[:, 2] == 1, BEHIND, 0).astype(np.uint8)
    points, visibility = _by_name(points, visibility, point_names, listing.source.scheme)
    if not is_file(image):
        listing.leave_out(image, NO_IMAGE, f"{listing.path.name}: no image {name!r}", suffix)
        return
    box = _corners(annotation.get("bbox"))
    listing.add(image, points=points, visibility=visibility, suffix=suffix, box=box)


def _corners(box: Any) -> tuple[float, float, float, float] | None:
    """x0 y0 x1 y1 of a bbox (x, y, width, height); None for none. ValueError for anything else."""
    if not box:
        return None
    numbers = np.array(box, np.float64)
    if numbers.shape != (4,):
        raise ValueError("a bbox that is no x, y, width, height")
    x, y, width, height = numbers.tolist()
    return x, y, x + width, y + height


def _by_name(
    points: np.ndarray, visibility: np.ndarray, names: Any, scheme: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """The points in their scheme's order where the category names them as the scheme does; else as they stand."""
    if not isinstance(names, list) or len(names) != len(points):
        return points, visibility
    try:
        count, indices = point_indices([str(name) for name in names], scheme)
    except ValueError:
        return points, visibility  # names of the user's own: the order says which is which
    ordered, seen = np.full((count, 2), np.nan), np.zeros(count, np.uint8)
    ordered[indices], seen[indices] = points, visibility
    return ordered, seen
