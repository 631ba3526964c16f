"""Every source kind and its reader, and the list of all samples of a data configuration.

Only names and label tables are read here; images and .pts files are read when a face is loaded.
"""

from __future__ import annotations

from collections.abc import Callable

from pair_fld.config import DataConfig
from pair_fld.data.sources.aflw2000 import list_aflw2000
from pair_fld.data.sources.annotation import list_annotation
from pair_fld.data.sources.base import Listed, Listing
from pair_fld.data.sources.coco import list_coco
from pair_fld.data.sources.csv_points import list_csv
from pair_fld.data.sources.cvat import list_cvat
from pair_fld.data.sources.files import passed_over_sentence
from pair_fld.data.sources.imglab import list_imglab
from pair_fld.data.sources.labelme import list_labelme
from pair_fld.data.sources.pts import list_ibug, list_ivslab
from pair_fld.data.sources.sidecar import add_sidecars
from pair_fld.data.sources.unlabelled import list_synthetic, list_unlabelled
from pair_fld.data.sources.wflw import list_wflw
from pair_fld.data.sources.ytf import list_ytf
from pair_fld.errors import PairError

READERS: dict[str, Callable[[Listing], None]] = {
    "ivslab": list_ivslab,
    "ibug": list_ibug,
    "csv": list_csv,
    "coco": list_coco,
    "cvat": list_cvat,
    "labelme": list_labelme,
    "imglab": list_imglab,
    "wflw": list_wflw,
    "aflw2000": list_aflw2000,
    "annotation": list_annotation,
    "ytf": list_ytf,
    "synthetic": list_synthetic,
    "unlabelled": list_unlabelled,
}


def list_samples(config: DataConfig, *, any_count: bool = False) -> Listed:
    """All samples of all sources, in a fixed order (that of the sources, then of the names), what is left out and
    what is passed over.

    Args:
        any_count: labels of as many points as no scheme has are listed too, as far as their format allows.

    Raises:
        PairError: a source's folder is missing, holds nothing of its kind, or is configured in a way that cannot work.
    """
    if not config.sources:
        raise PairError("data configuration", "at least one source", "none", "Add an entry under `sources`.")
    names = [source.name for source in config.sources]
    if len(set(names)) != len(names):
        raise PairError("data configuration", "sources of different names", ", ".join(names), "Rename one of them.")
    listed = Listed()
    for number in range(len(config.sources)):
        listing = _list_source(config, number, any_count)
        listed.samples.extend(listing.samples)
        listed.left_out.extend(listing.left_out)
        listed.passed_over.append(listing.passed_over)
    return listed


def _list_source(config: DataConfig, number: int, any_count: bool) -> Listing:
    listing = Listing(config, number, any_count=any_count)
    source = listing.source
    if source.kind != "synthetic" and source.path is None:
        raise PairError(f"source {source.name!r}", "a `path`", "none", "Give the folder, relative to `root`.")
    if source.kind != "synthetic" and not listing.path.exists():
        remedy = "Correct the source's `path` or `root` (relative to the working directory)."
        raise PairError(listing.path, f"the data of source {source.name!r}", "no such file or folder", remedy)
    READERS[source.kind](listing)
    if not listing.samples:
        found = "none" if not listing.left_out else f"none that can be used ({listing.left_out[0].sentence})"
        if not listing.left_out and (sentence := passed_over_sentence(listing.passed_over)):
            found = f"none ({sentence})"
        raise PairError(listing.path, f"faces of kind {source.kind!r}", found, "Check the source's `kind` and `path`.")
    nameless = sum(sample.identity is None for sample in listing.samples)
    if source.identity is not None and nameless == len(listing.samples):
        found = f"no match in {listing.samples[0].path.name} or any other file name"
        remedy = "Correct it, or leave it out: then each face is split by itself."
        raise PairError(f"`identity` of source {source.name!r}", "a pattern that names the person", found, remedy)
    add_sidecars(listing)
    return listing
