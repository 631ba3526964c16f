"""How a source's settings say to read its labels: marks for missing points, offset, stored or upright image."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.config import SourceConfig
from pair_fld.data.load_face import load_crop, read_face
from pair_fld.data.packing.prepare import prepare
from pair_fld.data.sample import STORED_FRAME, SkipSample
from pair_fld.data.sources.listing import list_samples
from pair_fld.data.synthetic import render_face
from pair_fld.runtime.landmark_files import write_faces
from tests.data.labelled_folders import add_face, data_config, face_points


def source(**settings: object) -> SourceConfig:
    return SourceConfig.model_validate_json(json.dumps({"name": "s", "kind": "ibug", "path": "set", **settings}))


def labels_of(root: Path, config: SourceConfig):
    labels = read_face(list_samples(data_config(root, config)).samples[0], config)[1]
    assert labels is not None
    return labels


@pytest.mark.parametrize("mark", [(0, 0), (-1, -1), (np.nan, 5), (np.inf, 5)])
def test_marks_for_missing_points_are_masked(tmp_path: Path, mark: tuple[float, float]) -> None:
    points = face_points()
    points[[3, 40]] = mark
    add_face(tmp_path / "set", "a", 0, points)
    crop = load_crop(list_samples(data_config(tmp_path, source())).samples[0], source(), 48, 2.2)
    assert np.flatnonzero(~crop.point_mask).tolist() == [3, 40]
    # the box is that of the other 49 points: no mark pulls it to the corner
    rest = np.delete(face_points(), [3, 40], axis=0)
    assert crop.box_img.tolist() == [*rest.min(axis=0), *rest.max(axis=0)]


def test_other_marks_may_be_named_and_the_usual_ones_taken_for_points(tmp_path: Path) -> None:
    points = face_points()
    points[3], points[4] = (999, 999), (0, 0)
    add_face(tmp_path / "set", "a", 0, points)
    labels = labels_of(tmp_path, source(missing=[[999, 999]]))
    assert np.flatnonzero(~labels.point_mask).tolist() == [3]
    assert labels.points[4].tolist() == [0, 0]


def test_half_of_the_points_may_be_missing_unless_the_source_says_otherwise(tmp_path: Path) -> None:
    points = face_points()
    points[:25] = -1
    add_face(tmp_path / "set", "a", 0, points)
    sample = list_samples(data_config(tmp_path, source())).samples[0]
    assert load_crop(sample, source(), 48, 2.2).point_mask.sum() == 26
    with pytest.raises(SkipSample, match="25 of the 51 points are missing, at most 10 may be"):
        load_crop(sample, source(max_missing=10), 48, 2.2)


def test_missing_points_are_counted(tmp_path: Path) -> None:
    points = face_points()
    points[[3, 40]] = 0
    add_face(tmp_path / "set", "a", 0, points)
    report = prepare(data_config(tmp_path, source(split="train")), tmp_path / "out")
    assert report["sources"][0]["masked_points"] == 2


def test_an_offset_moves_the_points_and_no_mark(tmp_path: Path) -> None:
    points = face_points()
    points[3] = 0
    add_face(tmp_path / "set", "a", 0, points)
    labels = labels_of(tmp_path, source(offset=[-1, 0.5]))
    assert np.flatnonzero(~labels.point_mask).tolist() == [3]
    np.testing.assert_allclose(np.delete(labels.points, 3, axis=0), np.delete(face_points(), 3, axis=0) + [-1, 0.5])


def test_the_wflw68_scheme_masks_what_it_lacks_and_misses_nothing(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(30, 90, (68, 2))
    add_face(tmp_path / "set", "a", 0, points)
    config = source(scheme="wflw68", max_missing=0)  # 18 points are not in the scheme: those are not missing
    crop = load_crop(list_samples(data_config(tmp_path, config)).samples[0], config, 48, 2.2)
    assert crop.point_mask.sum() == 33
    other = source(scheme="lapa106")
    with pytest.raises(SkipSample, match="the scheme lapa106 has 106 points, found 68"):
        load_crop(list_samples(data_config(tmp_path, other)).samples[0], other, 48, 2.2)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF block that holds this orientation tag alone (big-endian TIFF)."""
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01" + orientation.to_bytes(2, "big") + b"\0\0"
    exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01" + entry + b"\0\0\0\0"
    return jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered faces of every EXIF orientation: in stored/ labels were drawn on the image as stored, in upright/ on
    the image as viewers show it."""
    root = tmp_path_factory.mktemp("exif")
    for orientation in range(1, 9):
        for kind in ("stored", "upright"):
            face = render_face(11, orientation)
            jpeg = cv2.imencode(".jpg", face.image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            if kind == "upright":
                jpeg = cv2.imencode(".jpg", _stored_as(face.image, orientation))[1].tobytes()
            path = root / kind / f"{orientation}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(with_orientation(jpeg, orientation))
            write_faces(path.with_suffix(".pts"), [face.points])
    return root


def _stored_as(image: np.ndarray, orientation: int) -> np.ndarray:
    """The image whose EXIF rotation gives `image` (EXIF 2.3, tag 274)."""
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),  # viewers turn it clockwise
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(undo[orientation](image))


def warnings(root: Path, path: str, exif: str) -> list[str]:
    config = source(path=path, exif=exif)
    samples = list_samples(data_config(root, config)).samples
    return [sample.path.stem for sample in samples if load_crop(sample, config, 64, 2.2).warning == STORED_FRAME]


def test_labels_on_the_stored_image_are_suspicious(rotated: Path) -> None:
    assert warnings(rotated, "stored", "apply") == ["2", "3", "4", "5", "6", "7", "8"]  # 1 asks for no rotation
    assert warnings(rotated, "stored", "ignore") == []
    assert warnings(rotated, "upright", "apply") == []


def test_exif_ignore_reads_labels_on_the_stored_image_right(rotated: Path) -> None:
    config = source(path="stored", exif="ignore")
    for sample in list_samples(data_config(rotated, config)).samples:
        image, _ = read_face(sample, config)
        truth = render_face(11, int(sample.path.stem)).image
        assert np.abs(image.astype(int) - truth).mean() < 4  # JPEG's own loss


def test_one_that_does_not_show_it_is_counted_with_the_others_of_its_source(
    rotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsure_of_mirrored_ones(path: Path, *_: object) -> bool | None:
        return None if path.stem == "1" else path.stem not in ("2", "4")

    monkeypatch.setattr("pair_fld.data.load_face.fits_stored_image", unsure_of_mirrored_ones)
    report = prepare(data_config(rotated, source(path="stored", split="train")), tmp_path / "out")
    assert report["warnings"] == {STORED_FRAME: 7}


def test_suspicious_labels_are_counted(rotated: Path, tmp_path: Path) -> None:
    report = prepare(data_config(rotated, source(path="stored", split="train")), tmp_path / "out")
    assert report["warnings"] == {STORED_FRAME: 7}
    assert report["list_warnings"][0]["path"] == "stored/2.jpg"
