from pathlib import Path

import numpy as np

from pair_fld.benchmarks.throughput import large_images, measure_throughput
from pair_fld.runtime.image import read_image
from pair_fld.runtime.pipeline import Pipeline
from tests.runtime.test_main import StubDetector, StubModel


def test_both_ways_are_timed_on_the_same_images_and_compared(tmp_path: Path):
    paths = large_images(tmp_path, 12, 320, 240)
    assert read_image(paths[3]).shape == (240, 320, 3)
    assert np.array_equal(read_image(paths[10]), read_image(paths[0]))  # ten differ, the others are copies
    opened = []

    def pipelines(number: int, threads: int) -> list[Pipeline]:
        opened.append((number, threads))
        return [Pipeline(StubDetector([[20, 20, 60, 60], [100, 20, 140, 60]]), StubModel()) for _ in range(number)]

    found = measure_throughput(pipelines, paths, workers=2)
    assert opened == [(1, 2), (2, 1)]
    assert (found.images, found.faces, found.worst_point_difference_px) == (12, 24, 0.0)
    assert found.megapixels == 320 * 240 / 1e6
    assert found.ratio == found.loop_seconds / found.runner_seconds > 0


def test_a_face_that_only_one_of_them_finds_is_not_hidden(tmp_path: Path):
    paths = large_images(tmp_path, 4, 320, 240)
    boxes = iter([[[20, 20, 60, 60]], [], []])
    found = measure_throughput(
        lambda number, _: [Pipeline(StubDetector(next(boxes)), StubModel()) for _ in range(number)], paths, workers=2
    )
    assert found.worst_point_difference_px == float("inf")
