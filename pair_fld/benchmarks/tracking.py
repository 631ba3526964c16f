"""Following faces against detecting them in every frame, on rendered videos with exact points and identities.

Per scene: time per frame (both ways in turns on each frame), accuracy, jitter, lag, identities, and how soon a face is
found again. `pairfld benchmark tracking` prints it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from pair_fld.data.synthetic.video import FPS, FaceTruth, RenderedFrame
from pair_fld.runtime.face import Face
from pair_fld.runtime.pipeline import Pipeline
from pair_fld.runtime.scheme import OUTER_EYE_CORNERS
from pair_fld.runtime.tracker import Tracker, TrackerConfig

VISIBLE = 0.7  # share of a face's points in sight from which it should be found
NEAR = 0.5  # distance of two faces' centres, over the size, up to which they are one
Way = Literal["by_frame", "raw", "smooth"]


@dataclass(frozen=True)
class Found:
    """One visible face of one frame and what was found of it; None: not found.

    by_frame: points (51, 2) of detection in every frame. raw, smooth: of tracking before and after the filter.
    """

    number: int
    truth: FaceTruth
    by_frame: np.ndarray | None
    raw: np.ndarray | None
    smooth: np.ndarray | None
    identity: int | None

    def points(self, way: Way) -> np.ndarray | None:
        """What one way gave."""
        return {"by_frame": self.by_frame, "raw": self.raw, "smooth": self.smooth}[way]


@dataclass(frozen=True)
class SceneScores:
    """What one clip gave. NME over the outer eye corners; jitter in the same unit; times are means per frame.

    Attributes:
        faces: visible faces of all frames. found_*: share of them that was found.
        jitter_*: deviation of a point's error from frame to frame, along one axis.
        lag_ms: by how much the smoothed points trail the unsmoothed ones.
        identities_kept: share of a person's found frames that have its most frequent identity; the mean of people.
        false_*: faces per frame that are none.
        frames_until_found: the most frames until a face that came (back) into sight was found.
    """

    scene: str
    frames: int
    faces: int
    found_by_frame: float
    found_tracked: float
    nme_by_frame_percent: float
    nme_raw_percent: float
    nme_smooth_percent: float
    jitter_by_frame_percent: float
    jitter_raw_percent: float
    jitter_smooth_percent: float
    lag_ms: float
    identities_kept: float
    false_by_frame: float
    false_tracked: float
    frames_until_found: int
    ms_by_frame: float
    ms_tracked: float

    @property
    def speed_ratio(self) -> float:
        return self.ms_by_frame / self.ms_tracked

    @property
    def jitter_ratio(self) -> float:
        return self.jitter_raw_percent / self.jitter_smooth_percent

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"speed_ratio": self.speed_ratio, "jitter_ratio": self.jitter_ratio}


def measure_scene(
    scene: str, frames: Iterable[RenderedFrame], pipeline: Pipeline, config: TrackerConfig, rate: float = FPS
) -> tuple[SceneScores, list[Found]]:
    """Run both ways over a clip of `rate` frames per second. Returns its scores, and the faces that they come from."""
    tracker, found, count = Tracker(pipeline, config), [], 0
    seconds: dict[str, list[float]] = {"by_frame": [], "tracked": []}
    strangers = {"by_frame": 0, "tracked": 0}
    for frame in frames:
        image, moment = frame.image, frame.time
        ways: dict[str, Callable[[], list[Face]]] = {
            "by_frame": lambda image=image: pipeline.faces(image),
            "tracked": lambda image=image, moment=moment: tracker(image, moment),
        }
        faces: dict[str, list[Face]] = {}
        for way in sorted(ways, reverse=bool(count % 2)):  # in turns: a busy machine is busy for both
            start = time.perf_counter()
            faces[way] = ways[way]()
            seconds[way].append(time.perf_counter() - start)
            strangers[way] += sum(all(not _is(face, truth) for truth in frame.faces) for face in faces[way])
        raw = {track.identity: track.face.points for track in tracker.tracks if not track.lost}
        for truth in frame.faces:
            if truth.seen >= VISIBLE:
                detected, followed = _nearest(faces["by_frame"], truth), _nearest(faces["tracked"], truth)
                found.append(
                    Found(
                        count,
                        truth,
                        None if detected is None else detected.points,
                        None if followed is None else raw[followed.identity or 0],
                        None if followed is None else followed.points,
                        None if followed is None else followed.identity,
                    )
                )
        count += 1
    times = {way: 1e3 * float(np.mean(values)) for way, values in seconds.items()}
    scores = SceneScores(
        scene=scene,
        frames=count,
        faces=len(found),
        found_by_frame=float(np.mean([f.by_frame is not None for f in found])),
        found_tracked=float(np.mean([f.smooth is not None for f in found])),
        nme_by_frame_percent=nme_percent(found, "by_frame"),
        nme_raw_percent=nme_percent(found, "raw"),
        nme_smooth_percent=nme_percent(found, "smooth"),
        jitter_by_frame_percent=jitter_percent(found, "by_frame"),
        jitter_raw_percent=jitter_percent(found, "raw"),
        jitter_smooth_percent=jitter_percent(found, "smooth"),
        lag_ms=lag_ms(found, rate),
        identities_kept=identities_kept(found),
        false_by_frame=strangers["by_frame"] / count,
        false_tracked=strangers["tracked"] / count,
        frames_until_found=frames_until_found(found),
        ms_by_frame=times["by_frame"],
        ms_tracked=times["tracked"],
    )
    return scores, found


def nme_percent(found: Sequence[Found], way: Way) -> float:
    """Mean NME (outer corners) of the faces found one way, %."""
    errors = [_errors(f, points) for f in found if (points := f.points(way)) is not None]
    return 100 * float(np.hypot(*np.moveaxis(np.array(errors), -1, 0)).mean()) if errors else float("nan")


def jitter_percent(found: Sequence[Found], way: Way) -> float:
    """Deviation of the points' errors from frame to frame along one axis, over the outer corners, %."""
    steps = [
        _errors(new, later) - _errors(old, sooner)
        for old, new in _pairs(found)
        if (later := new.points(way)) is not None and (sooner := old.points(way)) is not None
    ]
    return 100 * float(np.sqrt(np.square(steps).mean())) if steps else float("nan")


