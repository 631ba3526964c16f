"""`pairfld predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pair_fld.cli.console import ArchiveOption, Turned, complain, progress, say, say_passed_over, smallest_option
from pair_fld.progress import counted

DEFAULT_OUT = Path("landmarks")


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("predict")(predict)


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Images, folders, patterns, lists (.txt, one path per line), videos, or the index of a camera.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for contest text files.", show_default="landmarks, if nothing else is asked for"
        ),
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(
            "--draw", help="Folder for the images, and videos, with the points drawn; of one video also its file."
        ),
    ] = None,
    stills: Annotated[bool, typer.Option("--stills", help="Videos: draw each frame as an image, no video.")] = False,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="One image (.png, .jpg) of all faces found.")] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json", help="File for all faces as JSON, of videos and cameras a line per frame; - for stdout."
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="File for all faces as CSV, one line per face; - for stdout.")
    ] = None,
    coco: Annotated[
        Path | None,
        typer.Option("--coco", help="File for all faces as COCO keypoints, to be corrected in CVAT and the like."),
    ] = None,
    labelme: Annotated[
        Path | None, typer.Option("--labelme", help="Folder for labelme's files, one per image, to be corrected there.")
    ] = None,
    archive: ArchiveOption = None,
    refine: Annotated[
        int | None,
        typer.Option(
            "--refine",
            min=0,
            help="Refinement passes: crop again around the predicted points and predict again.",
            show_default="the model's",
        ),
    ] = None,
    turned: Annotated[
        Turned | None,
        typer.Option(
            "--turned",
            help="Rotated views: auto detects in them too when the upright views give no certain face.",
            show_default="the model's",
        ),
    ] = None,
    smallest: Annotated[float | None, smallest_option("to find", "the model's")] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score", min=0.0, max=1.0, help="Faces below this score are left out.", show_default="the model's"
        ),
    ] = None,
    threads: Annotated[int, typer.Option("--jobs", min=0, help="Images predicted in parallel; 0: one per core.")] = 0,
    every: Annotated[int, typer.Option("--every", min=1, help="Videos: take every N-th frame.")] = 1,
    limit: Annotated[int | None, typer.Option("--frames", min=1, help="Frames per video, at most.")] = None,
    per_frame: Annotated[
        bool, typer.Option("--per-frame", help="Videos: detect the faces of every frame anew; no identities.")
    ] = False,
    smoothing: Annotated[
        float, typer.Option("--smoothing", min=0.0, help="Videos: how strongly points are smoothed; 0: not at all.")
    ] = 1.0,
    scan_every: Annotated[
        int, typer.Option("--scan-every", min=1, help="Videos: detect new faces every N frames.")
    ] = 15,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an earlier run: do what is missing, replace no file that is there."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace results of that name; with --resume only the files of --json, --csv, --coco, --sheet.",
        ),
    ] = False,
) -> None:
    """Find every face in images and write its 51 landmarks.

    Results are named after the images and keep the sub-folders of the folders given; no two share a name, and an
    input is never written over. An image that cannot be read gets a line on stderr and the others are still done; the
    exit code is then 2. After Ctrl-C the finished files are whole, and --resume does the rest. A camera runs until
    --frames or Ctrl-C.

    In videos faces are followed: they have identities, counted anew in every video, and their points are smoothed.

    Example: `pairfld predict photo.jpg holiday --out landmarks --draw drawn`
    """
    from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked, weight_files
    from pair_fld.inference.inputs import collect
    from pair_fld.inference.outputs import ResultFiles
    from pair_fld.inference.run import PredictionRun
    from pair_fld.runtime.main import default_threads
    from pair_fld.runtime.pipeline import PipelineOptions
    from pair_fld.runtime.tracker import TrackerConfig

    options = PipelineOptions(refine, turned, smallest, min_score)
    if not any((out, draw, sheet, json, csv, coco, labelme)):
        out = DEFAULT_OUT
    source, found = archive or shipped_archive(), collect(inputs)
    say_passed_over(found.passed_over)
    run = PredictionRun(
        found, ResultFiles(out, draw, sheet, json, csv, coco, labelme, stills), inputs=weight_files(source),
        resume=resume, overwrite=overwrite, every=every, limit=limit,
        tracking=None if per_frame else TrackerConfig(scan_every, smoothing=smoothing), say=say,
    )  # fmt: skip
    run.check()
    with unpacked(source) as folder, progress("predict") as bar:
        run.run(open_pipelines(folder, source, threads or default_threads(), options), bar)
    run.write_summaries()
    written = ", ".join(map(str, run.outputs.written))
    done = f"{run.images - run.failed} of {counted(run.images, 'image')}, {counted(run.faces, 'face')}"
    say(done + (f"; written: {written}" if written else ""))
    if run.failed:
        complain("error", f"{run.failed} of {run.images} failed, see above")
        raise typer.Exit(2)
