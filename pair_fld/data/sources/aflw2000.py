"""Source kind aflw2000: AFLW2000-3D (Zhu et al., CVPR 2016), images with a MATLAB file each.

NAME.mat holds pt3d_68 (3, 68): x and y of 68 points in image pixels, and a depth that is not used. Points that the
head hides are estimates there, as good as the others: they count as seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pair_fld.data.sample import BAD_LABELS, NO_IMAGE, NO_LABELS
from pair_fld.data.sources.base import Listing
from pair_fld.data.sources.files import IMAGE_SUFFIXES
from pair_fld.errors import PairError


def list_aflw2000(listing: Listing) -> None:
    """One sample for each .mat with its image beside it.

    Raises:
        PairError: scipy, which reads MATLAB's format, is not installed.
    """
    folder = listing.need_folder()
    found = listing.files(folder, ".mat", *IMAGE_SUFFIXES)
    images = {path.with_suffix(""): path for path in found.of(IMAGE_SUFFIXES)}
    labels = {path.with_suffix(""): path for path in found.of((".mat",))}
    load = _loader(listing) if labels else None
    for stem, path in labels.items():
        if stem not in images:
            listing.leave_out(path, NO_IMAGE, f"{path.name}: no image {stem.name}.jpg, .png, ... beside it")
            continue
        try:
            points = np.asarray(load(str(path))["pt3d_68"], np.float64)  # type: ignore[misc]
            if points.shape != (3, 68):
                raise ValueError(f"pt3d_68 {points.shape} in place of (3, 68)")
        except Exception as error:  # scipy lets through whatever a damaged file makes it raise
            listing.leave_out(path, BAD_LABELS, f"{path.name}: no readable pt3d_68 ({error})")
        else:
            listing.add(images[stem], points=points[:2].T.copy())
    for stem, path in images.items():
        if stem not in labels:
            listing.leave_out(path, NO_LABELS, f"{path.name}: no {stem.name}.mat beside it")


def _loader(listing: Listing) -> Any:
    try:
        from scipy.io import loadmat  # type: ignore[import-not-found]
    except ImportError:
        subject = f"source {listing.source.name!r}"
        raise PairError(subject, "scipy, which reads MATLAB files", "none", "Run pip install scipy.") from None
    return loadmat
