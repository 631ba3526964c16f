"""Markdown to PDF, as much of it as the reports use: headings, paragraphs, bullet lists, tables, pictures,
code.

The same input gives the same bytes: the document's date is fixed and only the PDF core fonts are used.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

from pair_fld.errors import PairError
from pair_fld.io import atomic_path

DATE = datetime(2024, 1, 1, tzinfo=UTC)
_HEADING_POINTS = {1: 17, 2: 13, 3: 11}
# The core fonts hold Latin-1 only
_REPLACE = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "≤": "<=", "≥": ">="}
    | {"→": "->", "…": "...", "•": "-", "σ": "sigma", "≈": "~"}
)


def write_pdf(markdown: str, path: Path, folder: Path | None = None) -> None:
    """Write `markdown` as an A4 PDF; pictures are looked up in `folder`.

    Raises:
        PairError: when a picture is missing.
    """
    pdf = FPDF(format="A4")
    pdf.set_creation_date(DATE)
    pdf.set_margin(18)
    pdf.set_auto_page_break(True, margin=18)
    pdf.add_page()
    pdf.set_font("Helvetica", size=10)
    for block in _blocks(markdown):
        _draw(pdf, block, folder)
    with atomic_path(path) as temporary:
        pdf.output(str(temporary))


def _blocks(markdown: str) -> list[list[str]]:
    """Lines grouped into blocks: blank lines separate, a heading stands alone, a code fence stays whole."""
    blocks: list[list[str]] = []
    current: list[str] = []
    fenced = False
    for line in markdown.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        alone = not fenced and line.startswith(("#", "!["))
        if alone or (not fenced and not line.strip()):
            blocks.append(current)
            current = []
            if alone:
                blocks.append([line])
            continue
        current.append(line)
    blocks.append(current)
    return [b for b in blocks if b]


def _draw(pdf: FPDF, block: list[str], folder: Path | None) -> None:
    first = block[0]
    if heading := re.match(r"(#+)\s+(.*)", first):
        level = min(len(heading.group(1)), 3)
        pdf.ln(2)
        _text(pdf, f"**{heading.group(2)}**", size=_HEADING_POINTS[level])
    elif picture := re.match(r"!\[.*\]\((.*)\)", first):
        file = (folder or Path()) / picture.group(1)
        if not file.is_file():
            raise PairError(file, "a picture of the report", "no such file", "Write it first or leave it out.")
        pdf.image(str(file), w=min(120.0, pdf.epw))
    elif first.startswith("|"):
        _table(pdf, block)
    elif first.startswith("```"):
        pdf.set_font("Courier", size=8)
        pdf.multi_cell(0, 4, _latin("\n".join(block[1:-1])), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    elif first.startswith("- "):
        for item in _items(block):
            _text(pdf, f"-  {item}", indent=3)
    else:
        _text(pdf, " ".join(line.strip() for line in block))
    pdf.ln(2)


def _items(block: list[str]) -> list[str]:
    items: list[str] = []
    for line in block:
        if line.startswith("- "):
            items.append(line[2:].strip())
        else:
            items[-1] += " " + line.strip()
    return items


def _text(pdf: FPDF, text: str, size: float = 10, indent: float = 0) -> None:
    pdf.set_font("Helvetica", size=size)
    pdf.set_x(pdf.l_margin + indent)
    text = re.sub(r"`([^`]*)`", r"\1", text)
    pdf.multi_cell(0, size * 0.5, _latin(text), markdown=True, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _table(pdf: FPDF, block: list[str]) -> None:
    rows = [_cells(line) for line in block if line is not block[1]]
    align = tuple("RIGHT" if rule == "--:" else "LEFT" for rule in _cells(block[1]))
    pdf.set_font("Helvetica", size=8)
    padding = 6.0
    natural = [max(pdf.get_string_width(row[i], markdown=False) for row in rows) + padding for i in range(len(align))]
    widths = _fit(natural, pdf.epw)
    with pdf.table(
        width=sum(widths),
        col_widths=tuple(widths),
        align="LEFT",
        text_align=align,
        line_height=4.5,
        headings_style=FontFace(emphasis="B"),
        borders_layout="HORIZONTAL_LINES",
    ) as table:
        for row in rows:
            cells = table.row()
            for cell in row:
                cells.cell(cell)


def _cells(line: str) -> list[str]:
    """Cells of a table line, without marks; `\\|` is a bar inside a cell."""
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [_latin(re.sub(r"[`*]", "", c.strip().replace("\\|", "|"))) for c in re.split(r"(?<!\\)\|", inner)]


def _fit(natural: list[float], room: float) -> list[float]:
    """Column widths: natural where they fit, else the widest columns share what the others leave."""
    widths = list(natural)
    while sum(widths) > room + 1e-6:
        widest = max(widths)
        wide = [i for i, w in enumerate(widths) if w > widest - 1e-6]
        second = max((w for w in widths if w < widest - 1e-6), default=0.0)
        share = (room - sum(w for i, w in enumerate(widths) if i not in wide)) / len(wide)
        for i in wide:
            widths[i] = max(share, second)
    return widths


def _latin(text: str) -> str:
    return text.translate(_REPLACE).encode("latin-1", errors="replace").decode("latin-1")
