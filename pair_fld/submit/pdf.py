"""Markdown to PDF: markdown-it parses, fpdf2 lays out.

The same input gives the same bytes: the document's date is fixed and only the PDF core fonts are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF
from fpdf.fonts import TextStyle
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pair_fld.errors import PairError
from pair_fld.io import atomic_path

DATE = datetime(2024, 1, 1, tzinfo=UTC)
_TEXT_POINTS, _TABLE_POINTS = 10, 8
_CELL_PADDING = 6.0  # mm, both sides together
_IMAGE_POINTS = 260  # width of an image, of the 493 between the margins; a wide one takes them all
_WIDE = 1.7  # width over height
_STYLES = {
    "h1": TextStyle(font_style="B", font_size_pt=17, t_margin=2, b_margin=0.5),
    "h2": TextStyle(font_style="B", font_size_pt=13, t_margin=5, b_margin=0.5),
    "h3": TextStyle(font_style="B", font_size_pt=11, t_margin=4, b_margin=0.5),
    "pre": TextStyle(font_family="courier", font_size_pt=8, t_margin=2, b_margin=2),
    "code": TextStyle(font_family="courier"),
}
# The core fonts hold Latin-1 only
_REPLACE = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "≤": "<=", "≥": ">="}
    | {"→": "->", "…": "...", "•": "-", "σ": "sigma", "≈": "~"}
)


def write_pdf(markdown: str, path: Path, folder: Path | None = None) -> None:
    """Write CommonMark with tables as an A4 PDF; images are read from `folder`.

    Raises:
        PairError: when an image is missing.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown.translate(_REPLACE).encode("latin-1", errors="replace").decode("latin-1"))
    pdf = FPDF(format="A4")
    pdf.set_creation_date(DATE)
    pdf.set_margin(18)
    pdf.set_auto_page_break(True, margin=18)
    pdf.add_page()
    for start, table in _tables(tokens):
        _lay_out_table(pdf, tokens, start, table)
    _set_images(tokens, folder or Path())
    pdf.set_font("Helvetica", size=_TEXT_POINTS)
    html = parser.renderer.render(tokens, parser.options, {})
    html = html.replace("<table", f'<font size="{_TABLE_POINTS}"><table').replace("</table>", "</table></font>")
    pdf.write_html(html, font_family="helvetica", tag_styles=_STYLES, li_prefix_color=(0, 0, 0),
                   table_line_separators=True)  # fmt: skip
    with atomic_path(path) as temporary:
        pdf.output(str(temporary))


def _tables(tokens: Sequence[Token]) -> Iterator[tuple[int, list[list[int]]]]:
    """Of each table, where it opens and the places of its cells' opening tokens, by row."""
    start, rows = 0, list[list[int]]()
    for place, token in enumerate(tokens):
        if token.type == "table_open":
            start, rows = place, []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(place)
        elif token.type == "table_close":
            yield start, rows


def _lay_out_table(pdf: FPDF, tokens: list[Token], start: int, rows: list[list[int]]) -> None:
    """Set what fpdf2 does not work out by itself: plain text in the cells, alignment, column widths."""
    natural = [0.0] * len(rows[0])
    for number, row in enumerate(rows):
        pdf.set_font("Helvetica", style="" if number else "B", size=_TABLE_POINTS)
        for column, place in enumerate(row):
            opening, inline = tokens[place], tokens[place + 1]
            plain = "".join(child.content for child in inline.children or ())
            inline.children = [Token("text", "", 0, content=plain)]
            opening.attrs["align"] = "RIGHT" if "right" in str(opening.attrs.pop("style", "")) else "LEFT"
            natural[column] = max(natural[column], pdf.get_string_width(plain) + _CELL_PADDING)
    widths = fitted(natural, pdf.epw)
    for place, width in zip(rows[0], widths, strict=True):
        tokens[place].attrs["width"] = f"{100 * width / sum(widths):.3f}%"
    tokens[start].attrs["width"] = f"{100 * sum(widths) / pdf.epw:.3f}%"
    tokens[start].attrs["align"] = "LEFT"


def _set_images(tokens: Sequence[Token], folder: Path) -> None:
    for token in tokens:
        for child in token.children or ():
            if child.type == "image":
                file = folder / str(child.attrs["src"])
                if not file.is_file():
                    raise PairError(file, "an image of the report", "no such file", "Write it first or leave it out.")
                child.attrs |= {"src": str(file), "width": _width(file)}


def _width(image: Path) -> int:
    from PIL import Image

    with Image.open(image) as opened:
        return _IMAGE_POINTS if opened.width < _WIDE * opened.height else 490


def fitted(natural: Sequence[float], room: float) -> list[float]:
    """Column widths for a table at most `room` wide: natural where they fit, else the widest share what is left.

    >>> fitted([10, 20], 40)
    [10, 20]
    >>> fitted([10, 50, 100], 60)
    [10, 25.0, 25.0]
    """
    widths = list(natural)
    while sum(widths) > room + 1e-6:
        widest = max(widths)
        wide = [i for i, w in enumerate(widths) if w > widest - 1e-6]
        second = max((w for w in widths if w < widest - 1e-6), default=0.0)
        share = (room - sum(w for i, w in enumerate(widths) if i not in wide)) / len(wide)
        for i in wide:
            widths[i] = max(share, second)
    return widths
