"""Following faces: when the detector is asked, who is who, what a cut does, and what the filter gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pair_fld.data.synthetic.video import Actor, Motion, RenderedVideo, render_video
from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
from pair_fld.runtime.face import Face
from pair_fld.runtime.frame import Frame, place
from pair_fld.runtime.image_file import ImageFile
from pair_fld.runtime.tracker import Tracker, TrackerConfig

FPS = 25
UNSMOOTHED = TrackerConfig(scan_every=10, smoothing=0.0)
Place = tuple[float, float]


class World:
    """A pipeline that knows where the faces (of size 40) of every frame are; the frame's number is its first pixel.

    A follower finds the face nearest to its crop, if it is within half a size.
    """

    min_score = 0.0
    confidence: object = "of a model that knows a face from none"

    def __init__(self, frames: Sequence[Sequence[Place]]) -> None:
        self.frames, self.whole_searches, self.near_searches = frames, [], []
        self.turns: list[tuple[int, int, int]] = []  # frame, turn, views of lost faces
        self.shy: set[Place] = set()  # faces that a second search does not see

    def _faces(self, image: ImageFile) -> list[Face]:
        frames = [Frame(centre, 40.0) for centre in self.frames[int(image.whole[0, 0, 0])]]
        return [Face(place(frame), None, 0.9, frame) for frame in frames]

    def predict(self, image: ImageFile, frames: Sequence[Frame], scores: object, presence: object) -> list[Face]:
        def apart(face: Face) -> float:
            return float(np.hypot(*np.subtract(face.frame.centre, frames[0].centre)))

        return [face for face in sorted(self._faces(image), key=apart)[:1] if apart(face) < 20]

    def faces_of(self, image: ImageFile, turned: bool = True) -> list[Face]:
        self.whole_searches.append((int(image.whole[0, 0, 0]), turned))
        return self._faces(image)

    def faces_in_turn(self, image: ImageFile, turn: int, views: Sequence[Frame]) -> list[Face]:
        self.turns.append((int(image.whole[0, 0, 0]), turn, len(views)))
        return self._faces(image)

    def faces_in(self, image: ImageFile, views: Sequence[Frame]) -> list[Face]:
        self.near_searches.append(int(image.whole[0, 0, 0]))
        return [
            face
            for face in self._faces(image)
            if face.frame.centre not in self.shy
            and any(np.abs(np.subtract(face.frame.centre, view.centre)).max() < view.size / 2 for view in views)
        ]

    def image(self, number: int, scene: int = 0) -> np.ndarray:
        """Two halves of different brightness, and a square of its own colour on each face, the first in front."""
        image = np.full((240, 320, 3), 120, np.uint8)
        image[:, :160] = 40 if scene == 0 else 240
        colours = [(200, 40, 40), (40, 200, 40)]
        for (x, y), colour in reversed(list(zip(self.frames[number], colours, strict=False))):
            image[int(y) - 20 : int(y) + 21, max(int(x) - 20, 0) : int(x) + 21] = colour
        image[0, 0] = number
        return image


def identities(world: World, config: TrackerConfig = UNSMOOTHED, cut: int = 999) -> list[list[tuple[int, float]]]:
    """(identity, x of the centre) of every frame's faces."""
    tracker = Tracker(world, config)  # pyright: ignore[reportArgumentType]
    result = []
    for number in range(len(world.frames)):
        faces = tracker(world.image(number, int(number >= cut)), number / FPS)
        result.append([(face.identity, round(face.frame.centre[0], 3)) for face in faces])
    return result


def test_the_detector_looks_when_a_face_is_new_and_every_so_often() -> None:
    world = World([[(100.0 + 3 * k, 120.0)] for k in range(25)])
    assert identities(world) == [[(1, 100.0 + 3 * k)] for k in range(25)]
    assert world.whole_searches == [(0, True), (10, False), (20, False)]  # without turned views once there is one
    assert world.near_searches == [2, 5]  # twice, about a new face


def test_a_newcomer_is_found_at_the_next_look_at_the_whole() -> None:
    world = World([[(100.0, 120.0)]] * 5 + [[(100.0, 120.0), (220.0, 120.0)]] * 8)
    found = identities(world)
    assert found[9] == [(1, 100.0)]
    assert found[10] == [(2, 220.0), (1, 100.0)]  # right to left


def test_while_nobody_is_there_the_search_goes_in_turns() -> None:
    world = World([[(100.0, 120.0)]] * 8 + [[]] * 4 + [[(100.0, 120.0)]] * 2 + [[]])
    identities(world)
    assert world.whole_searches == [(0, True), (8, True), (14, True)]
    assert world.turns == [(9, 0, 1), (10, 1, 1), (11, 2, 1), (12, 3, 1)]


def test_what_a_second_look_does_not_see_is_dropped() -> None:
    world = World([[(100.0, 120.0)]] * 3)
    world.shy = {(100.0, 120.0)}
    assert [len(faces) for faces in identities(world)] == [1, 1, 0]


