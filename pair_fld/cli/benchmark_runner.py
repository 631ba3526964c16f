"""`pairfld bench-detector` and `pairfld bench-predict`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pair_fld.cli.console import DEFAULT_RECIPE, JsonOption, RecipeOption, WorkOption, out, print_json, say, workspace
from pair_fld.errors import GateError, PairError

ArchiveOption = Annotated[
    Path | None,
    typer.Option("--model", "-m", help="Archive of pairfld package, or its folder.", show_default="baseline"),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    app.command("bench-detector")(bench_detector)
    app.command("bench-predict")(bench_predict)


def bench_detector(
    pictures: Annotated[
        list[str] | None, typer.Argument(metavar="[PICTURES]...", help="Unlabelled pictures to count faces in.")
    ] = None,
    model: ArchiveOption = None,
    own: Annotated[
        Path | None,
        typer.Option("--own", help="The own finder's .tflite.", show_default="WORK/detector/detector.tflite"),
    ] = None,
    faceless: Annotated[int, typer.Option("--faceless", min=1, help="Rendered pictures without faces.")] = 200,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare BlazeFace with the project's own face finder on the recipe's test pictures.

    Recall, faces found beside the label, false alarms on faceless pictures, NME end to end and with labelled boxes,
    MB and GFLOPs. Each finder's box policy is learnt on training pictures first.
    """
    from pair_fld.benchmarks.detectors import compare, to_json
    from pair_fld.data.dataset import Pack
    from pair_fld.evaluate.validate import labelled_faces
    from pair_fld.face_detector.files import find_detector
    from pair_fld.inference.archive import shipped_archive, unpacked
    from pair_fld.inference.inputs import collect
    from pair_fld.runtime.session import load_model

    place = workspace(recipe, work)
    finders = [find_detector("blazeface")[0]]
    mine = own or place.folder / "detector" / "detector.tflite"
    if own is not None or mine.is_file():
        finders.append(find_detector("own", mine)[0])
    else:
        say(f"{mine}: no such file, so BlazeFace only; pairfld train-detector makes it")
    pack = Pack(place.data)
    unlabelled = [p for p, _ in collect(pictures).images] if pictures else []
    with unpacked(model or shipped_archive()) as folder, tempfile.TemporaryDirectory() as cache:
        landmarks = load_model(folder / "model.tflite")
        rows, costs = compare(
            finders, landmarks, pack, labelled_faces(pack.config), unlabelled, Path(cache), say, faceless
        )
    if as_json:
        print_json(to_json(rows, costs))
        return
    headings = ("finder", "set", "pictures", "faces", "found", "recall %", "others found", "NME % end to end",
                "NME % labelled boxes")  # fmt: skip
    table = Table(title="what they find (NME: outer corners, of the faces found)")
    for heading in headings:
        table.add_column(heading)
    for r in rows:
        recall = f"{100 * r.found / r.faces:.1f}" if r.faces else "-"
        errors = (r.nme_end_to_end_outer_corners_percent, r.nme_labelled_boxes_outer_corners_percent)
        table.add_row(
            r.finder, r.set, str(r.pictures), str(r.faces), str(r.found), recall, str(r.extra), *map(_figure, errors)
        )
    out.print(table)
    out.print(_cost_table(costs))


def _cost_table(costs: Any) -> Table:
    headings = ("finder", "MB", "GFLOPs a view", "views of a 1024 px picture", "GFLOPs a picture, one face",
                "MB with model", "GFLOPs with model", "looks a measured picture")  # fmt: skip
    table = Table(title="what they cost")
    for heading in headings:
        table.add_column(heading)
    for c in costs:
        table.add_row(
            c.finder, f"{c.file_mb:.3f}", f"{c.gflops_a_view:.4f}", str(c.views), f"{c.gflops_a_picture:.3f}",
            f"{c.with_model_mb:.3f}", f"{c.with_model_gflops:.3f}",
            f"{c.looks_a_picture:.1f}",
        )  # fmt: skip
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def bench_predict(
    model: ArchiveOption = None,
    pictures: Annotated[int, typer.Option("--pictures", min=4, help="Large pictures to run on.")] = 200,
    size: Annotated[str, typer.Option("--size", help="Their width x height.")] = "4000x3000",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Pictures worked on at a time.")] = 2,
    min_ratio: Annotated[
        float | None, typer.Option("--min-ratio", help="Gate: fail (exit 1) when the runner is less than this faster.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time the runner against a loop of cv2.imread and one call a face, on large rendered JPEGs."""
    from pair_fld.benchmarks.throughput import large_pictures, measure_throughput
    from pair_fld.inference.archive import shipped_archive, unpacked
    from pair_fld.runtime.pipeline import load_pipeline

    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 64):
        raise PairError("--size", "WIDTHxHEIGHT of 64 or more, e.g. 4000x3000", repr(size), "Correct the option.")
    with unpacked(model or shipped_archive()) as folder, tempfile.TemporaryDirectory() as scratch:
        say(f"writing {pictures} pictures of {size}")
        paths = large_pictures(Path(scratch), pictures, int(width), int(height))
        say("timing")
        found = measure_throughput(
            lambda number, cores: [load_pipeline(folder, cores) for _ in range(number)], paths, threads
        )
    if as_json:
        print_json(found.to_json())
    else:
        out.print(
            f"{found.pictures} pictures of {found.megapixels:.1f} megapixels, {found.faces} faces: the loop took "
            f"{found.loop_seconds:.1f} s, the runner with {found.workers} workers {found.runner_seconds:.1f} s, "
            f"{found.ratio:.2f} x; points differ by {found.worst_point_difference_px:.2f} px at most"
        )
    if min_ratio is not None and found.ratio < min_ratio:
        raise GateError(f"the runner is {found.ratio:.2f} x as fast as the loop, bound {min_ratio:g} x")
