"""The documentation: its links lead somewhere, its sentences and commands exist, its C++ agrees with Python."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import typer
import yaml

import pair_fld
from pair_fld.cli.app import app
from pair_fld.config import SchemeConfig, SourceConfig
from pair_fld.config.data import SOURCE_KINDS
from pair_fld.data.sources.listing import READERS
from pair_fld.data.synthetic import render_face
from pair_fld.report.pareto import load_peers
from pair_fld.runtime.codec import heatmap_moments
from pair_fld.runtime.frame import Frame, fit_frame, frame_matrix
from pair_fld.runtime.geometry import from_norm, invert, transform_points, warp
from pair_fld.runtime.mean_face import MEAN_FACE

DOCS = Path(pair_fld.__file__).parent / "docs"
ROOT = Path(__file__).parents[1]
PAGES = sorted(DOCS.glob("*.md"))
YOUR_DATA = (DOCS / "your-data.md").read_text(encoding="utf-8")
MARGIN = 1.45


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not link.startswith("http") and not (page.parent / link).exists()] == []


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if page.name != "README.md" and f"({page.name})" not in index] == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_verbs_and_options_exist(page: Path) -> None:
    """Every `pairfld VERB ... --option` on the page; a backslash continues a line."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    root: Any = typer.main.get_command(app)
    for line in re.findall(r"pairfld ([a-z][^\n`]*)", text):
        command, words = root, line.partition("  #")[0].split()
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        if command is root:  # a sentence that begins with the name
            continue
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        unknown = [w.strip("[](),.;").partition("=")[0] for w in words if re.match(r"\[?--[a-z]", w)]
        assert [name for name in unknown if name not in known | {"--help"}] == [], line


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_imported_names_exist(page: Path) -> None:
    for names in re.findall(r"^ +from pair_fld import (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert [name for name in names.split(", ") if not hasattr(pair_fld, name)] == []


def test_the_readme_has_the_peers_figures() -> None:
    """LFPW, HELEN, 300-W, AFLW and WFLW with the shift removed; a star for sets that a model learnt from."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    for peer in load_peers().peers:
        start = peer.name.partition(" (")[0]
        (line,) = [line for line in lines if line.startswith(f"| {start}") and line.count("|") == 9][:1]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        lfpw, helen, w300, wflw = (
            f"{peer.nme[s][0]:.2f}" + "*" * (s in peer.learnt) for s in ("lfpw", "helen", "w300", "wflw")
        )
        assert cells[3:] == [lfpw, helen, w300, f"{peer.aflw:.2f}", wflw]
        assert float(cells[1]) == peer.mb


def test_the_readme_has_the_figures_of_the_shipped_archives() -> None:
    """Its first table with the shift removed, its second as the labels stand: what `package` stored."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    stored = {
        name: json.loads((ROOT / "submissions" / name / "metrics.json").read_text(encoding="utf-8"))
        for name in ("small", "tiny", "nano")
    }
    for name, tree in stored.items():
        figures = [
            f"{tree['metrics'][f'{source}-valid']['nme_outer_corners_shift_removed_percent']:.2f}"
            for source in ("lfpw", "helen", "w300", "aflw", "wflw")
        ]
        row = rf"^\| \*\*{name}\*\*, int8 \| {tree['package']['costs']['model.tflite']['size_mb']:.3f} \| [\d.]+ \| "
        assert re.search(row + re.escape(" | ".join(figures)), text, re.MULTILINE), (name, figures)
    for source in ("contest", "lfpw", "helen", "w300", "wflw"):
        scores = [tree["metrics"][f"{source}-valid"] for tree in stored.values()]
        cells = [str(scores[0]["faces"]), *(f"{score['nme_outer_corners_percent']:.2f}" for score in scores)]
        assert re.search(rf"^\| {source}-valid.*\| {re.escape(' | '.join(cells))} \|$", text, re.MULTILINE), cells


