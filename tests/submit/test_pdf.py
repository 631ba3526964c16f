import re
import zlib
from pathlib import Path

import pytest

from pair_fld.errors import PairError
from pair_fld.evaluate.report import markdown_table
from pair_fld.submit.pdf import fitted, write_pdf

TEXT = (
    "# Title\n\nA paragraph – with a dash,\nover two lines.\n\n- one\n- two\n  and more\n\n"
    + markdown_table(("name", "value", ""), [("a|b", "1.5", ""), ("`c_d_e`", "-", "x"), ("**f**", "2", "y")])
    + "\n```\ncode  line\n\nafter a blank\n```\n"
)


def test_widths_by_hand():
    assert fitted([10, 20], 40) == [10, 20]
    assert fitted([10, 20, 100], 60) == [10, 20, 30]
    assert fitted([10, 50, 100], 60) == [10, 25, 25]


def test_the_text_is_on_the_page(tmp_path: Path):
    write_pdf(TEXT, tmp_path / "1.pdf")
    streams = re.findall(rb"stream\n(.*?)\nendstream", (tmp_path / "1.pdf").read_bytes(), re.DOTALL)
    page = b"".join(zlib.decompress(stream) for stream in streams)
    for words in (b"Title", b"paragraph", b"lines.", b"a|b", b"1.5", b"c_d_e", b"(f)", b"more", b"after"):
        assert words in page, words
    assert b"**" not in page


def test_the_same_text_gives_the_same_bytes(tmp_path: Path):
    write_pdf(TEXT, tmp_path / "1.pdf")
    write_pdf(TEXT, tmp_path / "2.pdf")
    data = (tmp_path / "1.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert data == (tmp_path / "2.pdf").read_bytes()


def test_a_missing_image_is_named(tmp_path: Path):
    with pytest.raises(PairError, match=r"none\.png: expected an image of the report, found no such file"):
        write_pdf("![plot](none.png)\n", tmp_path / "1.pdf", tmp_path)
    assert list(tmp_path.iterdir()) == []
