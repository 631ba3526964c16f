"""Point schemes of data sets: names, mirror pairs, and where the 51 points of the contest are among theirs.

The 51 points themselves are defined in `runtime.scheme`; every other scheme is a file configs/scheme/NAME.yaml, so that
a user adds one without Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from pair_fld.config import SchemeConfig, find_config, load_section
from pair_fld.data.point_map import MappedScheme, load_point_map
from pair_fld.errors import PairError
from pair_fld.runtime.scheme import FLIP, NUM_POINTS, REGIONS

PAIR51 = "pair51"
# What a label of so many points is taken for where its source names no scheme.
_BY_COUNT = (PAIR51, "aaf49", "ibug68", "wflw98")


@dataclass(frozen=True, eq=False)
class Scheme:
    """How a data set numbers the points of a face.

    Attributes:
        names: of the N points.
        flip: (N,), the mirrored face's point i is the original face's point flip[i].
        weights: (51, N) float64, of which points each of the 51 is the mean; a row of zeros: the scheme lacks it.
        approximate: some points are only near the contest's, so that its labels count as machine-made.
    """

    name: str
    names: tuple[str, ...]
    flip: tuple[int, ...]
    weights: np.ndarray
    approximate: bool = False

    @property
    def count(self) -> int:
        return len(self.names)

    @property
    def has(self) -> np.ndarray:
        """(51,) bool: the points of the contest that the scheme has at all."""
        return np.asarray(self.weights.any(axis=1))

    def to_51(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 2) in any frame -> points (51, 2) float64 and point_mask (51,) bool.

        A point that is not finite is not labelled. One of the 51 that the scheme lacks, or of whose sources one is not
        labelled, is (0, 0) and False.
        """
        points = np.asarray(points, np.float64)
        labelled = np.asarray(np.isfinite(points).all(axis=1))
        mask = self.has & ~(self.weights[:, ~labelled] != 0).any(axis=1)
        out = self.weights @ np.where(labelled[:, None], points, 0.0)
        return np.where(mask[:, None], out, 0.0), mask

    def visibility_to_51(self, visibility: np.ndarray) -> np.ndarray:
        """(N,) uint8 -> (51,) uint8: the least visible of the points that each one is the mean of."""
        return np.where(self.weights != 0, np.asarray(visibility, np.uint8), 0).max(axis=1).astype(np.uint8)


def to_51(points: np.ndarray, scheme: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 2) of a scheme, by default the one of that count -> points (51, 2) and point_mask (51,).

    Raises:
        ValueError: another count. PairError: as `load_scheme`.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"expected points of x and y, found an array of shape {points.shape}")
    return scheme_of(len(points), scheme).to_51(points)


def scheme_of(count: int, name: str | None = None) -> Scheme | MappedScheme:
    """The named scheme or point map (.npz), else the usual one for so many points; ValueError: another count."""
    if name is not None:
        scheme = named_scheme(name)
        if scheme.count != count:
            raise ValueError(f"the scheme {scheme.name} has {scheme.count} points, found {count}")
        return scheme
    scheme = _usual().get(count)
    if scheme is None:
        raise ValueError(f"expected {supported_counts()} points, or a source with a `scheme`, found {count}")
    return scheme


def named_scheme(name: str) -> Scheme | MappedScheme:
    """The point map of an .npz, else `load_scheme`; PairError as that, or where the .npz is no such map."""
    return _mapped(name) if name.endswith(".npz") else load_scheme(name)


def supported_counts() -> str:
    """The counts that need no `scheme`, for messages."""
    *first, last = sorted(_usual())
    return f"{', '.join(map(str, first))} or {last}"


@cache
def _usual() -> dict[int, Scheme]:
    schemes = [load_scheme(name) for name in _BY_COUNT]
    return {scheme.count: scheme for scheme in schemes}


def load_scheme(name: str) -> Scheme:
    """A scheme by name (pair51, or a file of configs/scheme) or by the path of a .yaml.

    Raises:
        PairError: no such file, or one that contradicts itself.
    """
    return _pair51() if name == PAIR51 else _load(find_config("scheme", name))


@lru_cache(maxsize=64)
def _mapped(path: str) -> MappedScheme:
    return MappedScheme(load_point_map(path))


@cache
def _pair51() -> Scheme:
    names = {index: f"{region}_{k}" for region, indices in REGIONS.items() for k, index in enumerate(indices)}
    return Scheme(PAIR51, tuple(names[i] for i in range(NUM_POINTS)), FLIP, np.eye(NUM_POINTS))


@lru_cache(maxsize=64)
def _load(path: Path) -> Scheme:
    config = load_section(SchemeConfig, "scheme", str(path))
    try:
        flip = _flip(config)
        return Scheme(path.stem, _names(config), flip, _weights(config, flip), config.approximate)
    except ValueError as error:
        message = f"{path}: the scheme contradicts itself, {error}."
        raise PairError(path, message=message, remedy="Correct the file.") from None


def _names(config: SchemeConfig) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for region, (first, last) in config.regions.items():
        for k, index in enumerate(range(first, last + 1)):
            if index in names:
                raise ValueError(f"point {index} in two regions")
            names[index] = f"{region}_{k}"
    if sorted(names) != list(range(config.points)):
        raise ValueError(f"regions of {len(names)} points that are not 0 to {config.points - 1}")
    return tuple(names[i] for i in range(config.points))


def _flip(config: SchemeConfig) -> tuple[int, ...]:
    flip = list(range(config.points))
    for a, b in config.mirror:
        if not (0 <= a < config.points and 0 <= b < config.points) or flip[a] != a or flip[b] != b or a == b:
            raise ValueError(f"a mirror pair [{a}, {b}] of unknown points or of points in another pair")
        flip[a], flip[b] = b, a
    return tuple(flip)


def _weights(config: SchemeConfig, flip: tuple[int, ...]) -> np.ndarray:
    if set(config.to_51) != set(REGIONS):
        raise ValueError(f"to_51 with the regions {', '.join(config.to_51)}, not {', '.join(REGIONS)}")
    sources: dict[int, tuple[int, ...]] = {}
    for region, indices in REGIONS.items():
        entries = config.to_51[region]
        if len(entries) != len(indices):
            raise ValueError(f"{len(entries)} entries for {region}, which has {len(indices)} points")
        for point, entry in zip(indices, entries, strict=True):
            mine = () if entry is None else (entry,) if isinstance(entry, int) else tuple(entry)
            if not all(0 <= index < config.points for index in mine) or len(set(mine)) != len(mine):
                raise ValueError(f"to_51 with {list(mine)} for point {point}")
            sources[point] = mine
    weights = np.zeros((NUM_POINTS, config.points))
    for point, mine in sources.items():
        # the mirrored face must give the mirrored points: this catches an exchange of left and right
        if {flip[index] for index in mine} != set(sources[FLIP[point]]):
            raise ValueError(f"point {point} from {list(mine)} and its mirror point from {list(sources[FLIP[point]])}")
        if mine:
            weights[point, list(mine)] = 1 / len(mine)
    return weights
