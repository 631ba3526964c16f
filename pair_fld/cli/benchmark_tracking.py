"""`pairfld benchmark tracking`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pair_fld.cli.console import ArchiveOption, JsonOption, out, print_json, progress
from pair_fld.errors import GateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pair_fld.benchmarks.tracking import SceneScores


def tracking(
    archive: ArchiveOption = None,
    frames: Annotated[int, typer.Option("--frames", min=12, help="Frames per scene, at 30 per second.")] = 90,
    every: Annotated[
        int, typer.Option("--every", min=1, max=6, help="Take every Nth frame only, as of a slower camera.")
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the people and backgrounds.")] = 1,
    smoothing: Annotated[float, typer.Option("--smoothing", min=0.0, help="Strength of the filter of points.")] = 1.0,
    scan_every: Annotated[int, typer.Option("--scan-every", min=1, help="Detect new faces every N frames.")] = 15,
    min_ratio: Annotated[
        float | None,
        typer.Option(
            "--min-ratio",
            help="Gate: exit 1 when tracking one moving face is less than this many times as fast as detecting it.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure tracking against detection in every frame, on rendered videos with exact points and identities.

    Both run in turns on each frame. NME and jitter are over the outer eye corners; jitter is the deviation of the
    points' error from frame to frame.

    Example: `pairfld benchmark tracking --seed 2 --frames 60`
    """
    from itertools import islice

    from pair_fld.benchmarks.tracking import measure_scene
    from pair_fld.benchmarks.tracking_scenes import scenes
    from pair_fld.data.synthetic.video import FPS, render_videos
    from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
    from pair_fld.runtime.tracker import TrackerConfig

    source, config, rows = archive or shipped_archive(), TrackerConfig(scan_every, smoothing=smoothing), []
    clips = scenes(seed, frames)
    with unpacked(source) as folder, progress("tracking") as bar:
        (pipeline,) = open_pipelines(folder, source, 1)
        for number, (name, clip) in enumerate(clips.items(), 1):
            shown = islice(render_videos(clip), 0, None, every)
            rows.append(measure_scene(name, shown, pipeline, config, FPS / every)[0])
            bar(number, len(clips), name)
    if as_json:
        print_json([row.to_json() for row in rows])
    else:
        out.print(_accuracy_table(rows))
        out.print(_following_table(rows))
    ratio = next(row.speed_ratio for row in rows if row.scene == "moving")
    if min_ratio is not None and ratio < min_ratio:
        raise GateError(f"tracking one face is {ratio:.1f} x as fast as detecting it, bound {min_ratio:g} x")


def _accuracy_table(rows: Sequence[SceneScores]) -> Table:
    table = Table(title="NME and jitter: outer corners")
    for heading in ("scene", "faces", "way", "found %", "NME %", "jitter %", "ms per frame"):
        table.add_column(heading)
    for r in rows:
        ways = (
            (
                "every frame",
                r.found_by_frame,
                r.nme_by_frame_percent,
                r.jitter_by_frame_percent,
                f"{r.ms_by_frame:.1f}",
            ),
            ("tracked", r.found_tracked, r.nme_raw_percent, r.jitter_raw_percent, ""),
            ("and smoothed", r.found_tracked, r.nme_smooth_percent, r.jitter_smooth_percent, f"{r.ms_tracked:.1f}"),
        )
        for number, (way, found, nme, jitter, ms) in enumerate(ways):
            scene, faces = ("", "") if number else (r.scene, str(r.faces))
            table.add_row(scene, faces, way, f"{100 * found:.1f}", f"{nme:.2f}", f"{jitter:.3f}", ms)
    return table


def _following_table(rows: Sequence[SceneScores]) -> Table:
    table = Table(title="tracked and smoothed, and false faces per frame of detection in every frame / tracked")
    for heading in ("scene", "speed", "lag ms", "identities kept %", "false faces", "frames until found"):
        table.add_column(heading)
    for r in rows:
        table.add_row(
            r.scene, f"{r.speed_ratio:.1f} x", f"{r.lag_ms:.1f}", f"{100 * r.identities_kept:.0f}",
            f"{r.false_by_frame:.2f} / {r.false_tracked:.2f}", str(r.frames_until_found),
        )  # fmt: skip
    return table
