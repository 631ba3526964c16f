"""The images that the detector learns from: training images with the faces in them, rendered scenes, and no faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pair_fld.config import DetectorConfig
from pair_fld.data.dataset import FaceDataset, Split
from pair_fld.data.source_images import read_source_images, source_image_count
from pair_fld.data.synthetic import render_scene
from pair_fld.data.synthetic.faceless import draw_faceless, scrambled
from pair_fld.evaluate.matching import match_boxes
from pair_fld.face_detector.views import View, shrunk, without_faces
from pair_fld.progress import Progress
from pair_fld.runtime.centre_detector import KEY_POINTS, key_points_of
from pair_fld.runtime.detection import Detection
from pair_fld.runtime.frame import place
from pair_fld.runtime.geometry import points_box
from pair_fld.runtime.search import SearchingDetector

CERTAIN = 0.65  # score from which the teacher's detection counts as a face; below, the loss leaves its place out
FROM_TEACHER = ("right_eye", "left_eye")  # its other key points lie elsewhere than those of the same name here
SCENE_SEED = 11
SCENE_SIDE = 256
PART_TRIES = 30
PART_SIDES = (0.3, 0.8)  # of a faceless part, over the image's shorter side
PART_GAP = 0.4  # between a part and a face's box, over the box's side: hair, ears and chin


def training_images(
    dataset: FaceDataset, teacher: SearchingDetector, config: DetectorConfig, report: Progress
) -> list[View]:
    """Training images with the teacher's boxes, brought to 51-point boxes, and the labelled ones in their place.

    Args:
        teacher: should give detections of low scores too, so that doubtful places are known.
    """
    assert teacher.calibration is not None, teacher.name
    images = list[View]()
    total = source_image_count(dataset, Split.TRAIN, config.images_per_source, labelled=False)
    for source in read_source_images(dataset, Split.TRAIN, config.images_per_source, labelled=False):
        found = teacher.detect(source.image)
        boxes = np.array([points_box(place(teacher.calibration.frame(d))) for d in found]).reshape(-1, 4)
        certain = np.array([d.score >= CERTAIN for d in found], bool)
        key_points = np.array([_from_teacher(d, teacher.key_points) for d in found]).reshape(-1, len(KEY_POINTS), 2)
        labelled = np.array([key_points_of(face) for face in source.faces]).reshape(-1, len(KEY_POINTS), 2)
        matches = match_boxes(boxes, source.boxes, 0.2)
        for i, j in matches.pairs:
            boxes[i], certain[i], key_points[i] = source.boxes[j], True, labelled[j]
        missed = list(matches.missed)
        boxes = np.concatenate([boxes, source.boxes[missed]])
        certain = np.concatenate([certain, np.ones(len(missed), bool)])
        key_points = np.concatenate([key_points, labelled[missed]])
        images.append(shrunk(View(source.image, boxes, certain, key_points)))
        report(len(images), total, "training images")
    return images


def _from_teacher(detection: Detection, names: Sequence[str]) -> np.ndarray:
    """KEY_POINTS (5, 2) _img as far as the teacher knows them, else nan."""
    known = dict(zip(names, detection.key_points, strict=True))
    nowhere = np.full(2, np.nan)
    return np.array([known.get(name, nowhere) if name in FROM_TEACHER else nowhere for name in KEY_POINTS])


def rendered_scenes(count: int, seed: int = SCENE_SEED) -> list[View]:
    """Rendered images with one to three faces, their exact boxes and key points."""
    scenes = list[View]()
    for k in range(count):
        scene = render_scene(seed, k, SCENE_SIDE, faces=1 + k % 3)
        boxes = np.array([points_box(face) for face in scene.faces])
        key_points = np.array([key_points_of(face) for face in scene.faces])
        scenes.append(View(scene.image, boxes, np.ones(len(boxes), bool), key_points))
    return scenes


def faceless_images(count: int, seed: int = SCENE_SEED) -> list[View]:
    """Drawn images of what is taken for a face: clocks, plates, wheels, hands, text, foliage and more."""
    return [without_faces(draw_faceless(seed, k, SCENE_SIDE)[1]) for k in range(count)]


def faceless_photographs(images: Sequence[View], count: int, rng: np.random.Generator) -> list[View]:
    """Up to `count` parts of photographs beside their faces, and half as many whole ones with their blocks mixed."""
    step = max(1, len(images) // count)
    parts = [part for image in images[::step] for part in _faceless_part(image, rng)]
    return parts + [without_faces(scrambled(image.image, rng)) for image in images[:: 2 * step]]


def near_faces(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Low and high corners (n, 2) each, _img, of what is too near to a face to be none: doubtful faces too."""
    gap = PART_GAP * (view.boxes[:, 2:] - view.boxes[:, :2])
    return view.boxes[:, :2] - gap, view.boxes[:, 2:] + gap


def _faceless_part(view: View, rng: np.random.Generator) -> Iterator[View]:
    """A square of an image that keeps away from all its faces; none where there is no room."""
    height, width = view.image.shape[:2]
    low, high = near_faces(view)
    for _ in range(PART_TRIES):
        side = int(min(height, width) * rng.uniform(*PART_SIDES))
        x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
        touched = ((low < (x + side, y + side)) & (high > (x, y))).all(axis=1)
        if side and not touched.any():
            yield without_faces(view.image[y : y + side, x : x + side].copy())
            return
