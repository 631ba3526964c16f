"""Learning where a detector's key points lie in a face, and how far its frames are off, from labelled images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pair_fld.data.dataset import DETECTOR_FILE, FaceDataset, Split
from pair_fld.data.source_images import read_source_images
from pair_fld.errors import PairError
from pair_fld.evaluate.matching import DetectionResult, measure_detector
from pair_fld.io import file_hash, read_json, write_json
from pair_fld.progress import Say
from pair_fld.runtime.calibration import DetectorCalibration, calibration_from_json
from pair_fld.runtime.detection import Detection
from pair_fld.runtime.detector import open_detector
from pair_fld.runtime.frame import Frame, fit_frame, frame_matrix, frame_residual
from pair_fld.runtime.geometry import transform_points

CALIBRATION_FACES = 400  # training images that a detector is calibrated on
_MAD_TO_DEVIATION = 1.4826  # of a normal distribution
_OUTLIER = 4.0  # deviations beyond which a residual is taken for another face's, or a label's mistake


def measured_calibration(dataset: FaceDataset, detector: Path, keep: Path | None, say: Say) -> DetectorCalibration:
    """Where a detector's key points lie in a face, and how far its frames are off, on labelled training images.

    The data folder's own measurement (`DETECTOR_FILE`) is taken where it is of this detector.

    Args:
        detector: its file.
        keep: a file that holds the measurement from one call to the next; None: nothing is written.

    Raises:
        PairError: the detector saw too few faces to learn from.
    """
    key = {"detector": file_hash(detector), "data_hash": dataset.data_hash, "faces": CALIBRATION_FACES}
    for path in (dataset.folder / DETECTOR_FILE, keep):
        if (
            path is not None
            and path.is_file()
            and (kept := read_json(path, "a detector calibration")).get("key") == key
        ):
            return calibration_from_json(kept["calibration"])
    opened = open_detector(detector)
    say(f"measuring the frames of the detector {opened.name} on training images")
    result = measure_detector(opened, _training_images(dataset))
    try:
        calibration = calibrate(result, opened.name, opened.key_points)
    except ValueError as error:
        remedy = "Train on images that show whole heads."
        raise PairError("face detector", "20 or more training faces found to learn from", str(error), remedy) from None
    if keep is not None:
        write_json(keep, {"key": key, "calibration": calibration.to_json(), "measured": result.to_json()})
    return calibration


def _training_images(dataset: FaceDataset) -> Iterator[tuple[np.ndarray, Sequence[np.ndarray]]]:
    """(image, labelled faces) of training faces, evenly spread over the labelled sources."""
    sources = len(np.unique(dataset.faces.source[dataset.indices(Split.TRAIN, labelled=True)]))
    for source in read_source_images(dataset, Split.TRAIN, CALIBRATION_FACES // max(1, sources)):
        yield source.image, source.faces


def calibrate(result: DetectionResult, detector: str, key_points: Sequence[str]) -> DetectorCalibration:
    """`learn_calibration` of what `measure_detector` found on labelled training images."""
    frames = [fit_frame(points, weights=np.asarray(np.isfinite(points).all(axis=1))) for points in result.truth]
    return learn_calibration(result.detections, frames, detector, key_points)


def learn_calibration(
    detections: Sequence[Detection], frames: Sequence[Frame], detector: str, key_points: Sequence[str] = ()
) -> DetectorCalibration:
    """The calibration that fits detections to the frames of the same faces' labels.

    A key point's reference is its median place in the labelled frames, its weight the inverse of its variance there
    (from median absolute deviations, so that a few wrong pairs do no harm). Bias and covariance are those of the
    residuals that remain; residuals beyond 4 deviations are left out of the covariance.

    Args:
        detections, frames: of the same faces, in one order, in the same image's pixels.
        key_points: their names.

    Raises:
        ValueError: fewer than 20 faces, or sequences that do not fit together.
    """
    if len(detections) != len(frames) or len(frames) < 20:
        raise ValueError(f"expected 20 or more pairs, found {len(detections)} detections and {len(frames)} frames")
    reference, weights = np.zeros((0, 2)), np.zeros(0)
    if key_points:
        # a crop of one pixel with margin 1 has its middle at 0 and the frame's size as its unit: the mean face's place
        places = np.array(
            [transform_points(frame_matrix(f, 1, 1.0), d.key_points) for d, f in zip(detections, frames, strict=True)]
        )
        reference = np.median(places, axis=0)
        spread = _MAD_TO_DEVIATION * np.median(np.abs(places - reference), axis=0)
        weights = 1 / np.square(spread).sum(axis=1)
        weights = weights / weights.max()
    raw = DetectorCalibration(
        detector, tuple(key_points), reference, weights, np.zeros(4), np.zeros((4, 4)), len(frames)
    )
    bias = np.median(_residuals(raw, detections, frames), axis=0)
    remaining = _residuals(replace(raw, bias=bias), detections, frames)
    deviation = np.maximum(_MAD_TO_DEVIATION * np.median(np.abs(remaining), axis=0), 1e-9)
    usual = (np.abs(remaining) <= _OUTLIER * deviation).all(axis=1)
    covariance = np.cov(remaining[usual].T, bias=True)
    return replace(raw, bias=bias, covariance=covariance)


def _residuals(
    calibration: DetectorCalibration, detections: Sequence[Detection], frames: Sequence[Frame]
) -> np.ndarray:
    """(n, 4) `frame_residual` of the labelled frames from the detector's."""
    return np.array([frame_residual(calibration.frame(d), f) for d, f in zip(detections, frames, strict=True)])
