"""What an annotator is shown: a folder of images, labelled or not, or the sources of a data configuration."""

from __future__ import annotations

from pathlib import Path

from pair_fld.annotators.annotate import WHOLE_IMAGE
from pair_fld.config import DataConfig, SourceConfig, load_section
from pair_fld.errors import PairError


def data_of(images: str, root: Path | None = None) -> DataConfig:
    """The data configuration that `images` names, or one of a single folder.

    Args:
        images: a folder of images (with .pts labels where it has any), the name of a file in configs/data, or the path
            of such a file.
        root: in place of the configuration's own root.

    Raises:
        PairError: there is neither such a folder nor such a configuration.
    """
    folder = Path(images)
    if folder.is_dir():
        return _folder_config(folder)
    if folder.exists() and folder.suffix not in (".yaml", ".yml"):
        raise PairError(folder, "a folder of images or a data configuration", "a file", "Give its folder.")
    config = load_section(DataConfig, "data", images)
    return config if root is None else config.model_copy(update={"root": str(root)})


def _folder_config(folder: Path) -> DataConfig:
    labelled = next(folder.rglob("*.pts"), None) is not None
    kind, labels = ("ibug", "human") if labelled else ("unlabelled", "none")
    box = None if labelled else WHOLE_IMAGE
    source = SourceConfig(
        name="/".join(folder.resolve().parts[-2:]), kind=kind, path=".", labels=labels, split="train", box=box
    )
    return DataConfig(sources=[source], root=str(folder))
