"""The configuration files that come with the package: listed, found by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pair_fld.config.loading import config_root
from pair_fld.errors import PairError


@dataclass(frozen=True)
class ConfigFile:
    """section: the folder below configs, e.g. student. purpose: the first sentence of the file's header."""

    section: str
    name: str
    path: Path
    purpose: str

    @property
    def key(self) -> str:
        """How a user names it: SECTION/NAME."""
        return f"{self.section}/{self.name}"


def list_configs(section: str | None = None) -> list[ConfigFile]:
    """Every file below configs, or those of one section, by section and name; PairError for an unknown section."""
    root = config_root()
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    if section is not None and section not in [folder.name for folder in folders]:
        known = ", ".join(folder.name for folder in folders)
        raise PairError(section, message=f"There is no section {section!r}.", remedy=f"Known sections: {known}.")
    return [
        ConfigFile(folder.name, path.stem, path, _purpose(path))
        for folder in folders
        if section in (None, folder.name)
        for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)
    ]


def find_shipped(key: str) -> ConfigFile:
    """The file of SECTION/NAME, or of a bare NAME that one section alone has.

    Raises:
        PairError: there is none, or several sections have one.
    """
    files = list_configs()
    found = [file for file in files if key in (file.key, file.name)]
    if len(found) > 1:
        several = ", ".join(file.key for file in found)
        raise PairError(key, message=f"Several sections have a file {key!r}.", remedy=f"Name one of {several}.")
    if not found:
        raise PairError(key, message=f"There is no configuration {key!r}.", remedy="pairfld configs list names them.")
    return found[0]


def _purpose(path: Path) -> str:
    header: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# ") or line.startswith("#  "):
            break
        header.append(line[2:].strip())
    text = " ".join(header)
    end = text.find(". ")
    return text if end < 0 else text[: end + 1]
