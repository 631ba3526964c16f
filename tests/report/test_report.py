"""The page and its figures, from rendered faces."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pair_fld.report.attributes import sharpness
from pair_fld.report.figures import binned
from pair_fld.report.pareto import Own, load_peers, pareto_figures
from pair_fld.report.tables import Column, Table
from tests.cli.command import pairfld

TINY, NANO = "submissions/tiny/tiny.zip", "submissions/nano/nano.zip"
SECTIONS = ["models", "ced", "regions", "faces", "attributes", "scores", "pareto", "lineage"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, rendered_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("report") / "out"
    archives = (str(ROOT / TINY), str(ROOT / NANO))
    done = pairfld("report", *archives, "--images", str(rendered_folder), "--out", str(folder))
    assert (done.code, done.out) == (0, f"{folder}/report.html\n")
    return folder


class Page(HTMLParser):
    """What a browser would load, every id, and the open tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            elif name in ("src", "href", "xlink:href") and value:
                (self.links if tag == "a" else self.loaded).append(value)


def test_the_page_is_whole_in_itself(report: Path) -> None:
    text = (report / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [one for one in page.loaded if not one.startswith(("data:", "#"))] == []
    assert "url(http" not in text
    assert "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    anchors = {one.removeprefix("#") for one in (*page.links, *page.loaded) if one.startswith("#")}
    assert anchors <= set(page.ids)
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert "default-src 'none'" in text  # what a mistake would still load, the browser refuses


def test_every_figure_is_a_file_too(report: Path) -> None:
    captions = (report / "report.html").read_text(encoding="utf-8").count('<svg role="img"')
    figures = [path for path in report.glob("*.png") if not path.name.startswith("faces-")]
    assert captions == len(figures) > 8
    assert {path.name for path in report.glob("faces-*.png")} == {"faces-tiny.png", "faces-nano.png"}


def test_the_figures_as_numbers(report: Path) -> None:
    tree = json.loads((report / "report.json").read_text())
    tiny = tree["models"]["tiny"]
    assert tree["faces"] == tiny["measured"]["faces"] == 24
    assert 1 < tiny["measured"]["nme_outer_corners_percent"] < 8
    assert tiny["end_to_end"]["labelled_faces"] == 24
    assert tree["models"]["nano"]["size_mb"] < 0.1 < tiny["size_mb"]
    assert list(tiny["lineage"]) == ["data", "training", "file"]  # no teacher: it had none


PRESS = """
const table = document.querySelector("#models table"), head = table.tHead.rows[0].cells[1];
const cells = () => [...table.tBodies[0].rows].map((row) => row.cells[1].textContent);
const seen = () => cells() + " " + head.getAttribute("aria-sort");
head.querySelector("button").click(); const up = seen(); head.querySelector("button").click();
document.title = `sizes: ${up}; ${seen()}`;
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
def test_a_browser_sorts_tables_and_has_nothing_to_complain_of(report: Path, tmp_path: Path) -> None:
    text = (report / "report.html").read_text(encoding="utf-8")
    page = tmp_path / "page.html"
    page.write_text(text + f"<script>{PRESS}</script>", encoding="utf-8")
    call = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/browser"]
    call += ["--enable-logging=stderr", "--v=0", "--dump-dom", f"file://{page}"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120, check=False)
    assert re.findall(r".*CONSOLE.*", done.stderr) == []
    # tiny stands first on the page; nano has the smaller file
    models = json.loads((report / "report.json").read_text())["models"]
    tiny, nano = (f"{models[name]['size_mb']:.3f}" for name in ("tiny", "nano"))
    assert f"sizes: {nano},{tiny} ascending; {tiny},{nano} descending" in done.stdout


def test_without_faces_what_is_stored_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = pairfld("report", str(ROOT / TINY), "--out", str(folder), "--json")
    tree = json.loads(done.out)
    assert "measured" not in tree["models"]["tiny"]
    assert "faces" not in tree
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "contest-valid" in text
    assert 'id="ced"' not in text  # not measured: absent
    assert "nan" not in re.sub(r"nano?-?\w*", "", text.lower())


def test_an_earlier_report_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    done = pairfld("report", str(ROOT / TINY), "--out", str(tmp_path))
    assert done.code == 2
    assert "expected a new or empty output folder for report" in done.err


@pytest.mark.parametrize("name", ["absent.zip", "notes.txt"])
def test_what_is_no_model_is_said_in_a_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    done = pairfld("report", str(tmp_path / name), "--out", str(tmp_path / "out"))
    assert done.code == 2
    assert "expected a training run, a model or an archive" in done.err


def test_bins_leave_out_what_is_not_known() -> None:
    values = np.array([1.0, 2, 3, 4, 5, np.nan, 7])
    errors = np.array([2.0, 2, 2, 2, 2, 9, np.nan])
    x, mean, spread = binned(values, errors, bins=4)
    assert (x.tolist(), mean.tolist(), spread.tolist()) == ([3.0], [2.0], [0.0])  # five faces make one bin, not four


def test_sharpness_falls_with_blur_and_not_with_light() -> None:
    """A chequerboard of grey levels 100 and 200; halved, both deviations halve and the ratio stays."""
    board = (100 + 100 * (np.indices((64, 64)).sum(axis=0) % 2)).astype(np.uint8)
    smooth = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    assert sharpness(board) == pytest.approx(sharpness((board // 2).astype(np.uint8)))
    assert sharpness(smooth) < 0.1 * sharpness(board)
    assert sharpness(np.full((64, 64), 7, np.uint8)) == 0.0


def test_peers_are_drawn_only_where_ours_were_measured() -> None:
    stored = {"wflw-valid": {"nme_outer_corners_percent": 5.0}}
    size_only = pareto_figures([Own("ours", stored, mb=0.5)])
    assert [plate.name for plate in size_only] == ["pareto-size-wflw"]  # no time was measured
    assert "as the labels stand" in size_only[0].title
    assert pareto_figures([Own("ours", {"mine": {"nme_outer_corners_percent": 5.0}}, 0.5, 1.0)], "mine") == []


def test_the_peers_file_is_complete() -> None:
    peers = load_peers()
    assert len(peers.peers) == 6
    for peer in peers.peers:
        assert set(peer.nme) == set(peers.sets)
        assert set(peer.learnt) <= set(peers.sets)


def test_a_column_without_figures_is_left_out() -> None:
    table = Table("t", (Column("a"), Column("b"), Column("c", 1)), (("x", None, 0.25), ("y", None, None))).compact()
    assert [column.label for column in table.columns] == ["a", "c"]
    assert table.text(table.rows[0][1], 1) == "0.2"
    assert table.to_json() == [{"a": "x", "c": 0.25}, {"a": "y"}]


def test_the_plotting_library_waits_for_the_first_figure() -> None:
    code = "import sys, pair_fld.cli.app, pair_fld.report.figures; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
