"""Does it find faces as they come: turned, small, several, none? `python -m pair_fld.benchmarks.face_search --help`

Every figure is end to end, from an image to the faces of an archive. Folders of labelled images are only measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pair_fld.data.load_face import read_face
from pair_fld.data.sample import SkipSample, evenly_spread
from pair_fld.data.synthetic import render_scene
from pair_fld.data.synthetic.faceless import draw_faceless
from pair_fld.evaluate.confidence import GOOD_NME, calibration_error, rank_correlation
from pair_fld.evaluate.disturbances import DISTURBANCES, disturb, turn
from pair_fld.evaluate.matching import match_faces
from pair_fld.evaluate.metrics import nme
from pair_fld.evaluate.validate import labelled_folder
from pair_fld.export.model_cost import model_cost
from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
from pair_fld.runtime.face import Face
from pair_fld.runtime.frame import Frame, fit_frame, frame_matrix
from pair_fld.runtime.geometry import transform_points, warp
from pair_fld.runtime.image_file import ImageFile
from pair_fld.runtime.pipeline import Pipeline, PipelineOptions
from pair_fld.submit.budget import IMAGE_SIDE

FACELESS_SEED = 2024  # nothing is trained, tuned or calibrated on it
SCENE_SEED = 2024  # of rendered images
Labelled = tuple[np.ndarray, np.ndarray]  # image (H, W, 3) uint8 BGR, points (51, 2) _img, nan where not labelled


def labelled_images(folder: Path, limit: int | None = None) -> Iterator[Labelled]:
    """The readable images of a folder with .pts labels, evenly spread when there are more than `limit`."""
    truth = labelled_folder([folder])
    for k in evenly_spread(len(truth.samples), limit):
        sample = truth.samples[k]
        try:
            image, labels = read_face(sample, truth.config.sources[sample.source])
        except SkipSample:
            continue
        if labels is not None:
            yield image, np.where(labels.point_mask[:, None], labels.points, np.nan)


def nearest(faces: Sequence[Face], label: np.ndarray) -> tuple[Face, float] | None:
    """The face on a label, and its NME under outer corners (a fraction); None where there is none."""
    pairs = match_faces([face.points for face in faces], [label]).pairs
    if not pairs:
        return None
    face = faces[pairs[0][0]]
    valid = np.asarray(np.isfinite(label).all(axis=1))
    return face, float(nme(face.points[None], np.nan_to_num(label)[None], valid[None])[0])


def turned(pipeline: Pipeline, folder: Path, angles: Sequence[int], limit: int | None) -> dict[str, Any]:
    """Share found and NME of the faces found, upright and at every angle (degrees)."""
    images = list(labelled_images(folder, limit))
    rows = []
    for degrees in dict.fromkeys((0, *angles)):
        errors, missed = [], 0
        for image, label in images:
            image, label = turn(image, label, degrees) if degrees else (image, label)
            found = nearest(pipeline.faces(image), label)
            if found is None:
                missed += 1
            else:
                errors.append(found[1])
        rows.append(
            {
                "degrees": degrees,
                "found_percent": 100 * len(errors) / (len(errors) + missed),
                "nme_outer_corners_percent": 100 * float(np.nanmean(errors)),
            }
        )
    upright = rows[0]["nme_outer_corners_percent"]
    return {
        "worst_found_percent": min(row["found_percent"] for row in rows),
        "worst_nme_above_upright": max(row["nme_outer_corners_percent"] - upright for row in rows),
        "angles": rows,
    }


def small(pipeline: Pipeline, folder: Path, sizes: Sequence[int], scratch: Path, seed: int = 1) -> dict[str, Any]:
    """Twelve faces pasted into an image of 4000 x 3000: how many are found, by the longer side of their boxes."""
    rng = np.random.default_rng(seed)
    chosen = list(labelled_images(folder))
    found = {}
    for size in sizes:
        canvas = cv2.resize(rng.integers(60, 190, (6, 8, 3)).astype(np.uint8), (4000, 3000), interpolation=3)
        labels = []
        for place, k in enumerate(rng.choice(len(chosen), 12, replace=False)):
            image, label = chosen[int(k)]
            frame = fit_frame(label, weights=np.asarray(np.isfinite(label).all(axis=1)))
            side = round(2.6 * size)  # the head and something around it
            matrix = frame_matrix(Frame(frame.centre, frame.size), side, 2.6)
            crop = warp(image, matrix, side)
            low = (
                np.array([500 + 1000 * (place % 4), 500 + 1000 * (place // 4)]) + rng.integers(-300, 300, 2) - side // 2
            )
            low = np.clip(low, 0, [4000 - side, 3000 - side])
            canvas[low[1] : low[1] + side, low[0] : low[0] + side] = crop
            labels.append(transform_points(matrix, label) + low)
        path = scratch / f"twelve-{size}.jpg"
        cv2.imwrite(str(path), canvas, [cv2.IMWRITE_JPEG_QUALITY, 92])
        faces = pipeline.faces_of_file(path)
        pairs = match_faces([face.points for face in faces], labels).pairs
        found[str(size)] = {"found": len(pairs), "others": len(faces) - len(pairs)}
    return found


def faceless(pipeline: Pipeline, count: int, seed: int) -> dict[str, Any]:
    """False faces in drawn images without one, by kind."""
    wrong: Counter[str] = Counter()
    kinds, faces = set(), 0
    for number in range(count):
        kind, image = draw_faceless(seed, number)
        kinds.add(kind)
        found = pipeline.faces(image)
        faces += len(found)
        wrong[kind] += len(found)
    return {
        "images": count,
        "kinds": len(kinds),
        "false_faces": faces,
        "by_kind": {k: n for k, n in wrong.items() if n},
    }


def confidence(pipeline: Pipeline, folders: Sequence[Path], seed: int, limit: int | None) -> dict[str, Any]:
    """What scores and deviations say of the errors, on faces as they are and disturbed in each way."""
    rng = np.random.default_rng(seed)
    scores, errors, kinds = [], [], []
    deviations, distances = [], []
    missed: Counter[str] = Counter()
    for folder in folders:
        for image, label in labelled_images(folder, limit):
            for kind in DISTURBANCES:
                changed, moved = disturb(image, label, kind, rng)
                found = nearest(pipeline.faces(changed), moved)
                if found is None:
                    missed[kind] += 1
                    continue
                face, error = found
                scores.append(face.score)
                errors.append(error)
                kinds.append(kind)
                if face.deviations is not None:
                    valid = np.isfinite(moved).all(axis=1)
                    deviations.append(face.deviations[valid] / face.frame.size)
                    distances.append(np.linalg.norm(face.points - moved, axis=1)[valid] / face.frame.size)
    score, error = np.array(scores), np.array(errors)
    face_deviation = np.array([d.mean() for d in deviations])
    return {
        "faces": len(score),
        "missed": dict(missed),
        "rank_correlation_score_error": -rank_correlation(score, error),
        "rank_correlation_deviation_error": rank_correlation(face_deviation, error),
        "rank_correlation_points": rank_correlation(np.concatenate(deviations), np.concatenate(distances)),
        "expected_calibration_error": calibration_error(score, error < GOOD_NME),
        "mean_score": float(score.mean()),
        "share_good": float((error < GOOD_NME).mean()),
        "by_kind": {
            kind: [float(score[mine].mean()), float((error[mine] < GOOD_NME).mean())]
            for kind in DISTURBANCES
            if (mine := np.array(kinds) == kind).any()
        },
    }


@dataclass
class Counts:
    """Network calls while an image was worked on."""

    detector: int = 0
    crops: int = 0


@contextmanager
def counted(pipeline: Pipeline) -> Generator[Counts]:
    """Count the calls of both networks."""
    counts = Counts()
    detector: Any = pipeline.detector
    infer, locate = detector.infer, pipeline.model.locate

    def counting_infer(view: np.ndarray, threshold: float = 0.0) -> Any:
        counts.detector += 1
        return infer(view, threshold)

    def counting_locate(crops: np.ndarray) -> Any:
        counts.crops += len(crops)
        return locate(crops)

    detector.infer = counting_infer
    setattr(pipeline.model, "locate", counting_locate)  # noqa: B010 (a protocol declares no attribute to assign)
    try:
        yield counts
    finally:
        detector.infer = infer
        setattr(pipeline.model, "locate", locate)  # noqa: B010


def cost(pipeline: Pipeline, folder: Path, images: Sequence[Path], rounds: int = 5) -> list[dict[str, Any]]:
    """Network calls, arithmetic and one core's time per image: of `images`, or of rendered scenes of IMAGE_SIDE pixels
    with no, one and three faces.

    folder: of the unpacked archive.
    """
    detector, model = (model_cost(folder / f"{name}.tflite").gflops for name in ("detector", "model"))
    cases = [(path.name, ImageFile.open(path)) for path in images] or [
        (f"{count} rendered", ImageFile.of_array(render_scene(SCENE_SEED, 0, IMAGE_SIDE, count).image))
        for count in (0, 1, 3)
    ]
    rows: list[dict[str, Any]] = []
    for name, image in cases:
        with counted(pipeline) as counts:
            faces = pipeline.faces_of(image)
        rows.append(
            {"image": name, "faces": [round(f.score or 0.0, 3) for f in faces], "detector": counts.detector,
             "crops": counts.crops, "gflops": round(counts.detector * detector + counts.crops * model, 3)}
        )  # fmt: skip
    taken: list[list[float]] = [[] for _ in cases]
    for _ in range(rounds):
        for times, (_, image) in zip(taken, cases, strict=True):
            start = time.process_time()
            pipeline.faces_of(image)
            times.append(1000 * (time.process_time() - start))
    return [row | {"ms": round(float(np.median(times)), 1)} for row, times in zip(rows, taken, strict=True)]


def main(arguments: Sequence[str] | None = None) -> int:
    """One measurement as JSON on stdout."""
    parser = argparse.ArgumentParser(prog="python -m pair_fld.benchmarks.face_search", description=__doc__)
    parser.add_argument("what", choices=("turned", "small", "faceless", "confidence", "cost"))
    parser.add_argument(
        "paths", nargs="*", type=Path, help="folders of labelled images; for cost: images, or none for rendered ones"
    )
    parser.add_argument("--archive", type=Path, help="archive of pairfld package (default: tiny)")
    parser.add_argument("--limit", type=int, help="images per folder")
    parser.add_argument("--step", type=int, default=15, help="turned: degrees between the angles")
    parser.add_argument("--angles", type=int, nargs="*", help="turned: these degrees, and 0, in place of --step")
    parser.add_argument("--sizes", type=int, nargs="*", default=[80, 120, 160, 240, 320], help="small: box sides, px")
    parser.add_argument("--count", type=int, default=200, help="faceless: images")
    parser.add_argument("--seed", type=int, default=FACELESS_SEED)
    parser.add_argument("--scratch", type=Path, default=Path("/tmp"), help="small: folder for the images made")
    parser.add_argument("--min-score", type=float)
    options = parser.parse_args(arguments)
    archive = options.archive or shipped_archive()
    angles = range(0, 360, options.step) if options.angles is None else options.angles
    measure: dict[str, Callable[[Pipeline], Any]] = {
        "turned": lambda p: {str(f): turned(p, f, angles, options.limit) for f in options.paths},
        "small": lambda p: {
            str(f): [small(p, f, options.sizes, options.scratch, seed) for seed in (1, 2, 3)] for f in options.paths
        },
        "faceless": lambda p: faceless(p, options.count, options.seed),
        "confidence": lambda p: confidence(p, options.paths, options.seed, options.limit),
        "cost": lambda p: cost(p, folder, options.paths),
    }
    with unpacked(archive) as folder:
        (pipeline,) = open_pipelines(folder, archive, 1, PipelineOptions(min_score=options.min_score))
        json.dump(measure[options.what](pipeline), sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
