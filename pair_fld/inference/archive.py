"""Opening a submission archive to use it here: its weights only, never its code."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pair_fld.errors import PairError
from pair_fld.runtime.detector import FILES as DETECTOR_FILES
from pair_fld.runtime.pipeline import Pipeline, PipelineOptions, load_pipeline

MODEL_FILES = ("model.tflite", "model.onnx")
_PACKAGE = Path(__file__).parents[1]
# of the working directory, of the package's own checkout, of the installed package
SHIPPED_FOLDERS = (Path("submissions/tiny"), _PACKAGE.parent / "submissions/tiny", _PACKAGE / "_shipped")


def shipped_archive() -> Path:
    """The shipped archive of the checkout or of the installed package; PairError when there is none."""
    found = [archive for folder in SHIPPED_FOLDERS for archive in sorted(folder.glob("*.zip"))]
    if not found:
        raise PairError("model", "the shipped archive (submissions/tiny/*.zip)", "none", "Give one with --archive.")
    return found[0]


def weight_files(archive: Path) -> list[Path]:
    """The files that `unpacked` reads: the archive, or the weights in a folder of one unpacked."""
    return [archive, *(archive / name for name in (*MODEL_FILES, *DETECTOR_FILES))]


@contextmanager
def unpacked(archive: Path) -> Generator[Path]:
    """A folder with the weights of an archive (.zip, or a folder of one unpacked).

    Raises:
        PairError: it is no such archive. OSError: its weights cannot be written to the folder for temporary files.
    """
    if archive.is_dir():
        yield archive
        return
    weights = _read_weights(archive)
    with tempfile.TemporaryDirectory(prefix="pairfld-model-") as scratch:
        folder = Path(scratch)
        try:
            for name, data in weights.items():
                (folder / name).write_bytes(data)
        except OSError as error:  # most often a full disk, which is not the archive's doing
            reason = error.strerror or str(error)
            raise OSError(
                error.errno, f"{reason}. The archive is unpacked there; set TMPDIR to a folder with space", str(folder)
            ) from None
        yield folder


def _read_weights(archive: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(archive) as packed:
            names = sorted(set(packed.namelist()) & {*MODEL_FILES, *DETECTOR_FILES})
            return {name: packed.read(name) for name in names}
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        # RuntimeError: an encrypted file. NotImplementedError: a compression that Python does not know.
        found = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise PairError(archive, "an archive of pairfld package", found, "Check the path.") from None


def open_pipelines(folder: Path, archive: Path, count: int, options: PipelineOptions | None = None) -> list[Pipeline]:
    """`count` pipelines of a folder of `unpacked`, for as many threads; PairError naming `archive` when it is none."""
    try:
        return [load_pipeline(folder, options=options) for _ in range(count)]
    except ValueError as error:
        reason = str(error).replace(f"{folder}/", "").replace(f"{folder}: ", "")
        raise PairError(archive, "an archive of pairfld package", reason, "Pack it again.") from None
