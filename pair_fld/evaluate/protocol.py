"""Published splits to measure on, found again in whatever part of their data set there is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pair_fld.config import DataConfig, ProtocolConfig, load_section
from pair_fld.errors import PairError
from pair_fld.evaluate.validate import Truth, listed_truth


@dataclass(frozen=True)
class Protocol:
    """faces: of the published split. truth: those of them that are there."""

    name: str
    faces: int
    truth: Truth

    def __str__(self) -> str:
        return f"protocol {self.name}: {len(self.truth.samples)} of its {self.faces} faces"


def open_protocol(name: str, folder: Path | None = None) -> Protocol:
    """A protocol by name (configs/protocol) or path.

    Args:
        folder: its data set, or its split alone; by default the one that the protocol names.

    Raises:
        PairError: no such protocol; no such data; or a part of the data set that the split cannot be found in.
    """
    config = load_section(ProtocolConfig, "protocol", name)
    if folder is None and not (own := Path(config.root) / (config.source.path or "")).exists():
        raise PairError(
            f"protocol {Path(name).stem}", f"its faces in {own}", "none", "Name their folder with --images."
        )
    source = config.source if folder is None else config.source.model_copy(update={"path": str(folder.absolute())})
    truth = listed_truth(DataConfig(sources=[source], root=config.root))
    there = len(truth.samples) + len(truth.left_out)
    if there == config.whole:
        # what is left out keeps its place: the split is one of files
        chosen = set(sorted([s.key for s in truth.samples] + [o.path for o in truth.left_out])[:: config.every])
        truth = replace(
            truth,
            samples=[s for s in truth.samples if s.key in chosen],
            left_out=[o for o in truth.left_out if o.path in chosen],
        )
    elif there > config.faces:
        expected = f"its {config.whole} faces, or the split's {config.faces} at most"
        remedy = "Give the whole data set, or a folder with the split alone."
        raise PairError(f"protocol {Path(name).stem}", expected, f"{there}", remedy)
    return Protocol(Path(name).stem, config.faces, truth)
