"""From a listed sample to a loose crop: decoding and every check of image and label."""

from __future__ import annotations

import hashlib
import zipfile
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from pair_fld.config import PercentOffset, SourceConfig
from pair_fld.data.conventions import move_points
from pair_fld.data.dataset import LABEL_SOURCES, LabelSource
from pair_fld.data.exif import fits_stored_image
from pair_fld.data.sample import (
    BAD_IMAGE,
    BAD_LABELS,
    DEGENERATE,
    MISSING_POINTS,
    OUTSIDE,
    STORED_FRAME,
    WRONG_COUNT,
    Crop,
    Labels,
    Sample,
    SkipSample,
)
from pair_fld.data.schemes import scheme_of
from pair_fld.data.second_opinion import Consultation, consult
from pair_fld.data.zero_points import eye_distance, remove_shift
from pair_fld.runtime.frame import Frame, fit_frame, frame_from_box, frame_matrix
from pair_fld.runtime.geometry import points_box, transform_points, warp
from pair_fld.runtime.image import decode, read_bytes, read_image
from pair_fld.runtime.landmark_files import read_one_face
from pair_fld.runtime.scheme import NUM_POINTS

MAX_OUTSIDE = 0.1  # how far a point may lie outside the image, over the longer side of the 51-point box
MIN_BOX = 8.0  # pixels: a smaller face shows nothing to locate
MIN_ASPECT = 0.1  # shorter over longer side of the box; below, the points lie on a line


def load_crop(
    sample: Sample, source: SourceConfig, size: int, margin: float, consultation: Consultation | None = None
) -> Crop:
    """Decode, check and cut one face.

    Args:
        consultation: what a second opinion is asked for.

    Raises:
        SkipSample: the image or its label cannot be used; the sentence says why.
    """
    image, labels = read_face(sample, source)
    height, width = image.shape[:2]
    kind = LABEL_SOURCES.index(source.labels)
    fits_stored: bool | None = None
    consulted = None if consultation is None else consult(sample, labels, consultation)
    if consulted is not None:
        labels = consulted.labels
        kind = LabelSource.MACHINE if consulted.relabelled else kind
    if labels is None:
        kind = LabelSource.NONE
        points_img, valid = np.zeros((NUM_POINTS, 2)), np.zeros(NUM_POINTS, bool)
        visibility = np.zeros(NUM_POINTS, np.uint8)
        # fractions of the image's span [-0.5, W - 0.5]
        box_img = np.array(source.box) * [width, height, width, height] - 0.5
    else:
        box_img = check_labels(sample.key, labels, width, height, source.max_missing)
        points_img, valid, visibility = labels.points, labels.point_mask, labels.visibility
        if labels.approximate and kind != LabelSource.NONE:
            kind = LabelSource.MACHINE
        if kind == LabelSource.NONE:
            valid = np.zeros(NUM_POINTS, bool)
        elif source.exif == "apply":
            fits_stored = fits_stored_image(sample.path, image, points_img[valid])
    frame = _frame(sample.key, points_img, valid, box_img)
    matrix = frame_matrix(frame, size, margin)
    points = np.where(valid[:, None], transform_points(matrix, points_img), 0.0).astype(np.float32)
    crop = warp(image, matrix, size)
    return Crop(
        image=crop,
        points=points,
        point_mask=valid,
        frame=np.array([(size - 1) / 2, (size - 1) / 2, size / margin, 0.0], np.float32),
        box_img=box_img,
        matrix=matrix,
        label=kind,
        image_hash=hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest(),
        hash=hashlib.sha256(crop.tobytes()).hexdigest(),
        visibility=visibility,
        tags=sample.tags,
        warning=STORED_FRAME if fits_stored else "",
        turned=fits_stored is not None,
        averaged=0 if consulted is None else consulted.averaged,
        filled=0 if consulted is None else consulted.filled,
        relabelled=consulted is not None and consulted.relabelled,
    )


def _frame(name: str, points_img: np.ndarray, point_mask: np.ndarray, box_img: np.ndarray) -> Frame:
    """The frame of the labelled points; of the box where there are none, or where all lie on one another."""
    if not point_mask.any():
        return frame_from_box(box_img)
    try:
        return fit_frame(points_img, weights=point_mask)
    except ValueError as error:
        raise SkipSample(DEGENERATE, f"{name}: {error}") from None


def read_face(sample: Sample, source: SourceConfig) -> tuple[np.ndarray, Labels | None]:
    """The whole image (H, W, 3) uint8 BGR and its labels, None if unlabelled.

    Raises:
        SkipSample: as `load_crop`.
    """
    if source.kind == "synthetic":
        image, points = _render(sample, source)
        return image, to_labels(sample, points, source)
    points = sample.points if sample.label is None else _read_label(sample.label)
    if points is not None and source.kind == "ivslab" and len(points) != NUM_POINTS:
        raise SkipSample(WRONG_COUNT, f"{sample.key}: contest labels have 51 points, found {len(points)}")
    labels = None if points is None else to_labels(sample, points, source)
    image = _read_frame(sample) if source.kind == "ytf" else _read_image(sample, source)
    return image, labels


