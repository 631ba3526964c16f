"""`pairfld validate`."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from pair_fld.io import read_json, write_json
from pair_fld.outputs import MAX_NAME_BYTES, shortened
from pair_fld.runs import RECORD, check_claim, fresh_folder, provenance

if TYPE_CHECKING:
    from pair_fld.evaluate.protocol import Protocol


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("validate")(validate)


def validate(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A .pt, .onnx or .tflite, or a folder of contest .txt files.",
            show_default="WORK/quant/model-RELEASE.tflite",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images",
            help="Folder of images with .pts labels, or a .csv; repeatable.",
            show_default="the recipe's test sources",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="A published split, a name in configs/protocol; --images says where it is."),
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
        Path | None,
        typer.Option("--out", help="Folder for metrics.json, faces.csv, ced.png.", show_default="WORK/validate"),
    ] = None,
    max_nme: Annotated[
        float | None,
        typer.Option(
            "--max-nme", help="Gate: fail (exit 1) when the NME under outer corners is above this percentage."
        ),
    ] = None,
    min_measured: Annotated[
        float,
        typer.Option(
            "--min-measured", min=0, max=100, help="Gate of --max-nme: labelled faces that must be measured, percent."
        ),
    ] = 100.0,
    others: Annotated[
        list[Path] | None, typer.Option("--ensemble", help="Further model; predictions are averaged; repeatable.")
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average the predictions on each crop and on its mirror image.")
    ] = False,
    threads: Annotated[int, typer.Option("--threads", help="Threads of the model runtime.")] = 2,
    changes: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE change to the recipe.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure NME, failure rate and AUC on labelled faces, cropped by their labelled boxes.

    NME is given under three normalisers: outer_corners (distance of the outer eye corners), eye_centres (distance
    of the means of the six points per eye) and box (square root of the area of the box of the 51 points).
    """
    from pair_fld.data.sample import NO_LABELS
    from pair_fld.evaluate.report import ced_plot, tables, write_csv

    place = workspace(recipe, work, changes)
    found = _open_protocol(protocol, images or [], split)
    paths = [model or place.shipped_tflite, *(others or [])]
    for path in paths:
        if not path.exists():
            remedy = "Check the path, or run pairfld quantize."
            raise PairError(path, "a model or a folder of .txt files", "no such file", remedy)
    name = " + ".join(map(str, paths))
    setting = {"model": name, "flip": flip, "data": [str(d) for d in images or []], "split": split}
    setting |= {"protocol": protocol} if protocol else {}
    # the same measurement replaces its report in the workspace; a folder that was named is not replaced unasked
    folder = report or _own_folder(place.validate, paths, setting)
    inputs, replace = [*paths, *(images or []), place.data], overwrite or report is None
    check_claim(folder, "validate", replace, inputs)  # before the work
    with progress(f"validate {name}") as bar:
        result, left_out = _measure(paths, images or [], found, place, split, threads, flip, bar)
    measured = result.overall["outer_corners"].faces
    labelled = result.faces + sum(entry.reason != NO_LABELS for entry in left_out)
    tree = {"model": name, "flip": flip, "labelled_faces": labelled, **result.to_json(),
            "left_out": [vars(entry) for entry in left_out]}  # fmt: skip
    if found is not None:
        tree["protocol"] = {"name": found.name, "faces": found.faces, "found_faces": len(found.truth.samples)}
    with fresh_folder(folder, "validate", overwrite=replace, inputs=inputs) as draft:
        write_json(draft / RECORD, provenance(setting))
        write_json(draft / "metrics.json", tree)
        write_csv(result, draft / "faces.csv")
        ced_plot({" + ".join(path.name for path in paths): result}, draft / "ced.png")
    if as_json:
        print_json(tree)
    else:
        for table in tables(result, name):
            out.print(table)
    for entry in left_out:
        say(f"left out: {entry.sentence}")
    if measured < labelled:
        say(f"only {measured} of {labelled} labelled faces were measured (outer corners)")
    say(f"written: {folder}/metrics.json, faces.csv, ced.png")
    nme = result.overall["outer_corners"].nme_percent
    if max_nme is not None and 100 * measured < min_measured * labelled:
        raise GateError(
            f"{name}: {measured} of {labelled} labelled faces were measured, fewer than the {min_measured:g} % of "
            f"--min-measured; their NME (outer corners) is {nme:.3f} %"
        )
    if max_nme is not None and not nme <= max_nme:
        raise GateError(f"{name}: NME (outer corners) {nme:.3f} % is above the bound of {max_nme} %")


def _own_folder(reports: Path, paths: list[Path], setting: dict[str, Any]) -> Path:
    """The workspace's folder for a measurement: named after its models, with a number where another one is there."""
    name = shortened("+".join(f"{path.absolute().parent.name}-{path.name}" for path in paths), MAX_NAME_BYTES - 32)
    for number in count(1):
        folder = reports / (name if number == 1 else f"{name}-{number}")
        record = folder / RECORD
        if not record.is_file() or read_json(record, "the record of a measurement").get("config") == setting:
            return folder
    raise AssertionError("count() ends never")


def _open_protocol(name: str | None, data: list[Path], split: str) -> Protocol | None:
    if name is None:
        return None
    from pair_fld.evaluate.protocol import open_protocol

    if split != "test" or len(data) > 1:
        raise PairError("--protocol", "no --split, and --images once at most", "another", "Leave the option out.")
    found = open_protocol(name, data[0] if data else None)
    say(str(found))
    return found


def _measure(
    paths: list[Path],
    data: list[Path],
    protocol: Protocol | None,
    place: Workspace,
    split: str,
    threads: int,
    flip: bool,
    bar: Any,
) -> Any:
    """(result, what was left out) of a folder of texts or of models, on folders, the test sources, or a pack."""
    from pair_fld.data.dataset import VALID, Pack
    from pair_fld.evaluate import validate as predict

    if split not in ("test", "valid"):
        raise PairError("--split", "test or valid", repr(split), "Correct the option.")
    folders = [path for path in paths if path.is_dir()]
    if folders:
        if flip or len(paths) > 1 or (split == "valid" and not data):
            remedy = "Leave the option out."
            raise PairError(folders[0], "a model for --ensemble, --flip or --split valid", "a folder of texts", remedy)
        return predict.validate_texts(folders[0], _truth(data, protocol, place), bar, say)
    models = [predict.open_model(path, threads) for path in paths]
    model = models[0] if len(models) == 1 else predict.Averaged(models)
    model = predict.Mirrored(model) if flip else model
    if split == "valid" and not data:
        return predict.validate_pack(model, Pack(place.data), VALID, bar), []
    return predict.validate_model(model, _truth(data, protocol, place), bar)


def _truth(data: list[Path], protocol: Protocol | None, place: Workspace) -> Any:
    from pair_fld.data.sources.files import passed_over_sentence
    from pair_fld.evaluate import validate as predict

    if protocol is not None:
        truth = protocol.truth
    else:
        truth = predict.labelled_folder(data) if data else predict.labelled_faces(place.data_config)
    if sentence := passed_over_sentence(truth.passed_over):
        say(sentence)
    return truth
