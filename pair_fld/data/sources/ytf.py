"""Kaggle's YouTube Faces With Facial Keypoints: tables of videos (videoID, personName) and an .npz for each video.

videoID.npz, anywhere below, holds colorImages (H, W, 3, T) uint8 RGB and landmarks2D (68, 2, T).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from pair_fld.data.sample import BAD_LABELS, NO_IMAGE, WRONG_COUNT, evenly_spread
from pair_fld.data.sources.base import Listing
from pair_fld.data.sources.tables import read_table
from pair_fld.errors import PairError

# Neighbouring frames of a video teach nothing new, so this many are taken, evenly spaced over each video.
YTF_FRAMES = 8


def list_ytf(listing: Listing) -> None:
    """A folder with the tables, or one table."""
    tables = sorted(listing.path.glob("*.csv")) if listing.path.is_dir() else [listing.path]
    if not tables:
        remedy = "Give the folder that the Kaggle archive unpacks to."
        raise PairError(listing.path, "a .csv of videos", "none", remedy)
    videos = {path.stem: path for path in listing.files(tables[0].parent, ".npz", ".csv").of((".npz",))}
    seen: set[str] = set()  # the archive's second table repeats a part of the first
    for table in tables:
        header, *lines = read_table(table, ",") or [[]]
        if not {"videoID", "personName"} <= set(header):
            found = ", ".join(header) or "an empty file"
            remedy = "Give the table of the Kaggle archive."
            raise PairError(table, "columns videoID and personName", found, remedy)
        for line in lines:
            row = dict(zip(header, line, strict=False))
            video = row.get("videoID", "")
            if not video or video in seen:
                continue
            seen.add(video)
            if video in videos:
                _list_video(listing, videos[video], row.get("personName", video))
            else:
                sentence = f"{table.name}: no file {video}.npz below {table.parent.name}/"
                listing.leave_out(table.parent / f"{video}.npz", NO_IMAGE, sentence)


def _list_video(listing: Listing, path: Path, person: str) -> None:
    try:
        with np.load(path, allow_pickle=False) as video:
            points = np.asarray(video["landmarks2D"], np.float64)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        listing.leave_out(path, BAD_LABELS, f"{path.name}: no readable array landmarks2D ({error})")
        return
    if points.ndim != 3 or points.shape[1] != 2:
        listing.leave_out(path, WRONG_COUNT, f"{path.name}: expected landmarks2D (68, 2, T), found {points.shape}")
        return
    frames = points.shape[2]
    for frame in evenly_spread(frames, YTF_FRAMES).tolist():
        listing.add(
            path,
            points=points[:, :, frame],
            index=frame,
            suffix=f"#{frame}",
            identity=person.replace(" ", "_"),
        )
