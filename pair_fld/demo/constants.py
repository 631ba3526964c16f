"""What the page's JavaScript needs to know of the runtime: numbers are defined in Python and written as JSON."""

from __future__ import annotations

import json
from typing import Any

from pair_fld.demo.engine import LITERT
from pair_fld.runtime import (
    centre_detector,
    confidence,
    detection,
    geometry,
    head_shape,
    image_file,
    motion,
    pipeline,
    pose,
    scheme,
    search,
    smoothing,
    tracker,
)
from pair_fld.runtime.blazeface import BlazeFace
from pair_fld.runtime.label_convention import label_shift
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.pipeline import Pipeline
from pair_fld.runtime.search import SearchingDetector, search_to_json


def constants() -> dict[str, Any]:
    """The runtime's constants, which are the same for every archive."""
    return {
        "mean_face": MEAN_FACE.tolist(),
        "curves": {name: list(points) for name, points in scheme.CURVES.items()},
        "area_shrink": geometry.AREA_SHRINK,
        "search_side": image_file.SEARCH_SIDE,
        "kept_crops": image_file.KEPT_CROPS,
        "detection": {"same_key_points": detection.SAME_KEY_POINTS, "same_turn": detection.SAME_TURN},
        "search": {
            "third_turns": list(search.THIRD_TURNS),
            "quarter_turns": list(search.QUARTER_TURNS),
            "smallest_turned_view": search.SMALLEST_TURNED_VIEW,
            "smallest_in_view": search.SMALLEST_IN_VIEW,
            "probable": search.PROBABLE,
            "certain": search.CERTAIN,
            "upright": search.UPRIGHT,
            "near_limit": search.NEAR_LIMIT,
        },
        "centre_detector": {
            "centre_unit": centre_detector.CENTRE_UNIT,
            "size_unit": centre_detector.SIZE_UNIT,
            "key_point_unit": centre_detector.KEY_POINT_UNIT,
        },
        "confidence": {
            "least": confidence._LEAST,  # pyright: ignore[reportPrivateUsage]
            "least_eyes": confidence._LEAST_EYES,  # pyright: ignore[reportPrivateUsage]
            "outer_eye_corners": list(scheme.OUTER_EYE_CORNERS),
            "parts": [list(part) for part in confidence.PARTS],
            "doubtful": list(confidence.DOUBTFUL),
            "second_crop": list(confidence.SECOND_CROP),
        },
        "pipeline": {
            "first_bounds": vars(confidence.FIRST_BOUNDS),
            "further_bounds": vars(confidence.FURTHER_BOUNDS),
            "turned_bounds": vars(confidence.TURNED_BOUNDS),
            "missed_shift": pipeline.MISSED_SHIFT,
            "missed_growth": pipeline.MISSED_GROWTH,
            "missed_turn": pipeline.MISSED_TURN,
            "more_crops": pipeline.MORE_CROPS,
            "same_face_iou": pipeline.SAME_FACE_IOU,
            "same_face_iou_reversed": pipeline.SAME_FACE_IOU_REVERSED,
        },
        "motion": {
            "ways": motion.WAYS.tolist(),
            "half": motion.HALF,
            "width": motion.WIDTH,
            "steps": motion.STEPS,
            "own_movement": motion.OWN_MOVEMENT,
            "noise": motion.NOISE,
            "plain": motion.PLAIN,
            "contrast": list(motion.CONTRAST),
            "holds": motion.HOLDS.tolist(),
            "held": motion.HELD,
        },
        "smoothing": {
            "crop_side": smoothing.CROP_SIDE,
            "crop_margin": smoothing.CROP_MARGIN,
            "cutoff": smoothing.CUTOFF,
            "slope": smoothing.SLOPE,
            "apart_cutoff": smoothing.APART_CUTOFF,
            "far": smoothing.FAR,
        },
        "pose": {
            "mean_head": head_shape.MEAN_HEAD.tolist(),
            "modes": head_shape.MODES.tolist(),
            "distance": pose.DISTANCE,
            "steps": pose.STEPS,
            "small": pose.SMALL,
            "ridge": pose.RIDGE,
            "least_scale": pose.LEAST_SCALE,
            "max_turn": pose.MAX_TURN,
            "eye_left_lids": [list(pair) for pair in pose.EYE_LEFT_LIDS],
            "eye_right_lids": [list(pair) for pair in pose.EYE_RIGHT_LIDS],
            "inner_lips": [list(pair) for pair in pose.INNER_LIPS],
            "eye": [pose.SHUT_EYE, pose.OPEN_EYE],
            "mouth": [pose.SHUT_MOUTH, pose.OPEN_MOUTH],
        },
        "tracker": {
            "config": vars(tracker.TrackerConfig()),
            "tracked_detector_score": confidence.TRACKED_DETECTOR_SCORE,
            "local_view": tracker.LOCAL_VIEW,
            "lost_every": tracker.LOST_EVERY,
            "uncertain_every": tracker.UNCERTAIN_EVERY,
            "confirmed_at": list(tracker.CONFIRMED_AT),
            "speed_memory": tracker.SPEED_MEMORY,
            "max_step": tracker.MAX_STEP,
            "coast": tracker.COAST,
            "reach": tracker.REACH,
            "reach_per_second": tracker.REACH_PER_SECOND,
            "unlike": tracker.UNLIKE,
            "colours": tracker.COLOURS,
            "colours_margin": tracker.COLOURS_MARGIN,
            "colours_memory": tracker.COLOURS_MEMORY,
            "colours_every": tracker.COLOURS_EVERY,
            "cut_side": tracker.CUT_SIDE,
            "one_surface": tracker.ONE_SURFACE,
            "cover": tracker.COVER,
            "least_uncovered": tracker.LEAST_UNCOVERED,
        },
    }


