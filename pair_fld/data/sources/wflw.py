"""Source kind wflw: the list files of WFLW (wywu.github.io/projects/LAB/WFLW.html), one face a line.

196 coordinates of 98 points, the box x_min y_min x_max y_max, six attributes (0 or 1), the image's path. Lists without
box and attributes are read too. Coordinates stand as written.
"""

from __future__ import annotations

import numpy as np

from pair_fld.data.sample import BAD_LABELS, NO_IMAGE
from pair_fld.data.sources.base import Listing, is_file, to_number
from pair_fld.data.sources.texts import named_kind, read_text
from pair_fld.errors import PairError

EXPECTED = "a list file of WFLW (98 points, box, attributes and path per line)"
ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
_POINTS, _WHOLE = 196, 196 + 4 + len(ATTRIBUTES)


def list_wflw(listing: Listing) -> None:
    """One sample a line, with its box, and the attributes that are 1 as tags.

    Raises:
        PairError: the file is no such list.
    """
    path = listing.path
    if not path.is_file():
        raise PairError(path, f"{EXPECTED} for source {listing.source.name!r}", "a folder", "Give the file's path.")
    text = read_text(path, EXPECTED)
    lines = [(number, line.split(maxsplit=_WHOLE)) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines or len(lines[0][1]) <= _POINTS:
        found = named_kind(text) or (f"{len(lines[0][1])} fields in the first line" if lines else "an empty file")
        raise PairError(path, EXPECTED, found, "Correct the source's `kind` or `path`.")
    # WFLW_annotations/list_98pt_rect_attr_train_test/ beside WFLW_images/
    lookup = listing.image_lookup(path, ("images", "WFLW_images", "../WFLW_images"))
    for number, fields in lines:
        *values, name = fields
        numbers = [to_number(value) for value in values]
        where, suffix, image = f"{path.name}, line {number}", f"#{number}", lookup.path(name)
        if len(numbers) not in (_POINTS, _WHOLE) or None in numbers:
            sentence = f"{where}: expected {_WHOLE} numbers and a path, found {len(fields)} fields"
            listing.leave_out(path, BAD_LABELS, sentence, suffix)
        elif not is_file(image):
            listing.leave_out(image, NO_IMAGE, f"{where}: no image {name!r}", suffix)
        else:
            table = np.array(numbers, np.float64)
            box = tuple(table[_POINTS : _POINTS + 4].tolist()) if len(table) == _WHOLE else None
            attributes = zip(ATTRIBUTES, table[_POINTS + 4 :], strict=False)
            tags = tuple(tag for tag, value in attributes if value == 1)
            listing.add(image, points=table[:_POINTS].reshape(-1, 2), suffix=suffix, box=box, tags=tags)
