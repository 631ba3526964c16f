"""Comparisons over seeds: figures worked out by hand, and their forms."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pair_fld.train.comparison import compare_variants, draw, markdown

RESULTS = {
    "base": [{"photos": 4.0}, {"photos": 4.2}, {"photos": 4.4}],
    "taught": [{"photos": 3.8}, {"photos": 3.9}, {"photos": 4.0}],
    "same": [{"photos": 4.2}, {"photos": 4.2}, {"photos": 4.2}],
}


def test_differences_in_standard_deviations_by_hand() -> None:
    base, taught, same = compare_variants(RESULTS, ["base", "same"])
    # means 4.2 and 3.9; sample deviations 0.2 and 0.1; pooled sqrt((0.04 + 0.01) / 2) = 0.15811
    assert (base.mean, base.spread) == (pytest.approx(4.2), pytest.approx(0.2))
    assert (taught.mean, taught.spread) == (pytest.approx(3.9), pytest.approx(0.1))
    assert taught.against["base"].change == pytest.approx(-0.3)
    assert taught.against["base"].deviations == pytest.approx(-0.3 / math.sqrt(0.025))
    assert taught.against["same"].deviations == pytest.approx(-0.3 / math.sqrt(0.005))  # pooled with a spread of 0
    assert same.against["base"].deviations == pytest.approx(0, abs=1e-9)
    assert (set(base.against), set(same.against)) == ({"same"}, {"base"})  # nothing against itself


def test_no_spread_at_all_is_infinitely_many_deviations() -> None:
    _, other = compare_variants({"base": [{"a": 2.0}, {"a": 2.0}], "other": [{"a": 1.0}, {"a": 1.0}]}, ["base"])
    assert other.against["base"].deviations == -math.inf


def test_forms_show_every_arm_and_seed(tmp_path: Path) -> None:
    table = compare_variants(RESULTS, ["base"])
    text = markdown(table, "About this.")
    assert text.startswith("About this.\n")
    assert "| taught | 3.900 | 0.100 | 3.80 3.90 4.00 | -0.300 (-1.9 sd) |" in text
    assert "| base | 4.200 | 0.200 | 4.00 4.20 4.40 |  |" in text
    draw(table, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
