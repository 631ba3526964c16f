"""What all verbs share: options, the workspace, progress on stderr, results on stdout."""

from __future__ import annotations

import errno
import json
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from pair_fld.config import DataConfig, RecipeConfig, load_recipe
from pair_fld.data.dataset import FaceDataset
from pair_fld.progress import Progress
from pair_fld.runs import RECORD


class _Console(Console):
    """Rich's, but a closed pipe is an error here, not an exit with code 1, which means a failed gate."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "closed before everything was printed", "stdout")


out = _Console(width=None if sys.stdout.isatty() else 140)  # a file or a pipe has no width to wrap at
err = _Console(stderr=True)

RecipeOption = Annotated[
    str, typer.Option("--recipe", "-r", help="Recipe: a name of `pairfld configs list recipe`, or a .yaml.")
]
WorkOption = Annotated[
    Path | None,
    typer.Option(
        "--work",
        "-w",
        help="Workspace: folder in which the stages find each other's results.",
        show_default="runs/RECIPE",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings of the recipe to change, e.g. student.train.epochs=3."),
]
DataOption = Annotated[
    Path | None, typer.Option("--dataset", help="Folder that `pairfld prepare` wrote.", show_default="WORK/data")
]
LabelledImagesOption = Annotated[
    list[Path] | None,
    typer.Option("--images", help="Labelled images: a folder or label file of any kind that a source has; repeatable."),
]
ArchiveOption = Annotated[
    Path | None,
    typer.Option("--archive", "-a", help="Zip of pairfld package, or its unpacked folder.", show_default="tiny"),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue where an earlier run stopped; a finished run is left as it is.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder of an earlier run.")]
DeviceOption = Annotated[str, typer.Option("--device", help="Device to compute on: auto, cpu, cuda, cuda:1, mps.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

Turned = Literal["auto", "always", "never"]


def smallest_option(found: str, default: str) -> Any:
    """--smallest. found: "to find", or who finds it. default: whose choice holds without it."""
    return typer.Option(
        "--smallest",
        min=0.002,
        max=1.0,
        help=f"Smallest face {found}: box of its points as a share of the image's longer side.",
        show_default=default,
    )


DEFAULT_RECIPE = "synthetic"


@dataclass(frozen=True)
class Workspace:
    """A recipe and the folder in which its stages leave their results."""

    recipe: RecipeConfig
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def data_config(self) -> DataConfig:
        """What was prepared here (--root and overrides included), else what the recipe would prepare."""
        return FaceDataset(self.data).config if (self.data / RECORD).is_file() else self.recipe.data

    @property
    def teacher(self) -> Path:
        return self.folder / "teacher"

    @property
    def student(self) -> Path:
        return self.folder / "student"

    @property
    def quant(self) -> Path:
        return self.folder / "quant"

    @property
    def shipped_tflite(self) -> Path:
        """The file that `pairfld quantize` made to be shipped."""
        return self.quant / f"model-{self.recipe.quant.release}.tflite"

    @property
    def validate(self) -> Path:
        return self.folder / "validate"

    @property
    def package(self) -> Path:
        return self.folder / "package"


def workspace(recipe: str, work: Path | None, overrides: list[str] | None = None, **sections: str | None) -> Workspace:
    """Load the recipe, with other files for some sections (PairError with all its errors), and name its folder."""
    config = load_recipe(recipe, overrides or [], **sections)
    return Workspace(config, work or Path("runs") / config.name)


def print_json(tree: Any) -> None:
    """JSON on stdout, uncoloured and unwrapped; plain ASCII where stdout takes nothing else."""
    ascii_only = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    sys.stdout.write(json.dumps(tree, indent=2, ensure_ascii=ascii_only) + "\n")


def print_text(text: str) -> None:
    """A text on stdout as it is."""
    sys.stdout.write(text)


def say(message: str) -> None:
    """A sentence for the person watching, on stderr."""
    err.print(message, highlight=False, soft_wrap=True, markup=False)


def say_passed_over(passed_over: Mapping[str, int]) -> None:
    """One line on the files and folders that were no data, by reason; nothing where there are none."""
    from pair_fld.data.sources.files import passed_over_sentence

    if sentence := passed_over_sentence(Counter(passed_over)):
        say(sentence)


def complain(word: str, error: BaseException | str) -> None:
    """The sentence that ends a call, after a red word; a path may hold brackets, so it is no markup."""
    err.print(Text.assemble((word, "bold red"), " ", str(error)), soft_wrap=True)


@contextmanager
def progress(what: str) -> Generator[Progress]:
    """A progress line on stderr. Call with (done, all, note): a bar in a terminal, else a line every ten seconds."""
    if err.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with RichProgress(*columns, console=err) as bar:
            task = bar.add_task(what, total=None, note="", rate="")
            started, origin = time.monotonic(), None

            def show(done: int, total: int, note: str = "") -> None:
                nonlocal origin
                origin = done if origin is None else origin
                rate = f"{(done - origin) / max(time.monotonic() - started, 1e-3):.1f}/s"
                bar.update(task, completed=done, total=total, note=note, rate=rate)

            yield show
        return
    last, started = -10.0, time.monotonic()

    def line(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic() - started
        if now - last >= 10 or done == total:
            last = now
            err.print(f"{what} {done}/{total} {now:.0f} s {note}", highlight=False, soft_wrap=True)

    yield line
