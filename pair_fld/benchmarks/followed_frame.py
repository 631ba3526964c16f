"""What smoothing adds to a frame in which one face is followed: python -m pair_fld.benchmarks.followed_frame"""

from __future__ import annotations

import time

import numpy as np

from pair_fld.benchmarks.tracking_scenes import moving
from pair_fld.data.synthetic.video import render_videos
from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
from pair_fld.runtime.tracker import Tracker, TrackerConfig

SEED, FRAMES, ROUNDS = 13, 40, 8
FIRST = 7  # frames before it, in which a new face is detected and searched about again, do not count


def main() -> None:
    """Prints medians of the time of this process; both ways take turns on each frame."""
    frames, archive = list(render_videos([moving(SEED, FRAMES)])), shipped_archive()
    times: dict[float, list[float]] = {0.0: [], 1.0: []}
    with unpacked(archive) as folder:
        (pipeline,) = open_pipelines(folder, archive, 1)
        for _ in range(ROUNDS):
            never = len(frames) + 1  # frames between searches for newcomers
            trackers = {way: Tracker(pipeline, TrackerConfig(scan_every=never, smoothing=way)) for way in times}
            for number, frame in enumerate(frames):
                for way in sorted(times, reverse=bool(number % 2)):
                    start = time.thread_time()
                    trackers[way](frame.image, frame.time)
                    if number >= FIRST:
                        times[way].append(1000 * (time.thread_time() - start))
    plain, smoothed = (float(np.median(times[way])) for way in (0.0, 1.0))
    print(f"followed frame: {plain:.2f} ms, smoothed {smoothed:.2f} ms, ratio {smoothed / plain:.2f}")


if __name__ == "__main__":
    main()
