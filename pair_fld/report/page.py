"""The page: one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pair_fld.io import atomic_path
from pair_fld.outputs import printable
from pair_fld.report.lineage import Step
from pair_fld.report.style import Plate, data_uri, slug
from pair_fld.report.tables import Table
from pair_fld.report.tiles import FaceTile

_PARTS = Path(__file__).with_name("page")
_QUALITY = 85


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        name: its anchor.
        title: a noun.
        plates: figures.
        tables: tables.
        faces: drawn faces by model and group.
        chains: lineage by model.
        note: a paragraph under the title.
    """

    name: str
    title: str
    plates: tuple[Plate, ...] = ()
    tables: tuple[Table, ...] = ()
    faces: Mapping[str, Mapping[str, Sequence[FaceTile]]] = field(default_factory=dict)
    chains: Mapping[str, Sequence[Step]] = field(default_factory=dict)
    note: str = ""

    @property
    def filled(self) -> bool:
        return bool(self.plates or self.tables or self.faces or self.chains)

    @property
    def large(self) -> bool:
        """Whether its figures want half of a wide page, not a third."""
        return any(plate.size[0] > 4 for plate in self.plates)


@dataclass(frozen=True)
class Page:
    """title: the models. lead: one paragraph. about: versions and call, for the foot."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    about: Mapping[str, Any]


def write_page(page: Page, path: Path) -> None:
    """Write the page whole or not at all."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_PARTS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    parts = {name: (_PARTS / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    template = environment.get_template("page.html.j2")
    text = template.render(page=page, jpeg=_jpeg, slug=slug, **parts)
    with atomic_path(path) as draft:
        draft.write_text(printable(text), encoding="utf-8")


def _jpeg(image: np.ndarray) -> str:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return data_uri(data, "image/jpeg")
