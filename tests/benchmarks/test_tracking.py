"""The tracking benchmark: its scores by hand, and its videos."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pair_fld.benchmarks.tracking import (
    Found,
    frames_until_found,
    identities_kept,
    jitter_percent,
    lag_ms,
    nme_percent,
)
from pair_fld.benchmarks.tracking_scenes import moving, scenes
from pair_fld.data.synthetic.video import FaceTruth, render_videos
from tests.cli.command import pairfld


def found(
    number: int, x: float, raw: float | None, smooth: float | None, identity: int | None = 1, actor: int = 0
) -> Found:
    """A face at x whose points are off by `raw` and `smooth` pixels to the right; the outer corners are 100 apart."""
    points = np.zeros((51, 2))
    points[:, 0] = x
    points[28, 0] += 100

    def off(error: float | None) -> np.ndarray | None:
        return None if error is None else points + (error, 0)

    return Found(number, FaceTruth(actor, points, 1.0, (0, 0, 0)), off(raw), off(raw), off(smooth), identity)


def test_scores_by_hand() -> None:
    # it moves 3 pixels per frame = 90 per second; smoothed points trail by 0.9 pixels = 10 ms
    faces = [found(k, 3.0 * k, (1.0, -1.0)[k % 2], (1.0, -1.0)[k % 2] - 0.9) for k in range(5)]
    assert nme_percent(faces, "raw") == pytest.approx(1.0)  # 1 pixel of 100
    assert nme_percent(faces, "smooth") == pytest.approx((3 * 0.1 + 2 * 1.9) / 5)
    # errors jump by 2 pixels along x and by none along y: sqrt((4 + 0) / 2) = 1.414
    assert jitter_percent(faces, "raw") == pytest.approx(2**0.5)
    assert lag_ms(faces) == pytest.approx(10.0)


def test_identities_and_waiting_by_hand() -> None:
    # the first person is 1, 1, 1, 2; the second had 2 twice, so that 2 is the second's: 3 / 4 and 2 / 2
    mine = [found(k, 0, 0, 0, identity) for k, identity in enumerate((1, 1, 1, 2))]
    other = [found(k, 200, 0, 0, 2, actor=1) for k in range(2)]
    assert identities_kept(mine + other) == pytest.approx((0.75 + 1) / 2)
    # in sight from frame 0, found in 1; out of sight in 3 to 5, found again after two frames
    seen = [(0, None), (1, 0.0), (2, 0.0), (6, None), (7, None), (8, 0.0), (9, None)]
    assert frames_until_found([found(k, 0, error, error, None if error is None else 1) for k, error in seen]) == 2


def test_a_clip_has_moving_heads_a_cut_and_what_is_hidden() -> None:
    frames = list(render_videos(scenes(1, 12)["cut"]))
    assert [face.actor for frame in frames for face in frame.faces] == [0] * 6 + [1] * 6
    assert frames[0].image.shape == (480, 640, 3)
    assert [round(frame.time * 30) for frame in frames] == list(range(12))
    hidden = [frame.faces[0].seen for frame in render_videos(scenes(1, 12)["occluded"])]
    assert min(hidden) == 0.0 < max(hidden)


def test_the_verb_measures_and_its_gate_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pair_fld.benchmarks.tracking_scenes.scenes", lambda seed, frames: {"moving": [moving(seed, frames)]}
    )
    done = pairfld("benchmark", "tracking", "--frames", "12", "--json", "--min-ratio", "1000")
    assert done.code == 1
    assert "x as fast as detecting it, bound 1000 x" in done.err
    (scores,) = json.loads(done.out)
    assert (scores["faces"], scores["found_tracked"], scores["identities_kept"]) == (12, 1.0, 1.0)
    assert scores["nme_smooth_percent"] < 8
    assert scores["speed_ratio"] == pytest.approx(scores["ms_by_frame"] / scores["ms_tracked"])
