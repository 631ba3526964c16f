"""Faces in Python: files and arrays alike, and what is no image is named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import pair_fld
from pair_fld.data.synthetic import render_scene


def test_files_and_arrays_give_the_same_faces(tmp_path: Path) -> None:
    image = render_scene(1, 1, 512, faces=1).image
    cv2.imwrite(str(tmp_path / "a.png"), image)
    landmarker = pair_fld.Landmarker()
    (of_array,), (of_file,), (of_name,) = (landmarker(x) for x in (image, tmp_path / "a.png", str(tmp_path / "a.png")))
    assert isinstance(of_array, pair_fld.Face)
    assert np.array_equal(of_array.points, of_file.points)
    assert np.array_equal(of_array.points, of_name.points)
    assert of_array.score == of_file.score


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    landmarker = pair_fld.Landmarker()
    expected = r"expected an array \(H, W, 3\) of uint8, BGR, found \(9, 9\) of float64"
    with pytest.raises(ValueError, match=expected):
        landmarker(np.zeros((9, 9)))
    with pytest.raises(OSError, match=r"none\.jpg"):
        landmarker(tmp_path / "none.jpg")
    with pytest.raises(pair_fld.PairError, match="expected an archive of pairfld package"):
        pair_fld.Landmarker(tmp_path / "none.zip")
