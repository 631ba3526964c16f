"""What an annotator is shown: images, labelled or not, or the sources of a data configuration."""

from __future__ import annotations

import os
from pathlib import Path

from pair_fld.annotators.annotate import WHOLE_IMAGE
from pair_fld.config import DataConfig, SourceConfig, load_section
from pair_fld.data.sources.files import IMAGE_SUFFIXES
from pair_fld.data.sources.usual import usual_source
from pair_fld.errors import PairError
from pair_fld.progress import Say


def data_of(images: str, root: Path | None = None, say: Say | None = None) -> DataConfig:
    """The data configuration that `images` names, or one of a single source.

    Args:
        images: a folder of images or a label file of any kind that `usual_source` knows, the name of a file in
            configs/data, or the path of such a file.
        root: in place of the configuration's own root.
        say: is told where a folder holds files that may be labels, and are not read.

    Raises:
        PairError: there is neither such a folder or file nor such a configuration.
    """
    path = Path(images)
    if not path.exists() or (path.is_file() and path.suffix.lower() in (".yaml", ".yml")):
        config = load_section(DataConfig, "data", images)
        return config if root is None else config.model_copy(update={"root": str(root)})
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        expected = "a folder of images, a label file or a data configuration"
        raise PairError(path, expected, "an image", "Give its folder.")
    usual = usual_source(path)
    if usual.note and say is not None:
        say(usual.note)
    return _one_source(usual.kind, usual.path, path if path.is_dir() else path.parent)


def _one_source(kind: str, path: Path, root: Path) -> DataConfig:
    """root: what the faces' keys are relative to."""
    labels, box = ("none", WHOLE_IMAGE) if kind == "unlabelled" else ("human", None)
    source = SourceConfig.model_validate(
        {
            "name": "/".join(path.resolve().parts[-2:]),
            "kind": kind,
            "path": os.path.relpath(path, root),
            "labels": labels,
            "split": "train",
            "box": box,
        }
    )
    return DataConfig(sources=[source], root=str(root))