def constants_module() -> str:
    """`constants` as a JavaScript module."""
    return f"// Written by pairfld demo from pair_fld/runtime.\nexport const CONSTANTS = {json.dumps(constants())};\n"


def archive_description(loaded: Pipeline, name: str, model_sha256: str) -> dict[str, Any]:
    """What the page must know of an archive, with everything that its metadata leaves open decided as here.

    Args:
        loaded: the archive's pipeline.
        name: shown on the page.
        model_sha256: of the model's file.
    """
    model, detector = loaded.model, loaded.detector
    assert isinstance(detector, SearchingDetector)
    calibration = loaded.calibration.to_json()
    blazeface = isinstance(detector, BlazeFace)
    # BlazeFace sees red, green, blue; its files carry no metadata
    seen = {"colour": "rgb", "mean": 127.5, "std": 127.5} if blazeface else vars(detector)["metadata"]["input"]
    return {
        "name": name,
        "engine": f"{LITERT.name} {LITERT.version}",
        "model": {
            "sha256": model_sha256,
            "file": "model.tflite",
            "size": model.input_size,
            "margin": model.margin,
            "refine": loaded.refine,
            "min_score": loaded.min_score,
            "kind": model.metadata["output"]["kind"],
            "label_shift": label_shift(model.metadata).tolist(),
            "input": _input(model.metadata["input"]),
            "confidence": None if loaded.confidence is None else loaded.confidence.to_json(),
        },
        "detector": {
            "file": "detector.tflite",
            "kind": "blazeface" if blazeface else "centre",
            "name": detector.name,
            "side": detector.side,
            "layers": [[layer.side, layer.per_cell] for layer in detector.layers] if blazeface else [],
            "input": _input(seen),
            "search": search_to_json(detector.search),
            "calibration": {name: calibration[name] for name in ("reference", "weights", "bias")},
        },
    }


def _input(spec: dict[str, Any]) -> dict[str, Any]:
    return {"colour": spec.get("colour", "bgr"), "mean": spec["mean"], "std": spec["std"]}
