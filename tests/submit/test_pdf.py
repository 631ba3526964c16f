from pathlib import Path

import pytest

from pair_fld.errors import PairError
from pair_fld.evaluate.report import markdown_table
from pair_fld.submit.pdf import _blocks, _cells, _fit, write_pdf

TEXT = (
    "# Title\n\nA paragraph – with a dash,\nover two lines.\n\n- one\n- two\n  and more\n\n"
    + markdown_table(("name", "value"), [("a|b", "1.5"), ("`c`", "-")])
    + "\n```\ncode  line\n\nafter a blank\n```\n"
)


def test_blocks_by_hand():
    assert [b[0] for b in _blocks(TEXT)] == [
        "# Title",
        "A paragraph – with a dash,",
        "- one",
        "| name | value |",
        "```",
    ]
    assert _blocks(TEXT)[-1] == ["```", "code  line", "", "after a blank", "```"]


def test_cells_lose_marks_and_keep_bars():
    assert _cells(r"| a\|b | `c` | **d** |  |") == ["a|b", "c", "d", ""]


def test_widths_by_hand():
    assert _fit([10, 20], 40) == [10, 20]
    assert _fit([10, 20, 100], 60) == [10, 20, 30]
    assert _fit([10, 50, 100], 60) == [10, 25, 25]


def test_the_same_text_gives_the_same_bytes(tmp_path: Path):
    write_pdf(TEXT, tmp_path / "1.pdf")
    write_pdf(TEXT, tmp_path / "2.pdf")
    data = (tmp_path / "1.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert data == (tmp_path / "2.pdf").read_bytes()


def test_a_missing_picture_is_named(tmp_path: Path):
    with pytest.raises(PairError, match=r"none\.png: expected a picture of the report, found no such file"):
        write_pdf("![plot](none.png)\n", tmp_path / "1.pdf", tmp_path)
    assert list(tmp_path.iterdir()) == []
