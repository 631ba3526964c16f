"""`pairfld benchmark training`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from pair_fld.cli.console import (
    DEFAULT_RECIPE,
    DataOption,
    DeviceOption,
    JsonOption,
    Overrides,
    RecipeOption,
    WorkOption,
    out,
    print_json,
    progress,
    workspace,
)


def training(
    overrides: Overrides = None,
    recipe: RecipeOption = DEFAULT_RECIPE,
    work: WorkOption = None,
    data: DataOption = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds; each measures everything once.")] = 5,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Seconds per measurement.")] = 4.0,
    profile: Annotated[bool, typer.Option("--profile", help="Add the operators of a step with their times.")] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure the training speed of teacher and student: data path, step, both, and a straightforward loader.

    The measurements of a round take turns, so that their ratios also hold on a busy machine.

    Example: `pairfld benchmark training`
    """
    from pair_fld.benchmarks import training as bench
    from pair_fld.data.dataset import FaceDataset

    place = workspace(recipe, work, overrides)
    dataset, results, profiles = FaceDataset(data or place.data), {}, {}
    with progress("benchmark training") as bar:
        for name, stage in (("teacher", place.recipe.teacher), ("student", place.recipe.student)):
            results[name] = bench.measure(
                stage, dataset, teacher=place.recipe.teacher.model, device=device, repeats=repeats, seconds=seconds,
                progress=partial(bar, note=f"rounds of the {name}"),
            )  # fmt: skip
            if profile:
                profiles[name] = bench.profile(stage, dataset, teacher=place.recipe.teacher.model, device=device)
    if as_json:
        print_json({name: result.to_json() | {"profile": profiles.get(name)} for name, result in results.items()})
        return
    table = Table("faces/s", *results, box=None)
    for key in bench.ROWS:
        table.add_row(bench.ROWS[key], *(f"{result.to_json()[key]:.4g}" for result in results.values()))
    out.print(table)
    for name, text in profiles.items():
        out.print(f"\n[bold]{name}[/]")
        out.print(text, markup=False, highlight=False, soft_wrap=True)
