"""Faces of a video: followed from frame to frame by their last landmarks, each with an identity.

The landmark model alone follows a face: the frame of its last points, moved on by its speed, cuts the next crop. The
detector looks at the whole image when the last face is lost and every `scan_every` frames for newcomers, and about a
face that is lost or uncertain. While there is none, it looks at every frame upright and coarsely, and for small and for
turned faces in turns, once every few frames. A lost face keeps its identity for `remember` seconds: it is the found one
that lies where it should be by now and has its colours. After a cut all begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .confidence import FIRST_BOUNDS, TRACKED_DETECTOR_SCORE
from .detection import box_iou
from .face import Face
from .frame import Frame, fit_frame, frame_matrix, frame_residual
from .geometry import warp
from .image_file import ImageFile
from .pipeline import SAME_FACE_IOU, Pipeline, missed, order_right_to_left
from .smoothing import FaceFilter

LOCAL_VIEW = 3.5  # side of the view about a lost face, as a multiple of its size
LOST_EVERY, UNCERTAIN_EVERY = 2, 5  # frames between searches about a lost face, and about an uncertain one
# Frames after which the detector searches about a new face again; one that it does not see there is dropped. What
# resembles a face in one view often does not in the next, but the landmark model would follow it.
CONFIRMED_AT = (2, 5)
SPEED_MEMORY = 0.15  # seconds over which a face's speed is averaged
MAX_STEP = 0.3  # of its size: the farthest that a face is moved on by its speed from one frame to the next
COAST = 0.5  # seconds for which a lost face is moved on
# How far a lost face may be found from where it should be or was seen last, in face sizes: at once (their frames
# overlap up to 1), and per second since.
REACH, REACH_PER_SECOND = 0.75, 1.0
UNLIKE = 0.6  # mean difference of colours at which two faces are not one; of one, half hidden, it reaches 0.35
# Side and margin of the small image of a face's colours; share of a new one in their average, and frames between two.
COLOURS, COLOURS_MARGIN, COLOURS_MEMORY, COLOURS_EVERY = 8, 1.1, 0.4, 5
CUT_SIDE = 32  # samples along the longer side of an image that tell a cut
# Grey levels within which samples are of one surface, its noise included, and the share of an image from which one
# surface is a cover before the camera (a hand, a board, a dark moment), which says nothing of the scene behind it.
ONE_SURFACE, COVER = 12.0, 0.6
LEAST_UNCOVERED = 0.25  # of an image: less tells no cut


@dataclass(frozen=True)
class TrackerConfig:
    """How faces are followed.

    Attributes:
        scan_every: frames between searches of the whole image for newcomers, > 0.
        uncertain: score below which the detector searches about a followed face.
        remember: seconds for which a lost face keeps its identity.
        smoothing: strength of the filter of points, see `smoothing.FaceFilter`; 0: none.
        cut: correlation of two images' brightness below which they are of two scenes.
    """

    scan_every: int = 15
    uncertain: float = 0.5
    remember: float = 2.0
    smoothing: float = 1.0
    cut: float = 0.4

    def __post_init__(self) -> None:
        if self.scan_every < 1 or self.remember < 0 or self.smoothing < 0:
            raise ValueError(
                "expected scan_every of 1 or more, remember and smoothing of 0 or more, "
                f"found {self.scan_every}, {self.remember} and {self.smoothing}"
            )


class Track:
    """One face that is or was followed.

    Attributes:
        identity: from 1, in the order in which faces were first found. face: as it was found last, unsmoothed.
        seen: when that was, seconds. lost: whether it is no longer seen. speed: (2,) image pixels per second.
        colours: (8, 8, 3) float, the face's colours over their mean; averaged over time.
    """

    def __init__(self, identity: int, face: Face, time: float, smoothing: float) -> None:
        self.identity, self.face, self.seen, self.lost = identity, face, time, False
        self.speed = np.zeros(2)
        self.followed_in: Frame | None = None  # the frame of the crop in which it was followed to where it is now
        self.colours: np.ndarray | None = None
        self.age = 0  # frames since it was first found
        self.rechecked = 0  # frames since the detector searched about it
        self._smoothing, self._filter, self._filtered = smoothing, FaceFilter(smoothing), time

    def expected(self, time: float) -> Frame:
        """Where the face should be by now."""
        frame, elapsed = self.face.frame, min(time - self.seen, COAST)
        step = self.speed * elapsed
        if not self.lost:  # a wrong speed must not push a crop off its face
            step = step * min(1.0, MAX_STEP * frame.size / max(float(np.hypot(*step)), 1e-9))
        return Frame((frame.centre[0] + float(step[0]), frame.centre[1] + float(step[1])), frame.size, frame.roll)

    def update(self, face: Face, time: float, followed_in: Frame | None = None) -> None:
        """The face was found at this time; `followed_in`: the frame of its crop, if it was followed."""
        elapsed = max(time - self.seen, 1e-3)
        if self.lost:
            self.speed, self._filter = np.zeros(2), FaceFilter(self._smoothing)
        else:
            speed = np.subtract(face.frame.centre, self.face.frame.centre) / elapsed
            self.speed = self.speed + elapsed / (elapsed + SPEED_MEMORY) * (speed - self.speed)
        self.face, self.seen, self.lost, self.followed_in = face, time, False, followed_in

    def smoothed(self, image: ImageFile, time: float) -> Face:
        """The face for the caller: smoothed, with its identity. Once per frame."""
        # the crop in which its points were found, unless it missed the face, need not be cut again
        crop, own = self.followed_in, self.face.frame
        frame = own if crop is None or missed(crop, own) else crop
        points = self._filter(image, self.face.points, frame, max(time - self._filtered, 1e-3))
        self._filtered = time
        return replace(self.face, points=points, frame=fit_frame(points), identity=self.identity)


class Tracker:
    """Follows the faces of one video. Call it with every frame in turn.

    Args:
        pipeline: detector and landmark model. config: see `TrackerConfig`.
    """

    def __init__(self, pipeline: Pipeline, config: TrackerConfig | None = None) -> None:
        self.pipeline, self.config = pipeline, config or TrackerConfig()
        self._tracks: list[Track] = []
        self._count = 0  # identities given
        self._frames_since_scan = 0
        self._frames_alone = 0  # without a followed face
        self._time: float | None = None
        self._brightness = np.zeros(0)  # of the last frame's samples
        self._scene = np.zeros(0)  # the same, each of when nothing covered it

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The faces that are followed, and those lost a short while ago."""
        return tuple(self._tracks)

    def __call__(self, image_bgr: np.ndarray, time: float) -> list[Face]:
        """The faces of the next frame, from its right to its left.

        Args:
            image_bgr: (H, W, 3) uint8.
            time: of the frame, seconds; greater than the last one's.

        Raises:
            ValueError: time does not go forward.
        """
        if not np.isfinite(time) or (self._time is not None and time <= self._time):
            raise ValueError(f"expected a time after {self._time} s, found {time} s")
        self._time = time
        image = ImageFile.of_array(image_bgr)
        if self._is_cut(image_bgr):
            self._tracks = []
        self._follow(image, time)
        self._part(image)
        self._detect(image, time)
        self._tracks = [t for t in self._tracks if not t.lost or time - t.seen <= self.config.remember]
        faces = [track.smoothed(image, time) for track in self._tracks if not track.lost]
        return order_right_to_left([face for face in faces if (face.score or 0.0) >= self.pipeline.min_score])

    def _is_cut(self, image_bgr: np.ndarray) -> bool:
        """Whether this frame is of another scene than the last.

        Its brightness then goes neither with the last frame's nor, where nothing covers it, with the last scene's.
        """
        step = max(1, max(image_bgr.shape[:2]) // CUT_SIDE)
        now = image_bgr[step // 2 :: step, step // 2 :: step].astype(np.float64).mean(axis=2).ravel()
        before, self._brightness = self._brightness, now
        if before.shape != now.shape:
            self._scene = now
            return len(before) > 0
        uncovered = np.abs(now - np.sort(now)[len(now) // 2]) > ONE_SURFACE
        if uncovered.mean() > 1 - COVER:
            uncovered[:] = True
        scene, self._scene = self._scene, np.where(uncovered, now, self._scene)
        if _correlation(before, now) >= self.config.cut or uncovered.mean() < LEAST_UNCOVERED:
            return False
        cut = _correlation(scene[uncovered], now[uncovered]) < self.config.cut
        if cut:
            self._scene = now
        return cut

    def _follow(self, image: ImageFile, time: float) -> None:
        for track in self._live():
            expected = track.expected(time)
            found = self.pipeline.predict(image, [expected], [TRACKED_DETECTOR_SCORE], FIRST_BOUNDS)
            if found:
                track.update(found[0], time, expected)
            else:
                track.lost, track.rechecked = True, LOST_EVERY

    def _live(self) -> list[Track]:
        return [track for track in self._tracks if not track.lost]

    def _part(self, image: ImageFile) -> None:
        """Two tracks on one face: the one whose colours it has less is lost, behind the other."""
        live = self._live()
        if len(self._tracks) < 2:
            return
        hidden: set[int] = set()
        crowded: set[int] = set()
        for i, one in enumerate(live):
            for other in live[i + 1 :]:
                overlap = _overlap(one.face, other.face)
                if overlap > 0:
                    crowded |= {one.identity, other.identity}
                if overlap > SAME_FACE_IOU:
                    worse = max(one, other, key=lambda t: _unlike(t.colours, _colours(image, t.face.frame)))
                    hidden.add(worse.identity)
        for track in live:
            if track.identity in hidden:
                track.lost, track.rechecked = True, 0
            elif track.identity in crowded or (track.face.score or 0.0) < self.config.uncertain:
                continue
            elif track.age % COLOURS_EVERY == 0:
                track.colours = _blend(track.colours, _colours(image, track.face.frame))

    def _detect(self, image: ImageFile, time: float) -> None:
        """What the detector has to say, when it is due."""
        self._frames_since_scan += 1
        for track in self._tracks:
            track.age += 1
        if self._live():
            self._frames_alone = 0
        if not self._live():
            views = [_local_view(track.expected(time)) for track in self._tracks]
            turn, self._frames_alone = self._frames_alone, self._frames_alone + 1
            found = self.pipeline.faces_in_turn(image, turn - 1, views) if turn else self.pipeline.faces_of(image)
        elif self._frames_since_scan >= self.config.scan_every:
            found = self.pipeline.faces_of(image, turned=False)
        else:
            due = [track for track in self._tracks if self._is_due(track)]
            views = [_local_view(track.expected(time)) for track in due]
            seen = self._admit(self.pipeline.faces_in(image, views), image, time) if due else set()
            self._tracks = [t for t in self._tracks if t not in due or t.age not in CONFIRMED_AT or t in seen]
            return
        self._frames_since_scan = 0
        seen = self._admit(found, image, time)
        if self.pipeline.confidence is None:  # a model that sees a face in everything: the detector alone can tell
            for track in self._live():
                track.lost = track not in seen

    def _is_due(self, track: Track) -> bool:
        """Whether the detector should search about this face."""
        if track.age in CONFIRMED_AT:
            return True
        if not track.lost and (track.face.score is None or track.face.score >= self.config.uncertain):
            return False
        track.rechecked += 1
        if track.rechecked < (LOST_EVERY if track.lost else UNCERTAIN_EVERY):
            return False
        track.rechecked = 0
        return True

    def _admit(self, found: Sequence[Face], image: ImageFile, time: float) -> set[Track]:
        """Detected faces: better views of followed ones, lost ones, or new ones. Returns their tracks."""
        seen: set[Track] = set()
        for face in found:
            same = [track for track in self._live() if _overlap(face, track.face) > SAME_FACE_IOU]
            if same:
                track = same[0]
                better = (face.score or 0.0) > (track.face.score or 0.0)
                if better and (track.face.score or 0.0) < self.config.uncertain:
                    track.face = face
            else:
                track = self._track_of(face, image, time)
            seen.add(track)
        return seen

    def _track_of(self, face: Face, image: ImageFile, time: float) -> Track:
        """The lost face that this one is, or a new one."""
        colours = _colours(image, face.frame)
        costs = {track: self._cost(track, face, colours, time) for track in self._tracks if track.lost}
        track = min(costs, key=lambda track: costs[track], default=None)
        if track is not None and costs[track] < 1:
            track.update(face, time)
        else:
            self._count += 1
            track = Track(self._count, face, time, self.config.smoothing)
            self._tracks.append(track)
        if track.colours is None:
            track.colours = colours
        return track

    def _cost(self, track: Track, face: Face, colours: np.ndarray, time: float) -> float:
        """How badly a found face goes with a lost one: below 1 they may be one."""
        reach = REACH + REACH_PER_SECOND * (time - track.seen)
        apart = min(_apart(track.expected(time), face.frame), _apart(track.face.frame, face.frame)) / reach
        return apart / 2 + _unlike(track.colours, colours) / UNLIKE if apart < 1 else np.inf


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of two rows of numbers; 1 where one of them is constant and tells nothing."""
    one, other = one - one.mean(), other - other.mean()
    power = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float(one @ other) / power if power > 0 else 1.0


def _apart(one: Frame, other: Frame) -> float:
    """How far two frames are from one another, in face sizes."""
    shift_x, shift_y, growth, _ = frame_residual(one, other)
    return float(np.hypot(shift_x, shift_y) + abs(growth))


def _local_view(frame: Frame) -> Frame:
    return Frame(frame.centre, frame.size * LOCAL_VIEW, frame.roll)


def _overlap(one: Face, other: Face) -> float:
    return float(box_iou(one.box, other.box[None])[0])


def _colours(image: ImageFile, frame: Frame) -> np.ndarray:
    """A small image of the face over its mean, so that light falls out; NaN outside of the image."""
    small = warp(image.whole, frame_matrix(frame, COLOURS, COLOURS_MARGIN), COLOURS).astype(np.float64)
    inside = small.any(axis=2)
    small[~inside] = np.nan
    return small / max(float(small[inside].mean()), 1.0) if inside.any() else small


def _unlike(one: np.ndarray | None, other: np.ndarray) -> float:
    """Mean difference of two faces' colours; 0 where nothing is known."""
    if one is None:
        return 0.0
    difference = np.abs(one - other)
    known = np.isfinite(difference)
    return float(difference[known].mean()) if known.any() else 0.0


def _blend(average: np.ndarray | None, new: np.ndarray) -> np.ndarray:
    if average is None:
        return new
    mixed = average + COLOURS_MEMORY * (new - average)
    return np.where(np.isfinite(mixed), mixed, np.where(np.isfinite(average), average, new))
