"""`pairfld predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pair_fld.cli.console import progress, say
from pair_fld.errors import PairError

if TYPE_CHECKING:
    from pair_fld.inference.inputs import Collected
    from pair_fld.runtime.stream import Answer, Job

DEFAULT_OUT = Path("landmarks")
STDOUT = Path("-")


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("predict")(predict)


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES...",
            help="Pictures, folders, patterns, lists (.txt, a path a line), videos, or a camera's index.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for contest text files. [default: landmarks, if nothing else is asked]"
        ),
    ] = None,
    draw: Annotated[Path | None, typer.Option("--draw", help="Folder for the pictures with the points drawn.")] = None,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="One picture (.png, .jpg) of all faces found.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="All faces as JSON; - for stdout.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="All faces as CSV, one line a face.")] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="Archive of pairfld package, or its unpacked folder. [default: baseline]"),
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option("--refine", min=0, help="Times a crop is cut anew around its points. [default: the model's]"),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Pictures worked on at a time; 0: one a core.")] = 0,
    every: Annotated[int, typer.Option("--every", min=1, help="Videos: take every N-th frame.")] = 1,
    limit: Annotated[int | None, typer.Option("--frames", min=1, help="Videos: frames at most, of each.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an earlier run: what is already in the output folders stays.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results of that name.")] = False,
) -> None:
    """Find every face in pictures and write its 51 landmarks.

    Results are named after the pictures and keep the sub-folders of the folders given. A picture that cannot be
    read gets a line on stderr and the others are still done; the exit code is then 2. After Ctrl-C the finished
    files are whole, and --resume does the rest. A camera runs until --frames or Ctrl-C.
    """
    from pair_fld.data.sources.files import passed_over_sentence
    from pair_fld.inference.archive import open_pipelines, shipped_archive, unpacked
    from pair_fld.inference.inputs import collect
    from pair_fld.runtime.main import default_threads, make_writable

    if not any((out, draw, sheet, json, csv)):
        out = DEFAULT_OUT
    found = collect(inputs)
    if sentence := passed_over_sentence(found.passed_over):
        say(sentence)
    task = _Task(found, out, draw, resume, every, limit)
    task.refuse_existing([p for p in (sheet, json, csv) if p not in (None, STDOUT)], overwrite)
    for folder in {p for p in (out, draw, *(f.parent for f in (sheet, json, csv) if f not in (None, STDOUT))) if p}:
        make_writable(folder)
    archive = model or shipped_archive()
    with ExitStack() as stack:
        folder = stack.enter_context(unpacked(archive))
        pipelines = open_pipelines(folder, archive, threads or default_threads(), refine)
        bar = stack.enter_context(progress("predict"))
        _run(task, pipelines, sheet, bar)
    _write_summaries(task, sheet, json, csv)
    done = len(task.records) - task.failed
    say(f"{done} of {len(task.records)} pictures, {task.faces} faces" + _where(out, draw, sheet, json, csv))
    if task.failed:
        say(f"[bold red]error[/] {task.failed} of {len(task.records)} could not be read, see above")
        raise typer.Exit(2)


@dataclass
class _Task:
    """What is to be done and what came of it."""

    found: Collected
    out: Path | None
    draw: Path | None
    resume: bool
    every: int
    limit: int | None
    records: list[dict[str, Any]] = field(default_factory=list)
    faces: int = 0
    failed: int = 0
    sheet: Any = None

    def text(self, name: str) -> Path | None:
        return self.out / f"{name}.txt" if self.out else None

    def drawing(self, name: str) -> Path | None:
        return self.draw / f"{name}.jpg" if self.draw else None

    def refuse_existing(self, files: list[Any], overwrite: bool) -> None:
        """PairError when results would be overwritten and nobody allowed it."""
        if overwrite:
            return
        targets = (
            [] if self.resume else [p for _, n in self.found.pictures for p in (self.text(n), self.drawing(n)) if p]
        )
        there = [p for p in (*files, *targets) if p.exists() and not (self.resume and p in files)]
        if there:
            more = f" and {len(there) - 1} more" if len(there) > 1 else ""
            remedy = "Choose another place, --resume to do only what is missing, or --overwrite to replace them."
            raise PairError(there[0], "no earlier results", f"a file of that name{more}", remedy)

    def jobs(self) -> Iterator[Job]:
        """The pictures, then the frames; faces that an earlier run wrote come with their job."""
        from pair_fld.inference.inputs import frames
        from pair_fld.runtime.landmark_files import read_faces
        from pair_fld.runtime.stream import Job

        for picture, name in self.found.pictures:
            text, known = self.text(name), None
            if self.resume and text is not None and text.is_file():
                try:
                    known = tuple(read_faces(text))
                except ValueError:
                    known = None  # not ours, or damaged: answer again
            yield Job(name, picture, known)
        for video in self.found.videos:
            try:
                for name, frame in frames(video, self.every, self.limit):
                    yield Job(name, frame)
            except PairError as fault:
                self.note_fault(str(video), str(video), str(fault))

    def note_fault(self, name: str, picture: str, fault: str) -> None:
        from rich.markup import escape

        from pair_fld.inference.drawing import fault_json

        say(escape(fault))
        self.failed += 1
        self.records.append(fault_json(name, picture, fault))


def _run(task: _Task, pipelines: Any, sheet: Path | None, bar: Any) -> None:
    from pair_fld.inference.drawing import FaceSheet
    from pair_fld.inference.inputs import frame_count
    from pair_fld.runtime.stream import answers

    task.sheet = FaceSheet() if sheet else None
    total = len(task.found.pictures) + sum(frame_count(v, task.every, task.limit) for v in task.found.videos)
    try:
        for done, answer in enumerate(answers(task.jobs(), pipelines, images=bool(task.draw or sheet)), 1):
            _finish(task, answer)
            bar(done, max(total, done), f"{task.faces} faces")
    except KeyboardInterrupt:
        if not any(isinstance(video, int) for video in task.found.videos):
            raise
        say("camera stopped")  # it ends no other way: what it showed is kept


def _finish(task: _Task, answer: Answer) -> None:
    """Write what one picture asks for."""
    from pair_fld.inference.drawing import draw_faces, picture_json, write_picture
    from pair_fld.runtime.landmark_files import write_faces

    name, source = answer.job.key, answer.job.picture
    picture = str(source) if isinstance(source, Path) else name
    if answer.fault is not None:
        task.note_fault(name, picture, answer.fault)
        return
    text, drawing = task.text(name), task.drawing(name)
    if drawing is not None and answer.image is not None and not (task.resume and drawing.is_file()):
        write_picture(drawing, draw_faces(answer.image, answer.faces))
    if text is not None and answer.job.known is None:
        text.parent.mkdir(parents=True, exist_ok=True)
        write_faces(text, answer.faces)
    if task.sheet is not None and answer.image is not None:
        task.sheet.add(answer.image, answer.faces)
    task.records.append(picture_json(name, picture, answer.faces))
    task.faces += len(answer.faces)


def _write_summaries(task: _Task, sheet: Path | None, json: Path | None, csv: Path | None) -> None:
    from pair_fld.inference.drawing import json_text, write_csv
    from pair_fld.io import atomic_path

    if json == STDOUT:
        sys.stdout.write(json_text(task.records))
    elif json is not None:
        with atomic_path(json) as temporary:
            temporary.write_text(json_text(task.records), encoding="utf-8")
    if csv is not None:
        write_csv(csv, task.records)
    if sheet is not None:
        if task.sheet.crops:
            task.sheet.write(sheet)
            if task.sheet.left_out:
                say(f"{sheet} shows the first {len(task.sheet.crops)} faces, {task.sheet.left_out} more were found")
        else:
            say(f"{sheet}: not written, no face was found")


def _where(*targets: Path | None) -> str:
    written = ", ".join(str(t) for t in targets if t not in (None, STDOUT))
    return f"; written: {written}" if written else ""
