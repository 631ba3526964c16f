import numpy as np
import pytest

from pair_fld.data.sample import BEHIND, SELF_HIDDEN
from pair_fld.evaluate.report import evaluate, visibility_table
from pair_fld.evaluate.visibility import NOT_STATED, score_visibility


def faces() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three faces in a box of 100 x 64, the outer corners 100 apart; the second lacks corner 19. Seen points are 1
    off, the ten last ones 4."""
    truth = np.zeros((3, 51, 2))
    truth[:, 0], truth[:, 28] = [0, 64], [100, 0]
    valid = np.ones((3, 51), bool)
    valid[1, 19] = False
    predicted = truth + [1.0, 0.0]
    predicted[:, 41:] = truth[:, 41:] + [0.0, 4.0]
    return predicted, truth, valid


def test_seen_and_hidden_points_by_hand() -> None:
    predicted, truth, valid = faces()
    visibility = np.zeros((3, 51), int)
    visibility[:, 41:46], visibility[:, 46:] = BEHIND, SELF_HIDDEN
    visibility[2] = NOT_STATED
    spreads = np.full((3, 51), 2.0)
    spreads[:, 41:] = 6.0
    scores = score_visibility(predicted, truth, valid, visibility, spreads)
    unit = 0.79 * 80  # of the second face: the root of 100 x 64 is 80
    assert (scores.seen.points, scores.hidden.points, scores.box_faces) == (41 + 40, 20, 1)
    assert scores.seen.nme_percent == pytest.approx((41 * 1 + 40 * 100 / unit) / 81)
    assert scores.hidden.nme_percent == pytest.approx((10 * 4 + 10 * 400 / unit) / 20)
    assert scores.seen.spread_percent == pytest.approx((41 * 2 + 40 * 200 / unit) / 81)
    assert scores.hidden.spread_percent == pytest.approx((10 * 6 + 10 * 600 / unit) / 20)
    # faces: 81 and 80 in 51 and 50 points
    assert scores.nme_percent == pytest.approx((81 / 51 + 80 / 50 * 100 / unit + 81 / 51) / 3)


def test_nothing_stated_and_no_heatmaps() -> None:
    predicted, truth, valid = faces()
    scores = score_visibility(predicted, truth, valid)
    assert (scores.seen.points, scores.hidden.points) == (0, 0)
    tree = scores.to_json()
    assert tree["hidden_points"] == {
        "points": 0,
        "nme_outer_corners_or_box_percent": None,
        "mean_heatmap_spread_percent": None,
    }
    assert tree["box_normalised_faces"] == 1


def test_the_report_has_a_table_where_a_hidden_point_is_labelled() -> None:
    predicted, truth, valid = faces()
    names = ["a", "b", "c"]
    assert visibility_table(evaluate(predicted, truth, valid, names, names)) is None
    visibility = np.zeros((3, 51), int)
    visibility[0, 50] = BEHIND
    result = evaluate(predicted, truth, valid, names, names, visibility)
    table = visibility_table(result)
    assert table is not None
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["seen", "hidden"]
    assert [cells[1][1], cells[2][1], cells[3][1]] == ["1", "4.00", "-"]
    assert (result.visibility.sentence or "").startswith("faces without an outer eye corner: 1;")
    whole = evaluate(predicted, truth, np.ones((3, 51), bool), names, names)
    assert whole.visibility.sentence is None
