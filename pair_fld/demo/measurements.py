"""What the pages of `pairfld demo` measured on other devices, read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pair_fld.errors import PairError
from pair_fld.io import read_json

FORMAT = "pairfld-demo-1"
# of demo/page/measurements.js: a view is a crop and the detector's network; a face is a crop, model and decoding
STAGES = ("view", "face", "crop", "detector", "model", "decode")
_FORMER_STAGES = {"view": "look"}  # as the pages of earlier versions named them


@dataclass(frozen=True)
class StageTime:
    """Milliseconds of one stage."""

    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class DeviceMeasurements:
    """What one device's page measured.

    Attributes:
        file: that it was read from.
        device: how the browser names itself.
        cores: of the device, as the browser tells; None where it does not.
        archive: name of the archive.
        model_sha256: of the model that ran.
        engine: that ran it.
        load_ms: from the page's start until everything was ready.
        runs: of each stage.
        stages: by the names in STAGES.
        frames_per_second: of the camera or video that ran before the measurement; None where none did.
    """

    file: str
    device: str
    cores: int | None
    archive: str
    model_sha256: str
    engine: str
    load_ms: float
    runs: int
    stages: Mapping[str, StageTime]
    frames_per_second: float | None

    def to_json(self) -> dict[str, Any]:
        """As `pairfld benchmark devices --json` prints it."""
        return asdict(self)


def read_measurements(path: Path) -> DeviceMeasurements:
    """A file that a page offered. PairError when it is something else."""
    expected, remedy = "measurements of a page of pairfld demo", "Save them anew with the page's button."
    tree = read_json(path, expected)
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise PairError(path, f"{expected} ({FORMAT})", "other JSON", remedy)
    try:
        rate, cores = tree["live"]["frames_per_second"], tree["cores"]
        return DeviceMeasurements(
            str(path), _text(tree["device"]), None if cores is None else int(_number(cores)), _text(tree["archive"]),
            _text(tree["model_sha256"]), _text(tree["engine"]), _number(tree["load_ms"]), int(_number(tree["runs"])),
            _stages(tree["stages"]), None if rate is None else _number(rate),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise PairError(path, expected, f"damaged ones ({reason})", remedy) from None


def _stages(tree: Any) -> dict[str, StageTime]:
    former = {name: old for name, old in _FORMER_STAGES.items() if name not in tree and old in tree}
    return {name: _stage(tree[former.get(name, name)]) for name in STAGES}


def _stage(tree: Any) -> StageTime:
    return StageTime(_number(tree["median_ms"]), _number(tree["p95_ms"]))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} where a number belongs")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a text belongs")
    return value
