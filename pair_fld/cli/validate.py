"""`pairfld validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
from pair_fld.errors import GateError, PairError


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("validate")(validate)


def validate(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A .pt, .onnx or .tflite, or a folder of contest .txt files. [default: WORK/quant/model-SHIP.tflite]"
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            help="Folder of pictures with .pts labels, or a .csv; repeatable. [default: the recipe's test sources]",
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            "--split", help="Of the recipe's faces: test, or valid (those the training chose by, from the pack)."
        ),
    ] = "test",
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    report: Annotated[
        Path | None, typer.Option("--out", help="Folder for metrics.json, faces.csv, ced.png. [default: WORK/validate]")
    ] = None,
    max_nme: Annotated[
        float | None,
        typer.Option(
            "--max-nme", help="Gate: fail (exit 1) when the NME under outer corners is above this percentage."
        ),
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average the answers on each crop and on its mirror image.")
    ] = False,
    threads: Annotated[int, typer.Option("--threads", help="Threads of the model runtime.")] = 2,
    changes: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE change to the recipe.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure NME, failure rate and AUC on labelled faces, cropped by their labelled boxes.

    NME is given under three normalisers: outer_corners (distance of the outer eye corners), eye_centres (distance
    of the means of six points an eye) and box (square root of the area of the box of the 51 points).
    """
    from pair_fld.evaluate.report import ced_plot, tables, write_csv
    from pair_fld.runs import RECORD, fresh_folder, provenance, write_json

    place = workspace(recipe, work, changes)
    path = model or place.shipped_tflite
    if not path.exists():
        raise PairError(
            path, "a model or a folder of .txt files", "no such file", "Check the path, or run pairfld quantize."
        )
    with progress(f"validate {path.name}") as bar:
        result, left_out = _measure(path, data or [], place, split, threads, flip, bar)
    tree = {"model": str(path), "flip": flip, **result.to_json(), "left_out": [vars(entry) for entry in left_out]}
    # the report of a model replaces the one before it in the workspace; a folder that was named is not replaced unasked
    folder = report or place.validate / f"{path.absolute().parent.name}-{path.name}"
    with fresh_folder(folder, "validate", overwrite=overwrite or report is None) as draft:
        write_json(draft / RECORD, provenance({"model": str(path), "flip": flip, "data": [str(d) for d in data or []]}))
        write_json(draft / "metrics.json", tree)
        write_csv(result, draft / "faces.csv")
        ced_plot({path.name: result}, draft / "ced.png")
    if as_json:
        print_json(tree)
    else:
        for table in tables(result, str(path)):
            out.print(table)
    for entry in left_out:
        say(f"left out: {entry.sentence}")
    say(f"written: {folder}/metrics.json, faces.csv, ced.png")
    nme = result.overall["outer_corners"].nme_percent
    if max_nme is not None and not nme <= max_nme:
        raise GateError(f"{path}: NME (outer corners) {nme:.3f} % is above the bound of {max_nme} %")


def _measure(path: Path, data: list[Path], place: Workspace, split: str, threads: int, flip: bool, bar: Any) -> Any:
    """(result, what was left out) of a folder of texts or a model, on folders, the test sources, or a pack."""
    from pair_fld.data.pack import VALID, Pack
    from pair_fld.evaluate import predict

    if split not in ("test", "valid"):
        raise PairError("--split", "test or valid", repr(split), "Correct the option.")
    if path.is_dir():
        if flip or (split == "valid" and not data):
            remedy = "Leave the option out."
            raise PairError(path, "a model for --flip or --split valid", "a folder of texts", remedy)
        return predict.validate_texts(path, _truth(data, place), bar)
    model = predict.open_model(path, threads)
    model = predict.Mirrored(model) if flip else model
    if split == "valid" and not data:
        return predict.validate_pack(model, Pack(place.data), VALID, bar), []
    return predict.validate_model(model, _truth(data, place), bar)


def _truth(data: list[Path], place: Workspace) -> Any:
    from pair_fld.evaluate import predict

    return predict.labelled_folder(data) if data else predict.labelled_faces(place.data_config)
