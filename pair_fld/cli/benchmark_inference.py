"""`pairfld benchmark inference`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pair_fld.cli.console import ArchiveOption, JsonOption, out, print_json, say
from pair_fld.errors import GateError, PairError


def inference(
    archive: ArchiveOption = None,
    count: Annotated[int, typer.Option("--count", min=4, help="Number of images to run on.")] = 200,
    size: Annotated[str, typer.Option("--size", help="Width x height of the images, pixels.")] = "4000x3000",
    threads: Annotated[int, typer.Option("--jobs", min=1, help="Images predicted in parallel.")] = 2,
    min_ratio: Annotated[
        float | None,
        typer.Option("--min-ratio", help="Gate: fail (exit 1) when the runner's speed over the loop's is below this."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time the runner against a loop of cv2.imread and one model call per face, on large rendered JPEGs.

    Example: `pairfld benchmark inference --count 40`
    """
    from pair_fld.benchmarks.throughput import large_images, measure_throughput
    from pair_fld.inference.archive import shipped_archive, unpacked
    from pair_fld.runtime.pipeline import load_pipeline

    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 64):
        raise PairError("--size", "WIDTHxHEIGHT of 64 or more, e.g. 4000x3000", repr(size), "Correct the option.")
    with unpacked(archive or shipped_archive()) as folder, tempfile.TemporaryDirectory() as scratch:
        say(f"writing {count} images of {size}")
        paths = large_images(Path(scratch), count, int(width), int(height))
        say("timing")
        found = measure_throughput(
            lambda number, cores: [load_pipeline(folder, cores) for _ in range(number)], paths, threads
        )
    if as_json:
        print_json(found.to_json())
    else:
        out.print(
            f"{found.images} images of {found.megapixels:.1f} megapixels, {found.faces} faces: the loop took "
            f"{found.loop_seconds:.1f} s, the runner with {found.workers} workers {found.runner_seconds:.1f} s, "
            f"{found.ratio:.2f} x; points differ by {found.worst_point_difference_px:.2f} px at most"
        )
    if min_ratio is not None and found.ratio < min_ratio:
        raise GateError(f"the runner is {found.ratio:.2f} x as fast as the loop, bound {min_ratio:g} x")