def lag_ms(found: Sequence[Found], rate: float = FPS) -> float:
    """By how many milliseconds the smoothed points trail the raw ones: the time that explains their difference best,
    with the true speed, by least squares."""
    above = below = 0.0
    for old, new in _pairs(found):
        if new.raw is not None and new.smooth is not None:
            speed = (new.truth.points - old.truth.points) * rate
            above += float(((new.raw - new.smooth) * speed).sum())
            below += float(np.square(speed).sum())
    return 1e3 * above / below if below else 0.0


def identities_kept(found: Sequence[Found]) -> float:
    """Share of a person's found frames with its most frequent identity, the mean of people. One identity of two people
    counts for the one who has it more often."""
    given = Counter((f.truth.actor, f.identity) for f in found if f.identity is not None)
    owner = {identity: max(given, key=lambda k: given[k] * (k[1] == identity))[0] for _, identity in given}
    shares = []
    for actor in sorted({f.truth.actor for f in found}):
        mine = {identity: n for (a, identity), n in given.items() if a == actor}
        kept = max((n for identity, n in mine.items() if owner[identity] == actor), default=0)
        shares.append(kept / max(sum(mine.values()), 1))
    return float(np.mean(shares))


def frames_until_found(found: Sequence[Found]) -> int:
    """The most frames that a face was in sight before it was found, the first time or again."""
    worst = waited = 0
    for actor in {f.truth.actor for f in found}:
        waiting, last = True, None
        for f in (f for f in found if f.truth.actor == actor):
            if last is None or f.number != last + 1:  # it has been out of sight
                waiting, waited = True, 0
            waiting = waiting and f.smooth is None
            waited += waiting
            worst, last = max(worst, waited), f.number
    return worst


def _pairs(found: Sequence[Found]) -> list[tuple[Found, Found]]:
    """The same person in two frames that follow one another."""
    last: dict[int, Found] = {}
    pairs = []
    for f in found:
        before = last.get(f.truth.actor)
        if before is not None and before.number == f.number - 1:
            pairs.append((before, f))
        last[f.truth.actor] = f
    return pairs


def _errors(found: Found, points: np.ndarray) -> np.ndarray:
    """Errors (51, 2) over the distance of the outer eye corners."""
    left, right = found.truth.points[list(OUTER_EYE_CORNERS)]
    return (points - found.truth.points) / np.hypot(*(right - left))


def _is(face: Face, truth: FaceTruth) -> bool:
    apart = np.hypot(*(face.points.mean(axis=0) - truth.points.mean(axis=0)))
    return bool(apart < NEAR * np.ptp(truth.points, axis=0).max())


def _nearest(faces: Sequence[Face], truth: FaceTruth) -> Face | None:
    near = [face for face in faces if _is(face, truth)]
    return min(near, key=lambda face: float(np.abs(face.points - truth.points).mean()), default=None)
