"""`pairfld validate`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pair_fld.cli.console import (
    DEFAULT_RECIPE,
    JsonOption,
    OverwriteOption,
    RecipeOption,
    WorkOption,
    Workspace,
    out,
    print_json,
    progress,
    say,
    workspace,
)
from pair_fld.errors import PairError
from pair_fld.runs import check_claim, fresh_folder

if TYPE_CHECKING:
    from pair_fld.evaluate.protocol import Protocol
    from pair_fld.evaluate.validate import Truth


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("validate")(validate)


def validate(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [KEY=VALUE]...",
            help="A .pt, .onnx or .tflite file, a folder of contest .txt files, or one of pairfld annotate with its "
            "map.npz; then settings of the recipe to change.",
            show_default="WORK/quant/model-RELEASE.tflite",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images",
            help="Labelled images: a folder or label file of any kind that a source has; repeatable.",
            show_default="the recipe's test sources",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="Published split: a name of `pairfld configs list protocol`, or a .yaml; --images is its folder.",
        ),
    ] = None,
    split: Annotated[
        Literal["test", "valid"],
        typer.Option("--split", help="Split to measure: test, or valid, which chose the checkpoint."),
    ] = "test",
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    report: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for metrics.json, faces.csv and ced.png.", show_default="WORK/validate/..."),
    ] = None,
    max_nme: Annotated[
        float | None, typer.Option("--max-nme", help="Gate: exit 1 when the NME (outer corners, percent) is higher.")
    ] = None,
    min_measured: Annotated[
        float,
        typer.Option(
            "--min-measured",
            min=0,
            max=100,
            help="Percentage of the labelled faces that must be measured for --max-nme to pass.",
        ),
    ] = 100.0,
    ensemble: Annotated[
        list[Path] | None,
        typer.Option(
            "--ensemble",
            help="Further model whose predictions are averaged with MODEL's; repeatable. One may be a folder of "
            "pairfld annotate with its map.npz; its answers are brought to the convention of WORK/data.",
        ),
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average the predictions on each crop and on its mirror image.")
    ] = False,
    views: Annotated[
        int,
        typer.Option(
            "--views",
            min=1,
            max=10,
            help="Views of each face to average: 2 adds the mirror image, 3 to 10 are turned and scaled a little too.",
        ),
    ] = 1,
    disturbed: Annotated[
        bool,
        typer.Option(
            "--disturbed",
            help="Also measure on crops displaced by 1, 2 and 3 standard deviations of the detector's error; with the "
            "rank correlation of score and error, and the score's calibration error.",
        ),
    ] = False,
    slices: Annotated[
        bool,
        typer.Option("--slices", help="Also measure on disturbed copies: dark, soft, occluded, turned, small."),
    ] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads per model.")] = 2,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure NME, failure rate and AUC on crops cut around labelled faces.

    NME is given under three normalisers: outer_corners (distance of the outer eye corners), eye_centres (distance
    between the means of the six points of each eye) and box (square root of the area of the box of the 51 points).

    Example: `pairfld validate model.tflite --images faces --max-nme 4`
    """
    from pair_fld.evaluate.measurement import MeasurementSpec, measure
    from pair_fld.evaluate.protocol import open_protocol
    from pair_fld.evaluate.report import shift_table, tables, visibility_table

    model, changes = _split_arguments(arguments or [])
    place = workspace(recipe, work, changes)
    published = None
    if protocol is not None:
        if split != "test" or len(images or []) > 1:
            message = "--protocol takes no --split, and at most one --images."
            raise PairError("--protocol", message=message, remedy="Leave the option out.")
        published = open_protocol(protocol, images[0] if images else None)
        say(str(published))
    spec = MeasurementSpec(
        (model or place.shipped_tflite, *(ensemble or [])), tuple(images or ()),
        _faces(published, images or [], place), place.data, split, flip, threads, published, disturbed, slices,
        views,
    )  # fmt: skip
    spec.check()
    # the same measurement replaces its report in the workspace; a folder that was named is not replaced unasked
    folder, replace = report or spec.own_folder(place.validate), overwrite or report is None
    check_claim(folder, "validate", replace, spec.inputs, resumes=False)  # before the work
    with progress(f"validate {spec.name}") as bar:
        found = measure(spec, bar, say)
    with fresh_folder(folder, "validate", overwrite=replace, inputs=spec.inputs) as draft:
        found.write(draft)
    if as_json:
        print_json(found.to_json())
    else:
        by_visibility = visibility_table(found.result)
        more = [] if by_visibility is None else [by_visibility]
        for table in (*tables(found.result, spec.name), shift_table(found.result), *more):
            out.print(table)
        for score in (*found.disturbed, *found.slices):
            out.print(str(score), highlight=False)
    if (sentence := found.result.visibility.sentence) is not None:
        say(sentence)
    for entry in found.left_out:
        say(f"left out: {entry.sentence}")
    if found.measured_faces < found.labelled_faces:
        say(f"only {found.measured_faces} of {found.labelled_faces} labelled faces were measured (outer corners)")
    say(f"written: {folder}/metrics.json, faces.csv, ced.png")
    found.check(max_nme, min_measured)


def _faces(protocol: Protocol | None, images: list[Path], place: Workspace) -> Callable[[], Truth]:
    """What lists the labelled faces: of a protocol, of the folders named, or of the recipe's test sources."""
    from pair_fld.evaluate.validate import labelled_faces, labelled_folder

    if protocol is not None:
        return lambda: protocol.truth
    return lambda: labelled_folder(images) if images else labelled_faces(place.data_config)


def _split_arguments(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """(model, overrides); PairError for several models."""
    changes = [text for text in arguments if "=" in text and not os.path.exists(text)]
    models = [text for text in arguments if text not in changes]
    if len(models) > 1:
        message = f"validate measures one model, but {len(models)} are named: {', '.join(models)}."
        raise PairError("MODEL", message=message, remedy="Name further ones with --ensemble to average them.")
    return (Path(models[0]) if models else None), changes
