import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pair_fld.evaluate.report import Result, ced_plot, evaluate, markdown, markdown_table, tables, write_csv


@pytest.fixture
def result() -> Result:
    """Three faces, eye corners 100 apart: 1 % and 9 % off in 'a', one without an eye corner in 'b'."""
    truth = np.random.default_rng(0).uniform(0, 100, (3, 51, 2))
    truth[:, 19], truth[:, 28] = [0, 50], [100, 50]
    predicted = truth + np.array([1.0, 9.0, 2.0])[:, None, None] * [1, 0]
    valid = np.ones((3, 51), bool)
    valid[2, 19] = False
    return evaluate(predicted, truth, valid, ["a", "a", "b"], ["one", "two", "three"])


def test_scores_by_hand(result: Result):
    scores = result.overall["outer_corners"]
    assert (scores.faces, scores.not_scored) == (2, 1)
    assert scores.nme_percent == pytest.approx(5.0)
    assert scores.failure_percent == {0.08: 50.0, 0.10: 0.0}
    assert scores.auc_fraction[0.08] == pytest.approx((7 / 8 + 0) / 2)
    assert scores.auc_fraction[0.10] == pytest.approx((9 / 10 + 1 / 10) / 2)
    assert result.overall["box"].faces == 3
    assert result.sources["b"]["outer_corners"].faces == 0


def test_json_names_normaliser_and_unit_and_holds_no_nan(result: Result):
    tree = result.to_json()
    assert tree["faces"] == 3
    assert tree["nme_outer_corners_percent"] == pytest.approx(5.0)
    assert tree["failure_at_0.08_outer_corners_percent"] == 50.0
    assert tree["not_scored_outer_corners_faces"] == 1
    assert tree["sources"]["a"]["faces"] == 2
    assert tree["sources"]["b"]["nme_outer_corners_percent"] is None
    assert set(tree["regions"]["lip_inner"]) == {f"nme_{n}_percent" for n in ("outer_corners", "eye_centres", "box")}
    json.dumps(tree, allow_nan=False)


def test_a_missed_face_counts_as_a_failure():
    truth = np.random.default_rng(0).uniform(0, 100, (2, 51, 2))
    predicted = truth.copy()
    predicted[1] = np.nan
    result = evaluate(predicted, truth, np.ones((2, 51), bool), ["a", "a"], ["x", "y"])
    assert result.overall["box"].failure_percent[0.10] == 50.0
    assert result.overall["box"].auc_fraction[0.08] == 0.5
    assert result.to_json()["nme_box_percent"] is None
    json.dumps(result.to_json(), allow_nan=False)


def test_per_image_values_are_kept(result: Result, tmp_path: Path):
    write_csv(result, tmp_path / "faces.csv")
    with (tmp_path / "faces.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert [line["name"] for line in lines] == ["one", "two", "three"]
    assert [line["nme_outer_corners_percent"] for line in lines] == ["1.0000", "9.0000", ""]


def test_tables_show_the_figures(result: Result):
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    for table in tables(result, "title"):
        console.print(table)
    text = console.export_text()
    assert "outer_corners" in text
    assert "5.00" in text
    assert "lip_inner" in text
    assert "| all | outer_corners | 2 | 5.00 | 50.00 | 0.00 |" in markdown(result)


def test_markdown_table_by_hand():
    assert markdown_table(("a", "b"), [("x|y", "1")]) == "| a | b |\n| :-- | --: |\n| x\\|y | 1 |\n"


def test_ced_plot_is_a_image(result: Result, tmp_path: Path):
    ced_plot({"model": result}, tmp_path / "ced.png")
    with Image.open(tmp_path / "ced.png") as image:
        assert min(image.size) > 300
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20


def test_shapes_that_do_not_fit_are_refused():
    points = np.zeros((2, 51, 2))
    with pytest.raises(ValueError, match=r"expected predictions and truth \(N, 51, 2\)"):
        evaluate(points, points[:1], np.ones((2, 51), bool), ["a", "a"], ["x", "y"])
    with pytest.raises(ValueError, match="a source and a name for each of 2 faces"):
        evaluate(points, points, np.ones((2, 51), bool), ["a"], ["x", "y"])
