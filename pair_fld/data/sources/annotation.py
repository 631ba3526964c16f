"""An annotator's labels as a source: a folder of `pairfld annotate` and, as `scheme`, a map of `pairfld fit-scheme`."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pair_fld.data.annotations import FLIPS, Annotations
from pair_fld.data.point_map import load_point_map
from pair_fld.data.sample import NO_FACE, NO_IMAGE
from pair_fld.data.sources.base import Listing, is_file
from pair_fld.errors import PairError

SUFFIX = ".pts"


def list_annotation(listing: Listing) -> None:
    """Each annotated face, with the mean of the map's answers on the image and on its mirror image."""
    source = listing.source
    if source.scheme is None or not source.scheme.endswith(".npz"):
        remedy = "Give the .npz of pairfld fit-scheme."
        raise PairError(f"source {source.name!r}", "a `scheme` that leads to the 51 points", "none", remedy)
    labels = Annotations(listing.need_folder())
    point_map = load_point_map(source.scheme)
    images = labels.root if source.images is None else listing.root / source.images
    base = labels.folder / FLIPS[0]
    for path in listing.files(base, SUFFIX).of((SUFFIX,)):
        key = path.relative_to(base).as_posix().removesuffix(SUFFIX)
        name, _, part = key.partition("#")
        image = images / PurePosixPath(name)
        annotation = labels.find(key)
        merged = None if annotation is None else point_map.merge(annotation)
        suffix = f"#{part}" if part else ""
        if not is_file(image):
            listing.leave_out(image, NO_IMAGE, f"{key}: no image {image}", suffix)
        elif merged is None:
            listing.leave_out(image, NO_FACE, f"{key}: the annotator found no face", suffix)
        else:
            listing.add(Path(image), points=merged[0], suffix=suffix)
