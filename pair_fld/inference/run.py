"""Prediction on everything a person named: each image's files as soon as it is done, the summaries at the end."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pair_fld.errors import PairError
from pair_fld.inference.drafts import Draft, write_coco, write_labelme
from pair_fld.inference.drawing import FaceSheet, check_image_format, draw_faces, write_image
from pair_fld.inference.inputs import Collected, Video, frame_count, frame_rate, frames
from pair_fld.inference.outputs import DRAWING, STDOUT, TEXT, ResultFiles, frame_name, frame_numbers
from pair_fld.inference.video_file import VideoWriter, check_video_format, write_video
from pair_fld.inference.writers import ImageResult, write_csv, write_json, write_json_lines
from pair_fld.outputs import OutputGuard
from pair_fld.progress import Progress, Say, counted, say_nothing
from pair_fld.runtime.face import Face
from pair_fld.runtime.landmark_files import read_faces, write_faces
from pair_fld.runtime.main import make_writable
from pair_fld.runtime.pipeline import Pipeline
from pair_fld.runtime.scheme import NUM_POINTS
from pair_fld.runtime.stream import Request, Response, follow, predict_many
from pair_fld.runtime.tracker import Tracker, TrackerConfig

# errors of the machine, not of one image's file: every further image would meet them too
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE)
_ADVICE = "Choose another place, --resume to do only what is missing, or --overwrite to replace them."


@dataclass
class PredictionRun:
    """One run over images and videos.

    Args:
        found: the images and videos.
        outputs: what to write.
        inputs: every other file that the call reads (the model); nothing that is read is ever written over.
        resume: images whose files are there are not done again; no file that is there is replaced.
        overwrite: earlier results are replaced; together with `resume` only the summaries are.
        every: take every N-th frame of a video.
        limit: frames per video at most.
        tracking: how faces of videos are followed; None: every frame for itself.
        say: prints a sentence for the person who watches.
    """

    found: Collected
    outputs: ResultFiles
    inputs: Sequence[Path] = ()
    resume: bool = False
    overwrite: bool = False
    every: int = 1
    limit: int | None = None
    tracking: TrackerConfig | None = None
    say: Say = say_nothing
    images: int = 0  # done, failed ones included
    faces: int = 0
    failed: int = 0
    sheet: FaceSheet = field(default_factory=FaceSheet)
    _results: list[ImageResult] = field(default_factory=list)
    _drafts: list[Draft] = field(default_factory=list)
    _line: Callable[[ImageResult], None] | None = None

    def __post_init__(self) -> None:
        self._guard = OutputGuard([*self.found.read, *self.inputs], overwrite=self.overwrite)

    def check(self) -> None:
        """Everything that can be refused, before any work: PairError, or OSError for a folder that is not writable."""
        out = self.outputs
        if self.found.videos and (out.coco or out.labelme):
            message = f"{self.found.videos[0]} has no image files, which --coco and --labelme are labels of."
            raise PairError("--coco", message=message, remedy="Write its frames as images first.")
        if out.json == out.csv == STDOUT:
            message = "--json - and --csv - would both write to stdout."
            raise PairError("--csv", message=message, remedy="Give one of them a file.")
        if out.sheet is not None:
            check_image_format(out.sheet)
        for path in out.summaries:
            self._guard.claim(path)
        self._check_one_video()
        earlier = [path for path in self._planned() if self._is_earlier(path)]
        if earlier:
            more = f" and {len(earlier) - 1} more" if len(earlier) > 1 else ""
            raise PairError(earlier[0], "no earlier results", f"a file of that name{more}", _ADVICE)
        files = out.summaries if out.one_video is None else [*out.summaries, out.one_video]
        for folder in {*out.folders, *(file.parent for file in files)}:
            make_writable(folder)

    def _check_one_video(self) -> None:
        path = self.outputs.one_video
        if path is None:
            return
        check_video_format(path)
        if len(self.found.videos) != 1 or self.found.images or self.outputs.stills:
            message = f"{path} can hold one drawn video and nothing else."
            raise PairError("--draw", message=message, remedy="Name a folder instead.")

    def _planned(self) -> Iterator[Path]:
        """The files of all images, and those of the videos' frames that are there already."""
        for _, name in self.found.images:
            yield from self.outputs.of_image(name)
        for video in self.found.videos:
            drawn = self.outputs.video(video.title)
            if drawn is not None:
                yield drawn
            stills = self.outputs.drawings if self.outputs.stills else None
            for folder, suffix in ((self.outputs.texts, TEXT), (stills, DRAWING)):
                if folder is None:
                    continue
                for number in frame_numbers(folder, video.title, suffix):
                    if number % self.every == 0 and (self.limit is None or number < self.limit * self.every):
                        yield folder / f"{frame_name(video.title, number)}{suffix}"

    def _is_earlier(self, path: Path) -> bool:
        """Whether an earlier result is in the way; PairError when it is an input."""
        self._guard.check(path, kept=True)
        return os.path.exists(path) and not (self.resume or self.overwrite)

    @property
    def _is_stream(self) -> bool:
        """Whether --json is written line by line, as the results come: where there is a video or a camera."""
        return self.outputs.json is not None and bool(self.found.videos)

    def run(self, pipelines: Sequence[Pipeline], progress: Progress) -> None:
        """Predict and write the files of every image; one that fails gets a sentence and the others are done."""
        total = len(self.found.images) + sum(frame_count(v, self.every, self.limit) for v in self.found.videos)
        out = self.outputs
        wanted = any(p is not None for p in (out.drawings, out.sheet, out.coco, out.labelme))

        def finish(response: Response) -> None:
            self._finish(response)
            progress(self.images, max(total, self.images), counted(self.faces, "face"))

        with ExitStack() as stack:
            if self._is_stream and out.json is not None:
                self._line = stack.enter_context(write_json_lines(out.json))
            for response in predict_many(self._image_requests(), pipelines, images=wanted):
                finish(response)
            for video in self.found.videos:
                self._predict_video(video, pipelines, wanted, finish)

    def _predict_video(
        self, video: Video, pipelines: Sequence[Pipeline], wanted: bool, finish: Callable[[Response], None]
    ) -> None:
        """The frames of a video, in order; what is drawn of them appears when the video ends."""
        requests = self._frame_requests(video)
        if self.tracking is None:
            responses = predict_many(requests, pipelines, images=wanted)
        else:
            responses = follow(requests, Tracker(pipelines[0], self.tracking), images=wanted)
        path = self.outputs.video(video.title)
        writer: VideoWriter | None = None
        try:
            drawn = path is not None and self._may_write(path)
            with ExitStack() as stack:
                try:
                    for response in responses:
                        if drawn and path is not None and response.image is not None:
                            if writer is None:
                                writer = stack.enter_context(write_video(path, frame_rate(video) / self.every))
                            writer.add(draw_faces(response.image, response.faces), response.request.time or 0.0)
                        finish(response)
                except KeyboardInterrupt:
                    if not isinstance(video.source, int):
                        raise
                    self.say("camera stopped")  # it ends no other way: what it showed is kept
        except PairError as error:
            self._note_error(video.title, str(video), str(error))

    def _image_requests(self) -> Iterator[Request]:
        """The images; faces that an earlier run wrote come with their request."""
        for path, name in self.found.images:
            yield from self._request(name, str(path), path)

    def _frame_requests(self, video: Video) -> Iterator[Request]:
        """The frames of a video, in the same way."""
        for frame in frames(video, self.every, self.limit):
            name = frame_name(video.title, frame.number)
            yield from self._request(name, name, frame.image, frame.time)

    def _request(
        self, name: str, image: str, source: Path | np.ndarray, time: float | None = None
    ) -> Iterator[Request]:
        text = self.outputs.text(name)
        try:
            yield Request(name, source, _earlier_faces(text) if self.resume and text is not None else None, time)
        except (ValueError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            reason = reason.removeprefix(f"{text}: ").removeprefix(f"{text}, ")
            self._note_error(name, image, f"{text} is kept, but holds no landmarks of ours ({reason}). Move it away.")

    def _finish(self, response: Response) -> None:
        name, source = response.request.key, response.request.image
        image = str(source) if isinstance(source, Path) else name
        if response.error is not None:
            self._note_error(name, image, response.error)
            return
        try:
            self._write(name, response)
        except PairError as error:
            self._note_error(name, image, str(error))
            return
        except OSError as error:
            if error.errno in _FATAL:
                raise
            self._note_error(name, image, f"{image}: its results cannot be written ({error.strerror or error})")
            return
        if self.outputs.sheet is not None and response.image is not None:
            self.sheet.add(response.image, response.faces)
        if self.outputs.coco is not None and isinstance(source, Path) and response.image is not None:
            self._drafts.append(_draft(source, response.image, response.faces))
        self._keep(ImageResult(name, image, response.faces, time=response.request.time))
        self.faces += len(response.faces)

    def _write(self, name: str, response: Response) -> None:
        text, drawing = self.outputs.text(name), self.outputs.drawing(name)
        if text is not None and self._may_write(text):
            text.parent.mkdir(parents=True, exist_ok=True)
            write_faces(text, [face.points for face in response.faces])
        still = self.outputs.stills or isinstance(response.request.image, Path)
        if drawing is not None and still and response.image is not None and self._may_write(drawing):
            write_image(drawing, draw_faces(response.image, response.faces))
        labels, source = self.outputs.labels(name), response.request.image
        if labels is not None and response.image is not None and isinstance(source, Path) and self._may_write(labels):
            write_labelme(labels, _draft(source, response.image, response.faces))

    def _may_write(self, path: Path) -> bool:
        """Claim a file; False where it is there and stays. PairError as `OutputGuard.claim`."""
        self._guard.claim(path, kept=self.resume)
        return not (self.resume and os.path.exists(path))

    def _note_error(self, name: str, image: str, error: str) -> None:
        self.say(error)
        self.failed += 1
        self._keep(ImageResult(name, image, error=error))

    def _keep(self, result: ImageResult) -> None:
        self.images += 1
        if self._line is not None:
            self._line(result)
        if (self.outputs.json is not None and self._line is None) or self.outputs.csv is not None:
            self._results.append(result)

    def write_summaries(self) -> None:
        """The JSON, the CSV and the sheet of all images."""
        out = self.outputs
        if out.json is not None and self._line is None:
            write_json(out.json, self._results)
        if out.csv is not None:
            write_csv(out.csv, self._results)
        if out.coco is not None:
            write_coco(out.coco, self._drafts)
        if out.sheet is None:
            return
        if not self.sheet.crops:
            self.say(f"{out.sheet}: not written, no face was found")
            return
        self.sheet.write(out.sheet)
        if self.sheet.left_out:
            shown = len(self.sheet.crops)
            self.say(f"{out.sheet} shows the first {shown} faces, {self.sheet.left_out} more were found")


def _draft(path: Path, image: np.ndarray, faces: Sequence[Face]) -> Draft:
    return Draft(path, (image.shape[1], image.shape[0]), [face.points for face in faces])


def _earlier_faces(text: Path) -> tuple[np.ndarray, ...] | None:
    """The faces of an earlier run's file, None where there is none. ValueError, OSError when it holds others."""
    if not os.path.exists(text):
        return None
    faces = tuple(read_faces(text))
    for face in faces:
        if face.shape != (NUM_POINTS, 2) or not np.isfinite(face).all():
            raise ValueError(f"{text}: expected {NUM_POINTS} finite points per face")
    return faces
