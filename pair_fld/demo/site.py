"""The folder of a page: static files that any web server can show."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from pair_fld.demo.constants import archive_description, constants_module
from pair_fld.demo.engine import find_engine, write_engine
from pair_fld.errors import PairError
from pair_fld.inference.archive import open_pipelines, unpacked
from pair_fld.io import file_hash
from pair_fld.runs import fresh_folder

STAGE = "demo"
_WEIGHTS = ("model.tflite", "detector.tflite")
_LICENCE = "LICENSE-detector.txt"


def write_site(
    archive: Path,
    folder: Path,
    *,
    engine_folder: Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """A page that runs `archive`, with the engine beside it.

    Args:
        archive: zip of `pairfld package`, or its unpacked folder.
        folder: a new or empty one, or with `overwrite` the page of an earlier call.
        engine_folder: see `engine.find_engine`.

    Raises:
        PairError: it is no such archive or holds no .tflite files, the folder is in use, the engine cannot be had.
    """
    with fresh_folder(folder, STAGE, overwrite=overwrite, inputs=[archive], resumes=False) as draft:
        with unpacked(archive) as weights:
            for name in _WEIGHTS:
                if not (weights / name).is_file():
                    found = "one without it"
                    raise PairError(archive, f"an archive with {name}", found, "Pack it with a .tflite model.")
            (pipeline,) = open_pipelines(weights, archive, 1)
            description = archive_description(pipeline, archive.stem, file_hash(weights / _WEIGHTS[0]))
            for name in _WEIGHTS:
                shutil.copyfile(weights / name, draft / name)
        engine = find_engine(engine_folder, say)
        write_page(draft)
        (draft / "archive.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        if licence := _licence(archive):
            (draft / _LICENCE).write_bytes(licence)
        (draft / "engine").mkdir()
        write_engine(engine, draft / "engine")
        (draft / "files.js").write_text(_files_script(draft), encoding="utf-8")


def write_page(folder: Path) -> None:
    """The page's own files and the runtime's constants, without an archive and an engine."""
    for source in files("pair_fld.demo").joinpath("page").iterdir():
        if source.is_file():
            (folder / source.name).write_bytes(source.read_bytes())
    (folder / "constants.js").write_text(constants_module(), encoding="utf-8")


def _files_script(site: Path) -> str:
    """What `page/offline.js` keeps, and a version that changes with any of it."""
    names = sorted(path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file())
    digest = hashlib.sha256("".join(f"{name} {file_hash(site / name)} " for name in names).encode()).hexdigest()
    kept = {"version": digest[:16], "files": ["./", *names]}
    return f"// Written by pairfld demo.\nself.SITE = {json.dumps(kept)};\n"


def _licence(archive: Path) -> bytes | None:
    """The licence of the archive's detector, which travels with its weights."""
    if archive.is_dir():
        path = archive / _LICENCE
        return path.read_bytes() if path.is_file() else None
    with zipfile.ZipFile(archive) as packed:
        return packed.read(_LICENCE) if _LICENCE in packed.namelist() else None
