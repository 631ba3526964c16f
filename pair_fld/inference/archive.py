"""Opening a submission archive to use it here: its weights only, never its code."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pair_fld.errors import PairError
from pair_fld.runtime.detector import FILES as DETECTOR_FILES
from pair_fld.runtime.pipeline import Pipeline, load_pipeline

MODEL_FILES = ("model.tflite", "model.onnx")
_PACKAGE = Path(__file__).parents[1]
# of the working directory, of the package's own checkout, of the installed package
BASELINE_FOLDERS = (Path("submissions/baseline"), _PACKAGE.parent / "submissions/baseline", _PACKAGE / "_baseline")


def shipped_archive() -> Path:
    """The baseline archive of the checkout or of the installed package; PairError when there is none."""
    found = [archive for folder in BASELINE_FOLDERS for archive in sorted(folder.glob("*.zip"))]
    if not found:
        raise PairError(
            "model", "the baseline archive (submissions/baseline/*.zip)", "none", "Give an archive with --model."
        )
    return found[0]


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """A folder with the weights of an archive (.zip, or a folder of one unpacked)."""
    if archive.is_dir():
        yield archive
        return
    with tempfile.TemporaryDirectory(prefix="pairfld-model-") as scratch:
        folder = Path(scratch)
        try:
            with zipfile.ZipFile(archive) as packed:
                for name in set(packed.namelist()) & {*MODEL_FILES, *DETECTOR_FILES}:
                    (folder / name).write_bytes(packed.read(name))
        except (OSError, zipfile.BadZipFile) as fault:
            found = "no such file" if isinstance(fault, FileNotFoundError) else str(fault)
            raise PairError(archive, "an archive of pairfld package", found, "Check the path.") from None
        yield folder


def open_pipelines(folder: Path, archive: Path, count: int, refine: int | None = None) -> list[Pipeline]:
    """`count` pipelines of a folder of `unpacked`, for as many threads; PairError naming `archive` when it is none."""
    try:
        return [load_pipeline(folder, refine=refine) for _ in range(count)]
    except ValueError as fault:
        reason = str(fault).replace(f"{folder}/", "").replace(f"{folder}: ", "")
        raise PairError(archive, "an archive of pairfld package", reason, "Pack it again.") from None
