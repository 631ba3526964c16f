from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pair_fld.evaluate.confidence import (
    Candidates,
    calibration_error,
    collect_candidates,
    learn_confidence,
    rank_correlation,
)
from pair_fld.evaluate.disturbances import DISTURBANCES, disturb, turn
from pair_fld.runtime.confidence import FEATURES, Confidence, confidence_from_json, face_features
from pair_fld.runtime.frame import Frame, fit_frame, place
from pair_fld.runtime.mean_face import MEAN_FACE
from pair_fld.runtime.pipeline import Pipeline
from tests.runtime.test_main import StubDetector, StubModel, face_in


def made_up(count: int, seed: int = 0) -> Candidates:
    """Candidates that are right with a chance of 1 / (1 + exp(-(1 - 3 shift))) and whose errors are spreads squared."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (count, len(FEATURES)))
    good = rng.random(count) < 1 / (1 + np.exp(-(1 - 3 * features[:, FEATURES.index("shift")])))
    spreads = rng.uniform(0.05, 0.2, (count, 51))
    errors = np.sqrt(2) * spreads**2
    error = np.where(good, 0.03, np.where(rng.random(count) < 0.5, 0.2, np.inf))
    second = np.where(good, -4.0, -2.0)[:, None] + rng.normal(0, 0.5, (count, 2))
    return Candidates(features, error, second, spreads, errors)


def test_the_law_behind_the_candidates_is_found():
    learnt = learn_confidence(made_up(6000))
    expected = np.zeros(len(FEATURES))
    expected[FEATURES.index("shift")] = -3
    np.testing.assert_allclose(learnt.weights, expected, atol=0.3)
    # half of the wrong ones are no faces and do not count: the odds of the others are twice as good
    assert learnt.bias == pytest.approx(1 + np.log(2), abs=0.2)
    assert (learnt.gain, learnt.power) == (pytest.approx(1, rel=0.05), pytest.approx(2, rel=0.05))
    fresh = made_up(4000, seed=1)
    face = fresh.nme < 0.5
    scores = np.array([learnt.score(f) for f in fresh.features[face]])
    assert calibration_error(scores, fresh.nme[face] < 0.08) < 0.03


def test_the_score_orders_faces_far_from_the_bound_too():
    # nearly all are good; log error = -4 - shift + 0.5 noise, correlated with minus the score by 1 / sqrt(1.25) = 0.89
    rng = np.random.default_rng(0)
    made = made_up(2000)
    error = np.exp(-4 - made.features[:, FEATURES.index("shift")] + rng.normal(0, 0.5, 2000))
    learnt = learn_confidence(replace(made, nme=np.where(np.arange(2000) < 1900, error, np.inf)))
    scores = np.array([learnt.score(f) for f in made.features])
    assert rank_correlation(scores, -error) > 0.86


def test_a_confidence_travels_as_json():
    learnt = learn_confidence(made_up(500))
    again = confidence_from_json(learnt.to_json())
    feature = made_up(1).features[0]
    assert again.score(feature) == pytest.approx(learnt.score(feature), rel=1e-3)
    second = np.array([-3.0, -2.0])
    assert again.presence_again(feature, second) == pytest.approx(learnt.presence_again(feature, second), rel=1e-2)
    with pytest.raises(ValueError, match="expected 16 weights of a confidence, found 2"):
        confidence_from_json(learnt.to_json() | {"again_weights": [1, 2]})
    with pytest.raises(ValueError, match="expected a confidence on the features spread"):
        confidence_from_json(learnt.to_json() | {"features": ["gloss"]})


def test_a_confidence_of_an_earlier_version_knows_fewer_features():
    tree = {
        "features": list(FEATURES[:7]), "weights": [1, 2, 3, 4, 5, 6, 7], "bias": 0, "presence_weights": [0] * 7,
        "presence_bias": 0, "again_weights": [0, 0, 0, 0, 0, 0, 1, 8], "gain": 1, "power": 1, "faces": 9,
    }  # fmt: skip
    confidence = confidence_from_json(tree)
    assert confidence.weights.tolist() == [1, 2, 3, 4, 5, 6, 7, *[0] * 7]
    assert confidence.again_weights.tolist() == [0, 0, 0, 0, 0, 0, 1, *[0] * 7, 8, 0]
    assert not confidence_from_json({k: v for k, v in tree.items() if k != "again_weights"}).doubts(0.5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_candidates_of_one_kind_teach_nothing(share: float):
    ones, error = np.ones((80, 51)), np.full(80, 0.01 if share else np.inf)
    few = Candidates(np.zeros((80, len(FEATURES))), error, np.zeros((80, 2)), ones, ones)
    with pytest.raises(ValueError, match="right ones and wrong ones among them"):
        learn_confidence(few)


def test_calibration_error_by_hand():
    # two bins: scores 0.25 of which half are good (off by 0.25), scores 0.95 of which all are (off by 0.05)
    scores, good = np.array([0.25, 0.25, 0.95, 0.95]), np.array([True, False, True, True])
    assert calibration_error(scores, good) == pytest.approx((0.25 + 0.05) / 2)


def test_rank_correlation_by_hand():
    assert rank_correlation(np.array([1, 2, 3.0]), np.array([10, 100, 1000.0])) == pytest.approx(1)
    # ranks 1, 2.5, 2.5 against 3, 1, 2: deviations (-1, 0.5, 0.5) and (1, -1, 0): -1.5 / sqrt(1.5 x 2)
    assert rank_correlation(np.array([1, 2, 2.0]), np.array([9, 3, 4.0])) == pytest.approx(-1.5 / np.sqrt(3))


def test_features_by_hand():
    crop, own = Frame((100, 100), 50), Frame((110, 100), 50 * np.exp(-0.2), 9.0)
    features = dict(zip(FEATURES, face_features(place(own), np.full(51, 5.0), crop, 0.75), strict=True))
    assert features["shift"] == pytest.approx(0.2)
    assert features["growth"] == pytest.approx(0.2)
    assert features["turn"] == pytest.approx(0.2)
    assert features["detector"] == pytest.approx(np.log(3))
    assert features["spread"] == pytest.approx(np.log(5 / (50 * np.exp(-0.2))))
    assert features["shape"] == pytest.approx(np.log(1e-4))  # the mean face itself
    assert features["eyes"] == pytest.approx(np.log(np.hypot(*(MEAN_FACE[19] - MEAN_FACE[28]))))
    assert features["signed_growth"] == pytest.approx(-0.2)
    assert features["unevenness"] == pytest.approx(0)
    assert features["lip_spread"] == pytest.approx(features["spread"])
    # 17 of 51 points, the brows and most of the nose, are twice as sure: a third of the logarithms are ln 2 lower,
    # which is a deviation of ln 2 sqrt(1/3 x 2/3)
    spreads = np.where(np.arange(51) < 17, 2.5, 5.0)
    features = dict(zip(FEATURES, face_features(place(own), spreads, crop, 0.75), strict=True))
    assert features["unevenness"] == pytest.approx(np.log(2) * np.sqrt(2) / 3)
    assert features["eye_spread"] - features["brow_spread"] == pytest.approx(np.log(2))
    # 7 of the nose's 9 points: (7 / 2 + 2) / 9
    assert features["nose_spread"] - features["eye_spread"] == pytest.approx(np.log(5.5 / 9))


def test_candidates_are_scored_against_the_label_and_faceless_images_count_as_wrong():
    image = np.full((300, 300, 3), 9, np.uint8)
    detector: Any = StubDetector([[50, 20, 150, 120]])
    pipeline = Pipeline(detector, StubModel(spread=1.0))
    before = pipeline.detector.search
    found = collect_candidates(pipeline, [(image, [face_in([50, 20, 150, 120])]), (image, [])])
    assert pipeline.detector.search == before
    # of upright and of turned views; the turned copy's face is elsewhere than the stub sees one
    assert found.features.shape == (8, len(FEATURES))
    np.testing.assert_allclose(found.nme, [0, 0, 0, 0, 0, 0, np.inf, np.inf], atol=1e-6)
    # the stub's points lie in one place of every crop, so they follow the second one: m becomes (0.12, 0.08) + a m
    a, m = np.exp(0.12 + 1j * np.radians(12)), MEAN_FACE @ [1, 1j]
    apart = np.sqrt(np.mean(np.abs(0.12 + 0.08j + (a - 1) * m) ** 2))
    np.testing.assert_allclose(found.second[:, 0], np.log(apart), atol=1e-3)
    np.testing.assert_allclose(found.second[:, 1], np.log(0.05 * np.exp(0.12)), atol=1e-3)  # 2 of 40 in a larger crop
    np.testing.assert_allclose(found.spreads, 1.0 * 2 * 100 / 40 / 100)  # one crop pixel is 2 x 100 / 40 image pixels


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_disturbed_labels_stay_on_their_face(kind: str):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (200, 260, 3), dtype=np.uint8)
    face = place(Frame((120, 90), 70))
    changed, moved = disturb(image, face, kind, rng)
    assert (changed is image) == (kind == "none")
    frame = fit_frame(moved)
    assert frame.size == pytest.approx(70)
    assert (abs(frame.roll) > 1e-6) == (kind == "turned")


def test_an_image_turned_by_a_quarter_by_hand():
    # a bright pixel right of the middle of 5 x 5 comes to lie below it; the square canvas has 9 pixels a side
    image = np.zeros((5, 5, 3), np.uint8)
    image[2, 4] = 200
    turned, points = turn(image, np.array([[4.0, 2.0]]), 90)
    assert turned.shape == (9, 9, 3)
    np.testing.assert_allclose(points, [[4, 6]], atol=1e-9)
    assert turned[6, 4, 0] == 200


def test_deviations_follow_the_law():
    none = np.zeros(len(FEATURES))
    confidence = Confidence(none, 0.0, none, 0.0, gain=2.0, power=2.0)
    # spread 10 over a face of 100: 2 x 0.1 squared = 0.02 of the size
    np.testing.assert_allclose(confidence.deviations(np.full(51, 10.0), 100.0), 2.0)
