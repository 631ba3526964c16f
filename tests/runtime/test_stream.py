import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_fld.runtime.detection import Detection
from pair_fld.runtime.frame import Frame
from pair_fld.runtime.image import decode_reduced, enlarge, jpeg_header, read_bytes, read_image
from pair_fld.runtime.image_file import SEARCH_SIDE, ImageFile
from pair_fld.runtime.pipeline import Pipeline
from pair_fld.runtime.stream import LOOK_AHEAD, Request, predict_many
from tests.runtime.test_main import StubDetector, StubModel, face_in


def jpeg(path: Path, image: np.ndarray, orientation: int | None = None) -> Path:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    if orientation is not None:
        tiff = b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"
        body = b"Exif\0\0" + tiff
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    path.write_bytes(data)
    return path


def slope(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.dstack([x * 255 / width, y * 255 / height, np.zeros((height, width))]).astype(np.uint8)


def test_header_by_hand(tmp_path: Path):
    path = jpeg(tmp_path / "a.jpg", slope(48, 64))
    assert jpeg_header(read_bytes(path)) == (64, 48, True)
    assert jpeg_header(read_bytes(jpeg(path, slope(48, 64), 1))) == (64, 48, True)
    assert jpeg_header(read_bytes(jpeg(path, slope(48, 64), 6))) == (64, 48, False)
    assert jpeg_header(np.frombuffer(b"\x89PNG....", np.uint8)) is None
    assert jpeg_header(np.frombuffer(b"\xff\xd8\xff\xe0\x00\x10", np.uint8)) is None


@pytest.mark.parametrize(
    ("shape", "orientation", "factor"),
    [
        ((600, 1600), None, 8),
        ((600, 1599), None, 4),
        ((600, 399), None, 2),
        ((300, 399), None, 1),
        ((601, 1600), 6, 1),  # turned: the blocks would count from the other edge
        ((600, 1600), 6, 8),
    ],
)
def test_reduced_images_are_the_whole_ones_in_blocks(tmp_path: Path, shape, orientation, factor):
    path = jpeg(tmp_path / "a.jpg", slope(*shape), orientation)
    small, found = decode_reduced(read_bytes(path), path, 200)
    assert found == factor
    whole = read_image(path)
    assert small.shape[:2] == tuple(-(-n // factor) for n in whole.shape[:2])
    # pixel j of the small image is the mean of its block, and `enlarge` gives the middle of that block
    x, y = 7, 11
    middle = enlarge(np.array([x, y]), factor)
    assert middle.tolist() == [factor * x + (factor - 1) / 2, factor * y + (factor - 1) / 2]
    block = whole[factor * y : factor * (y + 1), factor * x : factor * (x + 1)].reshape(-1, 3).mean(axis=0)
    assert np.abs(small[y, x] - block).max() < 3


class BrightBox(StubDetector):
    """Finds the box of the bright pixels."""

    def __init__(self) -> None:
        super().__init__([])

    def detect_in(self, image_bgr: np.ndarray, views: Sequence[Frame]) -> list[Detection]:
        y, x = np.nonzero(image_bgr[..., 0] > 127)
        box = np.array([x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5])
        return [Detection(box, np.zeros((0, 2)), 0.9)]


@pytest.mark.parametrize("side", [400, 16], ids=["large face", "small face"])
def test_a_small_face_is_cropped_from_the_whole_image(tmp_path: Path, side: int):
    image = np.zeros((1200, 2 * SEARCH_SIDE, 3), np.uint8)
    image[320 : 320 + side, 640 : 640 + side] = 255
    file = ImageFile.open(jpeg(tmp_path / "a.jpg", image))
    model = StubModel()
    (face,) = Pipeline(BrightBox(), model).faces_of(file)
    np.testing.assert_allclose(face.points, face_in([639.5, 319.5, 639.5 + side, 319.5 + side]), atol=0.01)
    # the crop of the small face is enlarged: its edge is as sharp as the whole image's, 20 of 40 pixels are bright
    assert (model.seen[0][0, 20, :, 0] > 127).sum() == 20
    assert file.whole_is_decoded == (side == 16)


def test_responses_come_in_order_and_errors_stay_with_their_image(tmp_path: Path):
    good = [jpeg(tmp_path / f"{k}.jpg", np.full((60, 60, 3), 80 + k, np.uint8)) for k in range(9)]
    (tmp_path / "bad.jpg").write_text("text")
    paths = [*good[:4], tmp_path / "bad.jpg", tmp_path / "none.jpg", *good[4:]]
    pipelines = [Pipeline(StubDetector([[10, 10, 50, 50]]), StubModel()) for _ in range(3)]
    found = list(predict_many((Request(str(p), p) for p in paths), pipelines, images=True))
    assert [a.request.image for a in found] == paths
    assert [a.error is None for a in found] == [p in good for p in paths]
    assert found[5].error == f"{tmp_path / 'none.jpg'}: no such file"
    assert all(a.image.shape == (60, 60, 3) for a in found if a.error is None)


def test_known_faces_ask_no_model(tmp_path: Path):
    model, known = StubModel(), face_in([1, 1, 9, 9])
    pipeline = Pipeline(StubDetector([[1, 1, 9, 9]]), model)
    (response,) = predict_many([Request("a", tmp_path / "not-read.jpg", (known,))], [pipeline])
    assert np.array_equal(response.faces[0].points, known)
    assert response.faces[0].score is None
    assert (response.image, response.error, model.seen) == (None, None, [])


def test_only_a_few_images_are_taken_ahead_and_each_pipeline_serves_one_at_a_time():
    taken, busy, most = [], [], []
    lock = threading.Lock()

    class Slow(StubDetector):
        def detect_in(self, image_bgr: np.ndarray, views: Sequence[Frame]) -> list[Detection]:
            with lock:
                assert self not in busy
                busy.append(self)
                most.append(len(busy))
            time.sleep(0.01)
            with lock:
                busy.remove(self)
            return super().detect_in(image_bgr, views)

    def requests():
        for k in range(20):
            taken.append(k)
            yield Request(str(k), np.full((9, 9, 3), 5, np.uint8))

    pipelines = [Pipeline(Slow([]), StubModel()) for _ in range(2)]
    for k, response in enumerate(predict_many(requests(), pipelines)):
        assert response.request.key == str(k)
        assert len(taken) <= k + 1 + LOOK_AHEAD * 2
    assert max(most) == 2
