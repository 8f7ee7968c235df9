from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiers.l2_scored.agreement import auc, calibration_curve, report, spearman, with_interval
from tiers.l2_scored.calibration import Isotonic, Platt, calibrate

FLOATS = st.floats(-100, 100)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=2, max_size=40))
def test_isotonic_regression_rises_and_keeps_the_mean(pairs: list[tuple[float, float]]) -> None:
    scores, ratings = np.array(pairs).T
    calibration = Isotonic.fit(scores, ratings)
    assert (np.diff(calibration(np.linspace(-200, 200, 50))) >= -1e-9).all()
    assert calibration.y.min() >= ratings.min() - 1e-9
    assert calibration.y.max() <= ratings.max() + 1e-9


def test_isotonic_regression_finds_what_the_scores_mean() -> None:
    random = np.random.default_rng(0)
    scores = random.random(4000)
    ratings = scores**2 + random.normal(0, 0.2, 4000)
    at = np.linspace(0.1, 0.9, 9)
    assert calibrate(scores, ratings)(at) == pytest.approx(at**2, abs=0.05)


def test_equal_scores_share_a_step_in_any_order_of_the_rows() -> None:
    scores, ratings = np.repeat([0.0, 1.0], 10), np.repeat([2.0, 1.0, 5.0], [10, 5, 5])
    assert Isotonic.fit(scores, ratings)(np.array([0.0, 1.0])).tolist() == [2, 3]
    random = np.random.default_rng(0)
    scores, ratings = random.integers(0, 20, 300) / 7, random.normal(size=300)
    found = Isotonic.fit(scores, ratings).numbers().tolist()
    for _ in range(20):
        order = random.permutation(300)
        assert Isotonic.fit(scores[order], ratings[order]).numbers().tolist() == found


def test_scores_beyond_all_that_were_seen_stay_apart() -> None:
    calibration = Isotonic.fit(np.arange(10.0), np.arange(10.0))
    low, high, higher = calibration(np.array([-5.0, 20.0, 30.0]))
    assert low < 0 < 9 < high < higher


def test_platts_sigmoid_finds_the_probability() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(0.3, 1, 5000)
    labels = (random.random(5000) < 1 / (1 + np.exp(-(2 * scores - 1)))).astype(float)
    calibration = calibrate(scores, labels)
    assert isinstance(calibration, Platt)
    assert (calibration.slope, calibration.shift) == (pytest.approx(2, abs=0.15), pytest.approx(-1, abs=0.15))
    (scored, true, _) = calibration_curve(calibration(scores), labels)
    assert scored == pytest.approx(true, abs=0.05)


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1]])
def test_platts_sigmoid_of_labels_that_a_threshold_parts_or_nothing_does(labels: list[float]) -> None:
    scores = Platt.fit(np.arange(6.0), np.array(labels, float))(np.arange(6.0))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) >= 0).all()


def test_platts_sigmoid_of_scores_that_fall_is_the_share_of_good_ones() -> None:
    scores, labels = np.arange(20.0), np.repeat([1.0, 0.0], [3, 17])
    assert Platt.fit(scores, labels)(scores) == pytest.approx([4 / 22] * 20)


def test_a_calibration_survives_its_numbers() -> None:
    scores, ratings = np.arange(9.0), np.array([0, 2, 1, 3, 3, 5, 4, 8, 9.0])
    for kind in (Isotonic, Platt):
        calibration = kind.fit(scores, ratings > 3 if kind is Platt else ratings)
        assert np.array_equal(kind.of(calibration.numbers())(scores), calibration(scores))


def test_scores_that_tell_nothing() -> None:
    same = np.ones(12)
    assert calibrate(same, np.arange(12.0))(same) == pytest.approx([5.5] * 12)
    assert calibrate(same, np.tile([0.0, 1.0], 6))(same) == pytest.approx([0.5] * 12)
    found = report(same, np.arange(12.0))
    assert (found["spearman"], found["auc"]) == ([0, 0, 0], [0.5, 0.5, 0.5])
    assert found["keep.share"] == [1]


def test_measures_of_agreement() -> None:
    rising = np.arange(6.0)
    assert spearman(rising, rising**3) == pytest.approx(1)
    assert spearman(rising, -rising) == pytest.approx(-1)
    assert spearman(rising, np.zeros(6)) == 0
    assert auc(rising, rising > 2) == 1
    assert auc(np.zeros(6), rising > 2) == 0.5
    assert auc(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])) == 0.75


def test_an_interval_narrows_with_the_sample() -> None:
    random = np.random.default_rng(0)
    truth = random.random(2000)
    noisy = truth + random.normal(0, 0.3, 2000)
    widths = []
    for count in (50, 2000):
        value, low, high = with_interval(spearman, noisy[:count], truth[:count])
        assert low < value < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3
