"""A list of images in, one landmark text file per image out: what the archive's run_model.py calls.

python run_model.py IMAGE_LIST OUTPUT_DIR
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .landmark_files import write_faces
from .pipeline import Pipeline, PipelineOptions, load_pipeline
from .search import TURNED
from .stream import Request, cores, predict_many

# errors that one file's name or place has, and the others' need not
_ONE_FILE = (errno.ENAMETOOLONG, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EILSEQ, errno.EINVAL)


def read_list(path: str | Path) -> list[Path]:
    """Image paths of a list file, one per line; blank lines, Windows line ends and a byte-order mark are
    tolerated.

    A relative path is looked up in the working directory, then beside the list; one found in neither is
    returned as it stands, so that the reader names it. A path listed twice is returned once.

    Raises:
        ValueError: no list, or nothing in it. OSError: it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: expected a text file with one image path per line, found no such file")
    data = path.read_bytes()
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode("utf-16", errors="replace") if wide else data.decode("utf-8-sig", errors="surrogateescape")
    names = [line.strip() for line in text.split("\n")]
    images = [_locate(name, path.parent) for name in names if name]
    if not images:
        raise ValueError(f"{path}: expected one image path per line, found an empty list")
    return list(dict.fromkeys(images))


def _locate(name: str, list_folder: Path) -> Path:
    candidates = [Path(name), list_folder / name]
    if "\\" in name:  # written on Windows
        candidates += [Path(name.replace("\\", "/")), list_folder / name.replace("\\", "/")]
    return next((c for c in candidates if os.path.isfile(c)), candidates[0])  # False for a name too long


def output_paths(images: Sequence[Path], folder: Path) -> list[Path]:
    """The text file of each image; ValueError naming every two images that would write the same one."""
    owner: dict[str, Path] = {}
    clashes = []
    for image in images:
        first = owner.setdefault(image.stem, image)
        if first != image:
            clashes.append(f"{first} and {image} would both write {image.stem}.txt")
    if clashes:
        raise ValueError("; ".join(clashes) + "; rename one of each pair or use two lists and two output folders")
    return [folder / f"{image.stem}.txt" for image in images]


def refuse_inputs(targets: Sequence[Path], inputs: Sequence[Path]) -> None:
    """ValueError when a file to write is one of the inputs, under whatever spelling or through a link."""
    for target in targets:
        if os.path.exists(target) and any(os.path.exists(i) and os.path.samefile(target, i) for i in inputs):
            raise ValueError(f"{target} is an input and is never written over; choose another output folder")


def run(
    pipelines: Sequence[Pipeline], images: Sequence[Path], folder: Path, *, skip_existing: bool = False
) -> tuple[int, int]:
    """Write `folder`/<stem>.txt for each image; an image that fails gets a line on stderr and no file.

    Returns:
        (faces written, images failed).

    Raises:
        ValueError: see `output_paths`. OSError: the folder cannot be made or written to, or the disk is full.
    """
    targets = {str(p): target for p, target in zip(images, output_paths(images, folder))}  # noqa: B905 (Python 3.9)
    make_writable(folder)
    todo = [Request(str(p), p) for p in images if not (skip_existing and os.path.isfile(targets[str(p)]))]
    faces = failed = 0
    for response in predict_many(todo, pipelines):
        if response.error is not None:
            print(response.error, file=sys.stderr)
            failed += 1
            continue
        try:
            write_faces(targets[response.request.key], [face.points for face in response.faces])
        except OSError as error:
            if error.errno not in _ONE_FILE:
                raise
            print(f"{response.request.key}: its landmarks cannot be written ({error.strerror})", file=sys.stderr)
            failed += 1
            continue
        faces += len(response.faces)
    return faces, failed


def make_writable(folder: Path) -> None:
    """Make a folder and see that files can be written there; OSError with a sentence when not."""
    probe = folder / f".{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"{folder}: expected a folder that can be written to, found: {error.strerror}") from None


def default_threads() -> int:
    """Images predicted in parallel: one per core that this process may use, eight at most."""
    return min(8, cores())


def main(arguments: Sequence[str] | None = None, folder: str | Path = ".") -> int:
    """The command line of run_model.py; `folder` is the unpacked archive.

    Returns:
        0: every image done. 2: wrong call, or some images could not be read. 130: interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="run_model.py",
        description="Find the 51 landmarks of every face: OUTPUT_DIR/<image>.txt for each image.",
    )
    parser.add_argument("image_list", metavar="IMAGE_LIST", help="text file with one image path per line")
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", help="folder for the text files; made if missing")
    parser.add_argument("--threads", type=int, default=default_threads(), help="images predicted in parallel")
    parser.add_argument("--refine", type=int, default=None, help="refinement passes (default: the model's)")
    parser.add_argument("--turned", choices=TURNED, help="when turned views are looked at (default: the model's)")
    parser.add_argument("--smallest", type=float, help="smallest face, share of the longer side (default: the model's)")
    parser.add_argument("--min-score", type=float, help="least score of a face, 0 ... 1 (default: the model's)")
    parser.add_argument("--continue", dest="resume", action="store_true", help="skip images that have their file")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    target = Path(options.output_dir)
    try:
        images = read_list(options.image_list)
        refuse_inputs(output_paths(images, target), [Path(options.image_list)])  # before any model is loaded
        chosen = PipelineOptions(options.refine, options.turned, options.smallest, options.min_score)
        pipelines = [load_pipeline(folder, options=chosen) for _ in range(max(1, options.threads))]
        faces, failed = run(pipelines, images, target, skip_existing=options.resume)
    except (ValueError, OSError) as error:
        print(f"run_model.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("run_model.py: interrupted; finished files are whole, --continue does the rest", file=sys.stderr)
        return 130
    seconds = time.perf_counter() - started
    print(
        f"{len(images) - failed} of {len(images)} images, {faces} faces, {seconds:.1f} s",
        file=sys.stderr,
    )
    if failed:
        print(f"run_model.py: {failed} of {len(images)} images failed, see above", file=sys.stderr)
        return 2
    return 0
