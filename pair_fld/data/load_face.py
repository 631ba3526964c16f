"""From a listed sample to a loose crop: decoding and every check of picture and label."""

from __future__ import annotations

import hashlib
import zipfile
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from pair_fld.config import SourceConfig
from pair_fld.data.dataset import LABEL_KINDS, MACHINE, NONE
from pair_fld.data.sample import (
    BAD_IMAGE,
    BAD_LABELS,
    DEGENERATE,
    MISSING_POINTS,
    OUTSIDE,
    WRONG_COUNT,
    Crop,
    Sample,
    SkipFace,
)
from pair_fld.runtime.geometry import crop_matrix, points_box, transform_points, warp
from pair_fld.runtime.image import read_image
from pair_fld.runtime.landmark_files import read_one_face
from pair_fld.runtime.scheme import NUM_POINTS, SUPPORTED_COUNTS, to_51

MAX_MISSING = 10  # points that a label may lack beyond what its scheme lacks; more and the face is left out
MAX_OUTSIDE = 0.1  # how far a point may lie outside the picture, over the longer side of the 51-point box
MIN_BOX = 8.0  # pixels: a smaller face shows nothing to locate
MIN_ASPECT = 0.1  # shorter over longer side of the box; below, the points lie on a line


def load_crop(sample: Sample, source: SourceConfig, size: int, margin: float) -> Crop:
    """Decode, check and cut one face.

    Raises:
        SkipFace: the picture or its label cannot be used; the sentence says why.
    """
    image, raw = read_face(sample, source)
    height, width = image.shape[:2]
    kind = LABEL_KINDS.index(source.labels)
    if raw is None:
        kind = NONE
        points_img, valid = np.zeros((NUM_POINTS, 2)), np.zeros(NUM_POINTS, bool)
        # fractions of the picture's span [-0.5, W - 0.5]
        box_img = np.array(source.box) * [width, height, width, height] - 0.5
    else:
        points_img, valid, box_img = check_points(sample.key, raw, width, height)
        if len(raw) == 98 and kind != NONE:
            kind = MACHINE  # its lids and brows are only near the 51-point scheme's, see scheme.FROM_98
        if kind == NONE:
            valid = np.zeros(NUM_POINTS, bool)
    matrix = crop_matrix(box_img, size, margin)
    points = np.where(valid[:, None], transform_points(matrix, points_img), 0.0).astype(np.float32)
    crop = warp(image, matrix, size)
    return Crop(
        image=crop,
        points=points,
        valid=valid,
        box=transform_points(matrix, box_img.reshape(2, 2)).ravel().astype(np.float32),
        box_img=box_img,
        matrix=matrix,
        label=kind,
        picture=hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest(),
        hash=hashlib.sha256(crop.tobytes()).hexdigest(),
    )


def read_face(sample: Sample, source: SourceConfig) -> tuple[np.ndarray, np.ndarray | None]:
    """The whole picture (H, W, 3) uint8 BGR and its points (N, 2) _img, None if unlabelled.

    The points are those of the file, in whatever scheme it has.

    Raises:
        SkipFace: as `load_crop`.
    """
    if source.kind == "synthetic":
        image, raw = _render(sample, source)
    else:
        raw = sample.points if sample.label is None else _read_label(sample.label)
        if raw is not None and source.kind == "ivslab" and len(raw) != NUM_POINTS:
            raise SkipFace(WRONG_COUNT, f"{sample.key}: contest labels have 51 points, found {len(raw)}")
        if raw is not None and len(raw) not in SUPPORTED_COUNTS:
            raise SkipFace(WRONG_COUNT, f"{sample.key}: expected 49, 51, 68 or 98 points, found {len(raw)}")
        image = _read_frame(sample) if source.kind == "ytf" else _read_picture(sample)
    return image, raw


def check_points(name: str, raw: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N, 2) _img of a supported scheme -> points (51, 2) _img, valid (51,), box (4,) _img.

    Raises:
        SkipFace: too many missing points, points outside the picture, or a box without extent.
    """
    points, valid = to_51(raw)
    _, in_scheme = to_51(np.zeros((len(raw), 2)))
    missing = int((in_scheme & ~valid).sum())
    if missing > MAX_MISSING:
        sentence = f"{missing} of the 51 points are missing, at most {MAX_MISSING} may be"
        raise SkipFace(MISSING_POINTS, f"{name}: {sentence}")
    box = points_box(points, valid)
    longer, shorter = max(box[2:] - box[:2]), min(box[2:] - box[:2])
    if longer < MIN_BOX or shorter < MIN_ASPECT * longer:
        sentence = f"the points span {box[2] - box[0]:.1f} x {box[3] - box[1]:.1f} pixels"
        raise SkipFace(DEGENERATE, f"{name}: {sentence}, too small or flat for a face")
    low, high = points[valid].min(axis=0), points[valid].max(axis=0)
    beyond = max(*(-0.5 - low), *(high - [width - 0.5, height - 0.5]))
    if beyond > MAX_OUTSIDE * longer:
        sentence = f"a point lies {beyond:.1f} pixels outside the {width} x {height} picture"
        raise SkipFace(OUTSIDE, f"{name}: {sentence}; is the label another picture's?")
    return points, valid, box


def _read_label(path: Path) -> np.ndarray:
    try:
        return read_one_face(path)
    except OSError as fault:
        raise SkipFace(BAD_LABELS, f"{path.name}: cannot be read ({fault.strerror})") from None
    except ValueError as fault:
        reason = WRONG_COUNT if "header promises" in str(fault) else BAD_LABELS
        raise SkipFace(reason, str(fault)) from None


def _read_picture(sample: Sample) -> np.ndarray:
    try:
        return read_image(sample.path)
    except OSError as fault:
        raise SkipFace(BAD_IMAGE, f"{sample.key}: cannot be read ({fault.strerror})") from None
    except ValueError as fault:
        raise SkipFace(BAD_IMAGE, str(fault)) from None


@lru_cache(maxsize=2)
def _video(path: Path) -> np.ndarray:
    """Frames (H, W, 3, T) of a video: its faces are neighbours in the list, so one at a time is kept."""
    with np.load(path, allow_pickle=False) as video:
        return video["colorImages"]


def _read_frame(sample: Sample) -> np.ndarray:
    try:
        frames = _video(sample.path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.error) as fault:
        raise SkipFace(BAD_IMAGE, f"{sample.key}: no readable array colorImages ({fault})") from None
    fits = frames.ndim == 4 and frames.shape[2] == 3 and sample.index < frames.shape[3]
    if not fits or frames.dtype != np.uint8:
        found = f"{frames.shape} of {frames.dtype}"
        raise SkipFace(BAD_IMAGE, f"{sample.key}: expected colorImages (H, W, 3, T) of uint8, found {found}")
    return cv2.cvtColor(np.ascontiguousarray(frames[..., sample.index]), cv2.COLOR_RGB2BGR)


def _render(sample: Sample, source: SourceConfig) -> tuple[np.ndarray, np.ndarray]:
    from pair_fld.data.synthetic import render_face  # its shape prior is loaded only where faces are rendered

    face = render_face(source.seed, sample.index)
    return face.image, face.points
