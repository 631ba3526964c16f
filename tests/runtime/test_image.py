from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pair_fld.runtime.image import read_image


def image() -> np.ndarray:
    """12 x 8 BGR: left half blue, right half red."""
    image = np.zeros((8, 12, 3), np.uint8)
    image[:, :6, 0] = 255
    image[:, 6:, 2] = 255
    return image


def rgb() -> Image.Image:
    return Image.fromarray(image()[:, :, ::-1].copy())


def test_colour_order_is_bgr(tmp_path: Path):
    rgb().save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image())


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "I;16", "1"])
def test_every_kind_becomes_three_channels_of_uint8(tmp_path: Path, mode: str):
    if mode == "I;16":
        Image.fromarray(np.full((8, 12), 65535, np.uint16)).save(tmp_path / "a.png")
    else:
        rgb().convert(mode).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image.shape, image.dtype) == ((8, 12, 3), np.uint8)
    if mode == "I;16":
        assert image.min() == 255


def test_cmyk_jpeg(tmp_path: Path):
    Image.new("CMYK", (12, 8), (255, 0, 0, 0)).save(tmp_path / "a.jpg")  # full cyan, no other ink
    blue, green, red = read_image(tmp_path / "a.jpg").reshape(-1, 3).mean(axis=0)
    assert min(blue, green) > red + 80


def test_exif_rotation_is_applied(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, to be shown turned clockwise
    rgb().save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (12, 8, 3)
    assert image[2, 4, 0] > 150  # blue, the stored left, is now on top
    assert image[9, 4, 2] > 150


def test_spaces_and_other_scripts_in_a_path(tmp_path: Path):
    path = tmp_path / "ein Bild äöü 顔.png"
    path.write_bytes(cv2.imencode(".png", image())[1].tobytes())
    assert read_image(path).shape == (8, 12, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_image_that_was_cut_short(tmp_path: Path, suffix: str):
    noise = np.random.default_rng(0).integers(0, 255, (120, 120, 3), dtype=np.uint8)
    data = cv2.imencode(suffix, noise)[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="the image is cut short"):
        read_image(path)


def test_empty_and_foreign_files(tmp_path: Path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image at all")
    with pytest.raises(ValueError, match=r"empty\.png: the file is empty"):
        read_image(tmp_path / "empty.png")
    with pytest.raises(ValueError, match=r"text\.png: not an image"):
        read_image(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "nowhere.png")
