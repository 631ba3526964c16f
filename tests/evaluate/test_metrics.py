import numpy as np
import pytest

from pair_fld.evaluate.metrics import (
    NORMALISERS,
    auc,
    ced,
    failure_rate,
    nme,
    nme_outer_corners,
    point_errors,
    region_nme,
    shift_removed_nme,
)
from pair_fld.runtime.frame import Frame, place
from pair_fld.runtime.scheme import REGIONS

ALL = np.ones((1, 51), bool)


def face() -> np.ndarray:
    """One face whose normalisers are known by hand: outer corners 100 apart, eye centres 70, box 100 x 64."""
    points = np.zeros((1, 51, 2))
    points[0, :, 0] = 50.0
    points[0, 19:25, 0] = [0, 10, 20, 30, 20, 10]  # mean 15
    points[0, 25:31, 0] = [70, 80, 90, 100, 90, 80]  # mean 85
    points[0, 40, 1] = 64.0
    return points


def test_normalisers_by_hand():
    values = {name: f(face(), ALL)[0] for name, f in NORMALISERS.items()}
    assert values["outer_corners"] == 100
    assert values["eye_centres"] == pytest.approx(70)
    assert values["box"] == pytest.approx(80)  # sqrt(100 x 64)


def test_nme_by_hand():
    truth = face()
    predicted = truth + [3.0, 4.0]  # every point 5 off
    assert nme(predicted, truth, ALL, "outer_corners")[0] == pytest.approx(0.05)
    assert nme(predicted, truth, ALL, "eye_centres")[0] == pytest.approx(5 / 70)
    assert nme(predicted, truth, ALL, "box")[0] == pytest.approx(5 / 80)
    one = truth.copy()
    one[0, 7] += [0, 51.0]  # one point of 51 is 51 off: the mean is 1
    assert nme_outer_corners(one, truth, ALL)[0] == pytest.approx(0.01)


def test_the_normaliser_is_the_truths_not_the_predictions():
    truth = face()
    predicted = truth * 2
    mean = np.linalg.norm(truth[0], axis=1).mean()
    assert nme(predicted, truth, ALL)[0] == pytest.approx(mean / 100)


def test_masked_points_do_not_count():
    truth, valid = face(), ALL.copy()
    valid[0, [43, 47]] = False
    predicted = truth.copy()
    predicted[0, [43, 47]] += 1000
    predicted[0, 0] += [49, 0]
    assert nme(predicted, truth, valid)[0] == pytest.approx(0.01)  # 49 over 49 points


@pytest.mark.parametrize(("missing", "unknown"), [(19, {"outer_corners", "eye_centres"}), (21, {"eye_centres"})])
def test_a_missing_normaliser_gives_nan(missing: int, unknown: set[str]):
    valid = ALL.copy()
    valid[0, missing] = False
    found = {name for name in NORMALISERS if np.isnan(nme(face(), face(), valid, name)[0])}
    assert found == unknown


def test_no_valid_point_gives_nan_without_a_warning(recwarn: pytest.WarningsRecorder):
    assert all(np.isnan(nme(face(), face(), ~ALL, name)[0]) for name in NORMALISERS)
    assert len(recwarn) == 0


def test_eyes_in_one_spot_give_nan_and_not_infinity():
    assert np.isnan(nme_outer_corners(np.ones((1, 51, 2)), np.zeros((1, 51, 2)), ALL)[0])


def test_a_missed_point_is_an_infinite_error():
    predicted = face()
    predicted[0, 5] = np.nan
    assert point_errors(predicted, face(), ALL)[0, 5] == np.inf
    assert nme_outer_corners(predicted, face(), ALL)[0] == np.inf


def test_regions_by_hand():
    truth = face()
    predicted = truth.copy()
    predicted[0, list(REGIONS["lip_inner"])] += [0, 10.0]
    result = region_nme(predicted, truth, ALL, "outer_corners")
    assert result.pop("lip_inner") == pytest.approx(0.10)
    assert set(result.values()) == {0.0}
    valid = ALL.copy()
    valid[0, list(REGIONS["brow_left"])] = False
    assert np.isnan(region_nme(predicted, truth, valid, "box")["brow_left"])


ERRORS = np.array([0.02, 0.04, 0.09, 0.20, np.nan])


def test_failure_rate_by_hand():
    assert failure_rate(ERRORS, 0.08) == 0.5
    assert failure_rate(ERRORS, 0.10) == 0.25
    assert failure_rate(np.array([0.08]), 0.08) == 0.0  # at the threshold is no failure
    assert np.isnan(failure_rate(np.array([np.nan]), 0.08))


def test_auc_by_hand():
    # up to 0.08: (0.06 + 0.04 + 0 + 0) / 4 / 0.08
    assert auc(ERRORS, 0.08) == pytest.approx(0.3125)
    assert auc(ERRORS, 0.10) == pytest.approx((0.08 + 0.06 + 0.01) / 4 / 0.10)
    assert auc(np.array([0.0]), 0.08) == 1.0
    assert auc(np.array([np.inf]), 0.08) == 0.0


def test_auc_is_the_area_under_the_steps():
    errors = np.random.default_rng(0).gamma(2, 0.03, 200)
    x, share = ced(errors)
    grid = (np.arange(200_000) + 0.5) / 200_000 * 0.08
    area = np.concatenate([[0], share])[np.searchsorted(x, grid, side="right")].mean()
    assert auc(errors, 0.08) == pytest.approx(area, abs=1e-4)


def test_ced_by_hand():
    x, share = ced(ERRORS)
    assert x.tolist() == [0.02, 0.04, 0.09, 0.20]
    assert share.tolist() == [0.25, 0.5, 0.75, 1.0]


def test_a_sets_shift_is_told_from_its_errors():
    truth = np.stack([place(Frame((100, 90), 60 + k)) for k in range(5)])
    valid = np.ones((5, 51), bool)
    eyes = np.linalg.norm(truth[:, 28] - truth[:, 19], axis=1)[:, None, None]
    # every label lies 3 % to the right and 4 % above the predictions, the last face another 5 % further down
    predicted = truth - eyes * np.array([0.03, -0.04])
    predicted[4] -= eyes[4] * np.array([0, 0.05])
    np.testing.assert_allclose(nme(predicted, truth, valid)[:4], 0.05, atol=1e-9)  # hypotenuse of 3 and 4
    errors, shift = shift_removed_nme(predicted, truth, valid)
    assert (shift.x, shift.y) == pytest.approx((3, -4))
    assert shift.faces == 5
    np.testing.assert_allclose(errors, [0, 0, 0, 0, 0.05], atol=1e-9)
    # the mouth is not labelled: the shift is that of the others
    valid[:, 31:] = False
    assert shift_removed_nme(predicted, truth, valid)[1].x == pytest.approx(3)
