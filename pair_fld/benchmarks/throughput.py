"""How much faster the runner is than a plain loop: cv2.imread, detection, one model call per face."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pair_fld.data.synthetic import render_scene
from pair_fld.runtime.pipeline import Pipeline
from pair_fld.runtime.stream import Request, predict_many

_DISTINCT = 10  # images that differ; the others are copies


@dataclass(frozen=True)
class Throughput:
    """Seconds for all images, by the loop and by the runner in turns; `ratio` is the loop's over the runner's."""

    images: int
    megapixels: float
    megabytes: float
    workers: int
    faces: int
    loop_seconds: float
    runner_seconds: float
    worst_point_difference_px: float

    @property
    def ratio(self) -> float:
        return self.loop_seconds / self.runner_seconds

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}


def large_images(folder: Path, count: int, width: int, height: int, seed: int = 5) -> list[Path]:
    """Write `count` JPEGs of rendered scenes with one face or two, enlarged, with the grain of a camera."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(count):
        path = folder / f"{k:04d}.jpg"
        if k < _DISTINCT:
            scene = render_scene(seed, k, 768, faces=1 + k % 2).image
            large = cv2.resize(scene, (max(width, height),) * 2, interpolation=cv2.INTER_CUBIC)[:height, :width]
            grain = np.zeros(large.shape, np.int16)
            cv2.setRNGSeed(seed + k)
            cv2.randn(grain, np.zeros(3), np.full(3, 4.0))
            large = cv2.add(large, grain, dtype=cv2.CV_8U)
            path.write_bytes(cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
        else:
            shutil.copyfile(paths[k % _DISTINCT], path)
        paths.append(path)
    return paths


def plain_loop(pipeline: Pipeline, paths: Sequence[Path]) -> list[list[np.ndarray]]:
    """The plain loop: one image after the other, one model call per face."""
    found = []
    for path in paths:
        image = cv2.imread(str(path))
        assert image is not None, path
        found.append([face.points for face in pipeline.faces(image)])
    return found


def measure_throughput(
    open_pipelines: Callable[[int, int], list[Pipeline]], paths: Sequence[Path], workers: int, rounds: int = 2
) -> Throughput:
    """Time both on the same images, in turns, one part of the images at a time, after a few to warm up.

    Args:
        open_pipelines: (number of pipelines, threads of each runtime). The loop's runtime may use as many threads as
            the runner has workers.
    """
    single = open_pipelines(1, workers)[0]
    many = open_pipelines(workers, 1)

    def runner(part: Sequence[Path]) -> list[tuple[np.ndarray, ...]]:
        return [tuple(face.points for face in a.faces) for a in predict_many((Request(str(p), p) for p in part), many)]

    plain_loop(single, paths[:2])
    runner(paths[: 2 * workers])
    loop_s = runner_s = worst = 0.0
    faces = 0
    for part in (paths[k::rounds] for k in range(rounds)):
        started = time.perf_counter()
        plain = plain_loop(single, part)
        middle = time.perf_counter()
        ours = runner(part)
        loop_s, runner_s = loop_s + middle - started, runner_s + time.perf_counter() - middle
        faces += sum(map(len, ours))
        worst = max([worst, *(_apart(a, b) for a, b in zip(plain, ours, strict=True))])
    height, width = _size(paths[0])
    megabytes = sum(os.path.getsize(p) for p in paths) / 1e6
    return Throughput(len(paths), height * width / 1e6, megabytes, workers, faces, loop_s, runner_s, worst)


def _size(path: Path) -> tuple[int, int]:
    image = cv2.imread(str(path))
    assert image is not None, path
    return image.shape[0], image.shape[1]


def _apart(plain: Sequence[np.ndarray], ours: Sequence[np.ndarray]) -> float:
    """Largest distance of a point from its twin in the nearest face of the other; inf when a face is missing."""
    if len(plain) != len(ours):
        return float("inf")
    return max((min(float(np.hypot(*(a - b).T).max()) for b in ours) for a in plain), default=0.0)