def to_labels(sample: Sample, points: np.ndarray, source: SourceConfig) -> Labels:
    """Points (N, 2) as their file has them -> labels _img in the contest's scheme, as the source says to read them.

    Points that are not finite or at one of the source's marks for "missing" are not labelled.

    Raises:
        SkipSample: a count that is not the scheme's.
    """
    points = np.asarray(points, np.float64)
    try:
        # an annotation's points have been through the source's map already
        scheme = scheme_of(len(points), None if source.kind == "annotation" else source.scheme)
    except ValueError as error:
        raise SkipSample(WRONG_COUNT, f"{sample.key}: {error}") from None
    missing = np.asarray(~np.isfinite(points).all(axis=1))
    for mark in source.missing:
        missing |= np.asarray((points == mark).all(axis=1))
    offset = source.offset if isinstance(source.offset, tuple) else (0.0, 0.0)
    in_51, point_mask = scheme.to_51(np.where(missing[:, None], np.nan, points + offset))
    if isinstance(source.offset, PercentOffset):
        unit = eye_distance(in_51[None], point_mask[None])
        in_51 = np.where(point_mask[:, None], remove_shift(in_51[None], -np.array(source.offset.percent), unit)[0], 0.0)
        if source.offset.points is not None:
            in_51 = move_points(in_51, np.array(source.offset.points), point_mask)
    visibility = np.zeros(NUM_POINTS, np.uint8)
    if sample.visibility is not None:
        if len(sample.visibility) not in (len(points), NUM_POINTS):
            sentence = f"{sample.key}: the visibility of {len(sample.visibility)} points beside {len(points)} points"
            raise SkipSample(WRONG_COUNT, sentence)
        visibility = sample.visibility
        if len(visibility) == len(points):
            visibility = scheme.visibility_to_51(visibility)
    return Labels(in_51, point_mask, visibility, scheme.has, scheme.approximate)


def check_labels(name: str, labels: Labels, width: int, height: int, max_missing: int) -> np.ndarray:
    """The box (4,) _img of a face's labelled points.

    Args:
        max_missing: points that may lack beyond those that the labels' scheme lacks.

    Raises:
        SkipSample: too many missing points, points outside the image, or a box without extent.
    """
    points, valid = labels.points, labels.point_mask
    missing = int((labels.in_scheme & ~valid).sum())
    if missing > max_missing or not valid.any():
        sentence = f"{missing} of the 51 points are missing, at most {max_missing} may be"
        raise SkipSample(MISSING_POINTS, f"{name}: {sentence}")
    box = points_box(points, valid)
    longer, shorter = max(box[2:] - box[:2]), min(box[2:] - box[:2])
    if longer < MIN_BOX or shorter < MIN_ASPECT * longer:
        sentence = f"the points span {box[2] - box[0]:.1f} x {box[3] - box[1]:.1f} pixels"
        raise SkipSample(DEGENERATE, f"{name}: {sentence}, too small or flat for a face")
    low, high = points[valid].min(axis=0), points[valid].max(axis=0)
    beyond = max(*(-0.5 - low), *(high - [width - 0.5, height - 0.5]))
    if beyond > MAX_OUTSIDE * longer:
        sentence = f"a point lies {beyond:.1f} pixels outside the {width} x {height} image"
        raise SkipSample(OUTSIDE, f"{name}: {sentence}; is the label another image's?")
    return box


def _read_label(path: Path) -> np.ndarray:
    try:
        return read_one_face(path)
    except OSError as error:
        raise SkipSample(BAD_LABELS, f"{path.name}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        reason = WRONG_COUNT if "header promises" in str(error) else BAD_LABELS
        raise SkipSample(reason, str(error)) from None


def _read_image(sample: Sample, source: SourceConfig) -> np.ndarray:
    try:
        if source.exif == "ignore":
            return decode(read_bytes(sample.path), sample.path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return read_image(sample.path)
    except OSError as error:
        raise SkipSample(BAD_IMAGE, f"{sample.key}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise SkipSample(BAD_IMAGE, str(error)) from None


@lru_cache(maxsize=2)
def _video(path: Path) -> np.ndarray:
    """Frames (H, W, 3, T) of a video: its faces are neighbours in the list, so one at a time is kept."""
    with np.load(path, allow_pickle=False) as video:
        return video["colorImages"]


def _read_frame(sample: Sample) -> np.ndarray:
    try:
        frames = _video(sample.path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.error) as error:
        raise SkipSample(BAD_IMAGE, f"{sample.key}: no readable array colorImages ({error})") from None
    fits = frames.ndim == 4 and frames.shape[2] == 3 and sample.index < frames.shape[3]
    if not fits or frames.dtype != np.uint8:
        found = f"{frames.shape} of {frames.dtype}"
        raise SkipSample(BAD_IMAGE, f"{sample.key}: expected colorImages (H, W, 3, T) of uint8, found {found}")
    return cv2.cvtColor(np.ascontiguousarray(frames[..., sample.index]), cv2.COLOR_RGB2BGR)


def _render(sample: Sample, source: SourceConfig) -> tuple[np.ndarray, np.ndarray]:
    from pair_fld.data.synthetic import render_face  # its shape prior is loaded only where faces are rendered

    face = render_face(source.seed, sample.index)
    return face.image, face.points