def test_troubleshooting_quotes_sentences_of_the_code() -> None:
    known = (ROOT / "tests/error_sentences.txt").read_text(encoding="utf-8")
    quoted = re.findall(r"\*\*`([^`]+)`\*\*", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"))
    assert len(quoted) > 15
    assert [text for text in quoted if text not in known] == []


def test_method_names_files_and_functions_that_exist() -> None:
    rows = re.findall(r"\| `([a-z_/]+\.py)`, `([A-Za-z_.]+)`", (DOCS / "method.md").read_text(encoding="utf-8"))
    assert len(rows) > 15
    for path, name in rows:
        text = (DOCS.parent / path).read_text(encoding="utf-8")
        last = name.rpartition(".")[2]
        assert re.search(rf'(?:def|class) {last}\b|^{last}\b|"{last}"', text, re.MULTILINE), (path, name)


def settings_rows(keys: str) -> dict[str, str]:
    """key -> its row, of the tables of your-data.md whose first column is `keys`."""
    rows: dict[str, str] = {}
    for table in re.findall(rf"^\| {keys} \|.*\n\|---.*\n((?:\|.*\n)+)", YOUR_DATA, re.MULTILINE):
        for line in table.splitlines():
            rows |= dict.fromkeys(re.findall(r"`([a-z0-9_]+)`", line.split("|")[1]), line)
    return rows


def test_your_data_has_a_valid_source_of_each_kind() -> None:
    entries = [yaml.safe_load(line) for line in re.findall(r"^ +- (\{name: .*\})$", YOUR_DATA, re.MULTILINE)]
    sources = [SourceConfig.model_validate_json(json.dumps(entry)) for entry in entries]
    assert [source.kind for source in sources] == list(dict.fromkeys(source.kind for source in sources))
    assert {source.kind for source in sources} == set(get_args(SOURCE_KINDS)) == set(READERS)
    assert set(settings_rows("kind")) == set(READERS)


def test_your_data_explains_every_key_of_a_source_and_of_a_scheme() -> None:
    rows = settings_rows("key")
    assert set(rows) == set(SourceConfig.model_fields) | set(SchemeConfig.model_fields)
    assert f"({SourceConfig.model_fields['max_missing'].default} by default)" in rows["max_missing"]


MAIN = """
#include <cstdio>
#include <vector>
template <class T> std::vector<T> read(FILE* file, size_t n) {
    std::vector<T> values(n);
    if (std::fread(values.data(), sizeof(T), n, file) != n) std::exit(1);
    return values;
}
int main() {  // width height side cells x y size roll margin ax ay bx by, as doubles; then pixels; then logits
    auto d = read<double>(stdin, 13);
    const int width = d[0], height = d[1], side = d[2], cells = d[3];
    auto image = read<uint8_t>(stdin, 3 * width * height);
    auto logits = read<float>(stdin, 51 * cells * cells);
    std::vector<float> input(3 * side * side);
    std::vector<double> points(102);
    const Frame frame{d[4], d[5], d[6], d[7]};
    crop(image.data(), width, height, frame, side, d[8], input.data());
    decode(logits.data(), cells, frame, d[8], points.data());
    const Frame eyes = frame_of_eyes(d[9], d[10], d[11], d[12]);
    std::fwrite(input.data(), 4, input.size(), stdout);
    std::fwrite(points.data(), 8, points.size(), stdout);
    std::fwrite(&eyes, 8, 4, stdout);
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ on this machine")
    folder = tmp_path_factory.mktemp("cpp")
    (block,) = re.findall(r"```cpp\n(.*?)```", (DOCS / "deploy.md").read_text(encoding="utf-8"), re.DOTALL)
    (folder / "sample.cpp").write_text(block + MAIN)
    call = [compiler, "-std=c++17", "-O2", "-Wall", "-Werror", "-o", str(folder / "sample"), str(folder / "sample.cpp")]
    subprocess.run(call, check=True, timeout=120)
    return folder / "sample"


def run_cpp(
    program: Path, image: np.ndarray, frame: Frame, side: int, margin: float, logits: np.ndarray, eyes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input (side, side, 3), points (51, 2) and the frame of the eyes (4,), as C++ has them."""
    numbers = [image.shape[1], image.shape[0], side, logits.shape[0], *frame.centre, frame.size]
    numbers += [np.deg2rad(frame.roll), margin, *eyes.ravel()]
    data = np.array(numbers, np.float64).tobytes() + image.tobytes() + logits.astype(np.float32).tobytes()
    out = subprocess.run([str(program)], input=data, capture_output=True, check=True, timeout=60).stdout
    count = 4 * side * side * 3
    points = np.frombuffer(out[count : count + 816], np.float64).reshape(51, 2)
    return np.frombuffer(out[:count], np.float32).reshape(side, side, 3), points, np.frombuffer(out[count + 816 :])


NO_EYES = np.array([[0.0, 0.0], [1.0, 0.0]])


@pytest.mark.parametrize(("size", "tolerance"), [(60.0, 1.0), (190.0, 4.0)])  # drawn larger, and shrunk by 2.9
def test_the_crop_of_the_sample_is_pythons(program: Path, size: float, tolerance: float) -> None:
    """Grey levels; OpenCV rounds weights to 1/32, and averages whole blocks where the sample averages points."""
    image = render_face(3, 1).image
    frame = Frame((image.shape[1] * 0.5, image.shape[0] * 0.47), size, 12.0)
    expected = warp(image, frame_matrix(frame, 96, MARGIN), 96).astype(float)
    found, _, _ = run_cpp(program, image, frame, 96, MARGIN, np.zeros((12, 12, 51)), NO_EYES)
    assert np.abs(found * 127.5 + 127.5 - expected).mean() < tolerance


@pytest.mark.parametrize("cells", [8, 12])
def test_the_points_of_the_sample_are_pythons(program: Path, cells: int) -> None:
    logits = np.random.default_rng(cells).normal(0, 3, (cells, cells, 51))
    frame = Frame((320.25, 240.5), 150.0, -33.0)
    means, _ = heatmap_moments(logits.transpose(2, 0, 1).astype(np.float32))
    expected = transform_points(invert(frame_matrix(frame, 96, MARGIN)), from_norm(means, 96))
    _, found, _ = run_cpp(program, np.zeros((8, 8, 3), np.uint8), frame, 96, MARGIN, logits, NO_EYES)
    assert np.abs(found - expected).max() < 1e-3


def test_the_frame_of_the_eyes_is_that_of_the_mean_face(program: Path) -> None:
    """The mean face, turned by 20 degrees, 80 pixels large, at (50, 60)."""
    angle = np.deg2rad(20)
    turn = 80 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = MEAN_FACE @ turn.T + [50, 60]
    fitted = fit_frame(points)
    assert (fitted.size, fitted.roll) == pytest.approx((80, 20))
    black, blank = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 51))
    _, _, found = run_cpp(program, black, fitted, 8, 1.0, blank, points[[19, 28]])
    assert found == pytest.approx([50, 60, 80, angle], rel=1e-3)


def test_the_golden_numbers_of_the_page(program: Path) -> None:
    """As deploy.md works them out."""
    y, x = np.indices((6, 8))
    image = np.repeat((10 * x + 20 * y)[..., None], 3, axis=2).astype(np.uint8)
    logits = np.zeros((12, 12, 51))
    logits[8, 3] = 100
    found, _, _ = run_cpp(program, image, Frame((3.5, 2.5), 4.0), 4, 1.0, logits, NO_EYES)
    assert found[0, 0] == pytest.approx([-0.6863] * 3, abs=1e-4)
    black = np.zeros((8, 8, 3), np.uint8)
    _, points, _ = run_cpp(program, black, Frame((100, 80), 60.0), 96, MARGIN, logits, NO_EYES)
    assert points[0] == pytest.approx([81.875, 98.125])
    _, turned, _ = run_cpp(program, black, Frame((100, 80), 60.0, 90.0), 96, MARGIN, logits, NO_EYES)
    assert turned[0] == pytest.approx([81.875, 61.875])
