"""How figures look and become files: SVG for pages in light and dark, PNG for documents.

Figures are made without matplotlib's global state (no pyplot), and matplotlib is imported when the first is drawn.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Legible on white and on black, and told apart by people who see few colours (after Okabe and Ito, "Color universal
# design", 2008); lines also differ by their dashes, points by their markers.
COLOURS = ("#2b7bba", "#e0701d", "#1a9a73", "#b0569c", "#b8930b", "#5b6ee1", "#c2453d")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_INK, _INK_MARK = "#222222", "#010203"  # on paper; in an SVG, where the mark becomes the page's own colour
DPI = 150


@dataclass(frozen=True)
class Plate:
    """One figure.

    Attributes:
        name: of its files, without a suffix.
        title: a noun.
        caption: what is seen, in one or two sentences.
        draw: draws on a matplotlib figure.
        size: width and height in inches.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Figure], None]
    size: tuple[float, float] = (4.6, 3.2)

    def svg(self) -> str:
        """Inline SVG whose ink is the page's text colour; its ids begin with the plate's name."""
        with _style(_INK_MARK, self.name):
            text = self._saved("svg", metadata={"Date": None, "Creator": None}).decode()
        text = text[text.index("<svg") :].replace(_INK_MARK, "currentColor")
        text = re.sub(r'\bid="', f'id="{self.name}-', text)
        text = re.sub(r'(href="#|url\(#)', rf"\g<1>{self.name}-", text)
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
        return text.replace("<svg ", f'<svg role="img" aria-label="{self.title}" ', 1)

    def png(self) -> bytes:
        """A PNG on white."""
        with _style(_INK, self.name):
            return self._saved("png", facecolor="white", dpi=DPI)

    def _saved(self, kind: str, **options: Any) -> bytes:
        from matplotlib.figure import Figure

        figure, stream = Figure(figsize=self.size, layout="constrained"), io.BytesIO()
        self.draw(figure)
        figure.savefig(stream, format=kind, **({"transparent": True} if kind == "svg" else {}), **options)
        return stream.getvalue()


@contextmanager
def _style(ink: str, salt: str) -> Generator[None]:
    import matplotlib
    from cycler import cycler

    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    settings: dict[Any, Any] = {
        "font.size": 9, "font.family": "sans-serif", "axes.spines.top": False, "axes.spines.right": False,
        "axes.titlesize": 9, "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.6,
        "svg.fonttype": "none", "svg.hashsalt": salt, "axes.facecolor": "none",
        "axes.prop_cycle": cycler(color=COLOURS),
    } | dict.fromkeys(inked, ink)  # fmt: skip
    with matplotlib.rc_context(settings):
        yield


def data_uri(data: bytes, kind: str) -> str:
    """A file's bytes as a URI; kind: its media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def slug(name: str) -> str:
    """A name as a part of file names and ids: letters, digits, hyphens.

    >>> slug("a/quant/model int8")
    'a-quant-model-int8'
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "model"
