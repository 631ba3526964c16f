"""What a model file says of itself (JSON), format 2, and how files of format 1 are read.

format_version  2
num_points      51
input           size: side of the crops in pixels; colour: "bgr"; mean, std: the net sees (pixel - mean) / std
crop            margin: side of the crop over the size of the face's frame; refine: refinement passes;
                detector_calibration: see `calibration`, where the detector's own does not serve
output          kind: coords, heatmap, simcc; or points, where the graph itself decodes: x, y and deviation in pixels
                of the crop. decoded: of points, the kind that was decoded
search          turned, smallest, min_score: what the runner does unless told otherwise
confidence      see `confidence`
convention      see `label_convention`
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .blazeface_calibration import BUILT_IN
from .calibration import FRAME_PER_BOX, calibration_from_box_policy
from .label_convention import label_shift
from .scheme import NUM_POINTS

METADATA_KEY = "pair_fld"
METADATA_FILE = "pair_fld.json"
METADATA_TASK = "task"  # what the model predicts; landmarks when the key is missing
FORMAT_VERSION = 2
# The normaliser of every net here: (pixel - PIXEL_MEAN) / PIXEL_STD is -1 ... 1 over the grey levels.
PIXEL_MEAN = PIXEL_STD = 127.5
POINTS_KIND = "points"
OUTPUT_KINDS = ("coords", "heatmap", "simcc", POINTS_KIND)


def input_metadata(size: int) -> dict[str, Any]:
    """The section `input` of every net of this project."""
    return {"size": size, "colour": "bgr", "mean": PIXEL_MEAN, "std": PIXEL_STD}


def model_metadata(input_size: int, margin: float, output_kind: str, **more: Any) -> dict[str, Any]:
    """The metadata that a landmark model's file must carry; `more` is kept beside it (provenance, quantization)."""
    if output_kind not in OUTPUT_KINDS:
        raise ValueError(f"expected an output kind of {OUTPUT_KINDS}, found {output_kind!r}")
    return {
        "format_version": FORMAT_VERSION,
        "num_points": NUM_POINTS,
        "input": input_metadata(input_size),
        "crop": {"margin": margin},
        "output": {"kind": output_kind},
        **more,
    }


def has_heatmaps(metadata: dict[str, Any]) -> bool:
    """Whether a model's points are means of heatmaps, decoded in its graph or not: their spread says how sure it is."""
    output = metadata.get("output", {})
    return "heatmap" in (output.get("kind"), output.get("decoded"))


def normalise(crops: np.ndarray, metadata: dict[str, Any]) -> np.ndarray:
    """uint8 BGR crops (any shape) to the float32 values that the model was trained on."""
    spec = metadata["input"]
    return (crops.astype(np.float32) - np.float32(spec["mean"])) * np.float32(1 / spec["std"])


def parse_metadata(text: str) -> dict[str, Any]:
    """Metadata of this or the earlier format, as format 2.

    Raises:
        ValueError: another format, or no JSON object.
    """
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its pair_fld metadata is damaged JSON ({error})") from None
    if not isinstance(metadata, dict):
        raise ValueError("its pair_fld metadata is no JSON object")
    if metadata.get("format") == 1:
        with metadata_errors():
            metadata = _from_format_1(metadata)
    if metadata.get("format_version") != FORMAT_VERSION:
        found = metadata.get("format_version", metadata.get("format"))
        raise ValueError(f"metadata format {found!r}, this version reads {FORMAT_VERSION} and 1")
    with metadata_errors():
        _check(metadata)
    return metadata


@contextmanager
def metadata_errors() -> Generator[None]:
    """While metadata are read: what lacks or is of another type becomes a ValueError that says so."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ArithmeticError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"its pair_fld metadata is incomplete or damaged ({reason})") from None


def _check(metadata: dict[str, Any]) -> None:
    """ValueError for numbers without which no image can be prepared; the sections of a detector are its own."""
    spec = metadata["input"]
    size = spec["size"]
    if not isinstance(size, int) or not 8 <= size <= 4096:
        raise ValueError(f"its pair_fld metadata has an input of {size!r} pixels")
    if not np.isfinite(float(spec["mean"])) or not 0 < float(spec["std"]) < np.inf:
        raise ValueError(f"its pair_fld metadata has a mean of {spec['mean']!r} and a std of {spec['std']!r}")
    if metadata.get(METADATA_TASK, "landmarks") != "landmarks":
        return
    if not 0 < float(metadata["crop"]["margin"]) <= 10:
        raise ValueError(f"its pair_fld metadata has a margin of {metadata['crop']['margin']!r}")
    label_shift(metadata)
    if metadata["output"]["kind"] not in OUTPUT_KINDS:
        raise ValueError(f"its pair_fld metadata has an output of kind {metadata['output']['kind']!r}")


def _from_format_1(old: dict[str, Any]) -> dict[str, Any]:
    """Format 1 cropped by the 51-point box and knew the detector's boxes only."""
    new = {name: value for name, value in old.items() if name not in ("format", "points")}
    new["format_version"] = FORMAT_VERSION
    if "points" in old:
        new["num_points"] = old["points"]
    spec = {name: value for name, value in old["input"].items() if name != "scale"}
    new["input"] = {**spec, "std": round(1 / old["input"]["scale"], 6)}
    if "crop" in old:
        crop = {name: value for name, value in old["crop"].items() if name != "from_detector"}
        policy = old["crop"].get("from_detector")
        if policy is not None and policy.get("detector") not in BUILT_IN:
            crop["detector_calibration"] = calibration_from_box_policy(policy).to_json()
        new["crop"] = {**crop, "margin": round(crop["margin"] / FRAME_PER_BOX, 4)}
    return new
