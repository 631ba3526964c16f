"""Folders of images with .pts labels of one face each: iBUG's layouts and the contest's."""

from __future__ import annotations

from pathlib import Path

from pair_fld.data.sample import NO_IMAGE, NO_LABELS, TWO_IMAGES
from pair_fld.data.sources.base import Listing
from pair_fld.data.sources.files import IMAGE_SUFFIXES
from pair_fld.errors import PairError

IVSLAB_FOLDERS = ("300W", "afw", "helen", "ibug", "IFPW")  # the contest's own spelling of LFPW
CONTEST_FOLDER = "ivslab_facial_train"
LABEL_SUFFIX = ".pts"


def list_ibug(listing: Listing) -> None:
    """images/ and labels/ below the path, or images with their labels beside them."""
    folder = listing.need_folder()
    images, labels = folder / "images", folder / "labels"
    if images.is_dir() and labels.is_dir():
        _pair_files(listing, images, labels)
    else:
        _pair_files(listing, folder, folder)


def list_ivslab(listing: Listing) -> None:
    """The contest's training data: a folder a data set, each with images/ and labels/."""
    folder = listing.need_folder()
    inner = folder / CONTEST_FOLDER
    folder = inner if inner.is_dir() else folder
    parts = [folder / name for name in IVSLAB_FOLDERS if (folder / name / "images").is_dir()]
    if not parts:
        expected = f"{'/, '.join(IVSLAB_FOLDERS)}/ with images/ and labels/ in them"
        raise PairError(folder, expected, "none of them", "Give the path of the folder ivslab_facial_train.")
    for part in parts:
        _pair_files(listing, part / "images", part / "labels")


def _pair_files(listing: Listing, images: Path, labels: Path) -> None:
    """Pair every image below `images` with the .pts of the same name below `labels`, and report what has no partner."""
    if images == labels:
        found = listing.files(images, *IMAGE_SUFFIXES, LABEL_SUFFIX)
        image_files, texts = found.of(IMAGE_SUFFIXES), found.of((LABEL_SUFFIX,))
    else:
        image_files, texts = listing.files(images, *IMAGE_SUFFIXES).files, listing.files(labels, LABEL_SUFFIX).files
    label_of = {path.relative_to(labels).with_suffix(""): path for path in texts}
    taken: dict[Path, Path] = {}
    for path in image_files:
        stem = path.relative_to(images).with_suffix("")
        if stem not in label_of:
            listing.leave_out(path, NO_LABELS, f"{path.name}: no {stem.name}.pts beside it or in {labels.name}/")
        elif stem in taken:
            listing.leave_out(path, TWO_IMAGES, f"{path.name}: its label already belongs to {taken[stem].name}")
        else:
            taken[stem] = path
            listing.add(path, label=label_of[stem])
    for stem, path in label_of.items():
        if stem not in taken:
            listing.leave_out(path, NO_IMAGE, f"{path.name}: no image {stem.name}.jpg, .png, ... in {images.name}/")