def test_identities_hold_while_one_passes_behind_the_other() -> None:
    # the first goes right, the second left behind it; within 30 pixels of one another only the front one is seen
    both = [(60.0 + 5 * k, 260.0 - 5 * k) for k in range(40)]
    world = World([[(a, 120.0), (b, 120.0)] if abs(a - b) > 30 else [(a, 120.0)] for a, b in both])
    found = identities(world)
    assert dict(found[0]) == {1: 60.0, 2: 260.0} or dict(found[0]) == {2: 60.0, 1: 260.0}
    start, end = ({x < 160: identity for identity, x in found[k]} for k in (0, -1))
    assert start[True] == end[False]  # who began at the left ended at the right
    assert start[False] == end[True]
    assert {len(faces) for faces in found} == {1, 2}


@pytest.mark.parametrize(("gone", "expected"), [(20, 1), (60, 2)])  # 0.8 s and 2.4 s: it is remembered for 2 s
def test_a_face_that_comes_back_keeps_its_identity_for_a_while(gone: int, expected: int) -> None:
    world = World([[(100.0, 120.0)]] * 4 + [[]] * gone + [[(110.0, 120.0)]] * 4)
    found = identities(world)
    assert found[4 : 4 + gone] == [[]] * gone
    assert found[4 + gone :] == [[(expected, 110.0)]] * 4  # found in the first frame


def test_a_model_that_sees_faces_everywhere_follows_none_for_long() -> None:
    class Credulous(World):
        confidence = None

        def predict(self, image: ImageFile, frames: Sequence[Frame], scores: object, presence: object) -> list[Face]:
            return [Face(place(frames[0]), None, 0.9, frames[0])]

    found = identities(Credulous([[(100.0, 120.0)]] * 4 + [[]] * 8))
    assert [len(faces) for faces in found] == [1] * 5 + [0] * 7  # the near search in frame 5 does not see it


def test_after_a_cut_everybody_is_new() -> None:
    world = World([[(100.0, 120.0)]] * 12)
    assert [f[0][0] for f in identities(world, cut=6)] == [1] * 6 + [2] * 6


def covered(scene: int, *boards: float) -> list[np.ndarray]:
    """Noisy frames (48, 64, 3) of a scene, of which a grey board covers these shares from the left."""
    rng = np.random.default_rng(scene)
    whole = np.repeat(np.repeat(rng.uniform(0, 255, (12, 16, 3)), 4, 0), 4, 1)
    frames = []
    for share in boards:
        image = np.where(np.arange(64)[:, None] < share * 64, 104, whole)
        frames.append(np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8))
    return frames


COVERS = (
    (covered(1, 0, 0, 1, 1, 1, 0, 0), []),  # at once
    (covered(2, 0, 0.3, 0.5, 0.7, 0.9, 1, 1, 0.9, 0.7, 0.5, 0.3, 0), []),
    (covered(3, 0, 0) + covered(4, 0, 0), [2]),
    (covered(5, 0, 0, 1, 1) + covered(6, 0, 0), [4]),  # another scene behind the board
)


@pytest.mark.parametrize(("frames", "cuts"), COVERS)
def test_a_cover_before_the_camera_is_no_cut(frames: list[np.ndarray], cuts: list[int]) -> None:
    tracker = Tracker(World([]))  # pyright: ignore[reportArgumentType]
    assert [k for k, frame in enumerate(frames) if tracker._is_cut(frame)] == cuts  # pyright: ignore[reportPrivateUsage]


def test_another_face_elsewhere_is_nobody_who_was_lost() -> None:
    # faces of size 40 and of one colour: 0.6 s after the first was lost it may be found up to 0.75 + 0.6 sizes away
    for x, expected in ((100.0 + 1.2 * 40, 1), (100.0 + 1.5 * 40, 2)):
        world = World([[(100.0, 120.0)]] * 4 + [[]] * 14 + [[(x, 120.0)]] * 4)
        assert identities(world)[-1] == [(expected, x)]


def test_another_person_elsewhere_is_somebody_else() -> None:
    # two people who are as alike as another two views of one; the second comes 0.9 s later, two faces to the right
    first = Actor(7, lambda time: Motion((220, 240), 1.0) if time < 0.05 else None)
    second = Actor(8, lambda time: Motion((420, 240), 1.0) if time > 0.89 else None)
    with unpacked(shipped_archive()) as folder:
        tracker = Tracker(open_pipelines(folder, shipped_archive(), 1)[0])
        frames = [
            frame for frame in render_video(RenderedVideo((first, second), 29, 7)) if not 0.08 < frame.time < 0.89
        ]
        found = [[face.identity for face in tracker(frame.image, frame.time)] for frame in frames]
    assert found == [[1], [1], [], [2], [2]]
