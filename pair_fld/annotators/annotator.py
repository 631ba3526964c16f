"""Annotators: folders or zips with run_model.py IMAGE_LIST OUTPUT_DIR and requirements.txt, the contest's interface."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from pydantic import ValidationError

from pair_fld.annotators.environment import CallError, cached_environment, run_program
from pair_fld.config import Strict
from pair_fld.errors import PairError
from pair_fld.runtime.landmark_files import read_faces

SCRIPT, REQUIREMENTS, ABOUT = "run_model.py", "requirements.txt", "about.yaml"
SHIPPED = ("mediapipe", "dlib")


class About(Strict):
    """about.yaml: what an annotator is.

    points: how many per face. licence: of its code and its model. source: where it comes from.
    warning: said on the card of every model that learnt from its labels.
    training_only: it has seen test images, so it may label training images only.
    """

    title: str
    points: int | None = None
    licence: str = "unknown"
    source: str = ""
    notes: str = ""
    warning: str = ""
    training_only: bool = False


@dataclass(frozen=True)
class Annotator:
    """An unpacked annotator.

    Attributes:
        name: what the user called it, without folder and suffix.
        folder: where its run_model.py lies.
        hash: sha256 over its own files; equal hashes give equal labels.
    """

    name: str
    folder: Path
    about: About
    hash: str

    def interpreter(self, python: str) -> str:
        """The interpreter of its cached environment, made on first use; PairError when that fails."""
        try:
            return cached_environment(self.folder / REQUIREMENTS, python)
        except CallError as error:
            raise PairError(
                self.name,
                "requirements.txt that can be installed",
                str(error),
                "Correct it, or name another interpreter with --python.",
            ) from None

    def predict(self, interpreter: str, images: Sequence[Path], scratch: Path) -> list[list[np.ndarray]]:
        """The faces of each image, (N, 2) _img each, in the annotator's order.

        Args:
            images: files of distinct stems.
            scratch: a folder for the list and the results.

        Raises:
            PairError: run_model.py failed, or its result is not contest text.
        """
        scratch = scratch.absolute()  # the program runs in another folder
        listing, out = scratch / "list.txt", scratch / "out"
        listing.write_text("".join(f"{path.resolve()}\n" for path in images), encoding="utf-8")
        remedy = "Run it by hand on one image and correct it."
        try:
            run_program([interpreter, SCRIPT, str(listing), str(out)], self.folder, SCRIPT)
            return [self._read(out / f"{path.stem}.txt") for path in images]
        except CallError as error:
            raise PairError(self.name, message=f"{self.name}: run_model.py failed, {error}.", remedy=remedy) from None
        except (ValueError, OSError) as error:
            raise PairError(self.name, "contest text for every image", str(error), remedy) from None

    def _read(self, path: Path) -> list[np.ndarray]:
        faces = read_faces(path)
        for face in faces:
            if self.about.points is not None and len(face) != self.about.points:
                raise ValueError(f"{path.name}: {len(face)} points in place of {self.about.points}")
        return [face for face in faces if np.isfinite(face).all()]


@contextmanager
def open_annotator(where: str) -> Generator[Annotator]:
    """An annotator by its name (mediapipe, dlib), its folder or its zip.

    Raises:
        PairError: there is none, or it lacks run_model.py or requirements.txt.
    """
    path = Path(__file__).parent / where if where in SHIPPED else Path(where)
    remedy = f"Give a folder or zip with {SCRIPT} and {REQUIREMENTS}, or one of {', '.join(SHIPPED)}."
    if path.is_dir():
        yield _annotator(path, path.name, remedy)
        return
    if not zipfile.is_zipfile(path):
        raise PairError(where, "an annotator", "no such folder or zip", remedy)
    with tempfile.TemporaryDirectory(prefix="pairfld-annotator-") as scratch:
        try:
            with zipfile.ZipFile(path) as packed:
                packed.extractall(scratch)
        except (OSError, zipfile.BadZipFile) as error:
            raise PairError(path, "a zip that can be unpacked", str(error), remedy) from None
        yield _annotator(Path(scratch), path.stem, remedy)


def _annotator(folder: Path, name: str, remedy: str) -> Annotator:
    for needed in (SCRIPT, REQUIREMENTS):
        if not (folder / needed).is_file():
            raise PairError(folder, f"an annotator with {needed}", "none", remedy)
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return Annotator(name, folder, _about(folder / ABOUT, name), digest.hexdigest())


def _about(path: Path, name: str) -> About:
    if not path.is_file():
        return About(title=name)
    try:
        return About.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        sentence = " ".join(str(error).split())
        raise PairError(path, "title, points and licence", sentence, "Correct the file.") from None
