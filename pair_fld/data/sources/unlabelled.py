"""Sources without label files: images that nobody labelled, and faces that are rendered."""

from __future__ import annotations

from pathlib import Path

from pair_fld.data.sample import Sample
from pair_fld.data.sources.base import Listing
from pair_fld.data.sources.files import IMAGE_SUFFIXES
from pair_fld.errors import PairError


def list_unlabelled(listing: Listing) -> None:
    """All images below a folder, with one box for all of them."""
    folder = listing.need_folder()
    box = listing.source.box
    if box is None or not (box[0] < box[2] and box[1] < box[3]):
        remedy = "Give [x0, y0, x1, y1] as fractions of the image: where brows to mouth lie on average."
        raise PairError(f"`box` of source {listing.source.name!r}", "a face box", repr(box), remedy)
    for path in listing.files(folder, *IMAGE_SUFFIXES).files:
        listing.add(path)


def list_synthetic(listing: Listing) -> None:
    """`count` rendered faces; nothing is read."""
    source = listing.source
    for index in range(source.count):
        # keyed by name, seed and number: the image depends on nothing else
        listing.samples.append(Sample(Path(), f"{source.name}/{source.seed}/{index:06d}", listing.number, index=index))
    if not source.count:
        raise PairError(f"source {source.name!r}", "`count` of at least 1", "0", "Say how many faces to render.")
