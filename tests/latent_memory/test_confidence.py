from pathlib import Path

import numpy as np
import pytest

from latent_memory.confidence import Curve, auroc, confidence, fit, read_curves, save_curves


def test_the_curve_that_made_the_answers_is_found_again() -> None:
    rng = np.random.default_rng(0)
    signals = rng.uniform(-4, 0, 20_000)
    made = Curve(2.0, 3.0)
    right = rng.uniform(size=len(signals)) < [made(x) for x in signals]
    found = fit(signals, right)
    assert (found.slope, found.intercept) == pytest.approx((2.0, 3.0), abs=0.15)
    sure = np.array([found(x) for x in signals])
    for low in (0.0, 0.25, 0.5, 0.75):  # of answers that are 60 % sure, 60 % are right
        part = (sure >= low) & (sure < low + 0.25)
        assert right[part].mean() == pytest.approx(sure[part].mean(), abs=0.03)


def test_sides_that_do_not_overlap_give_a_finite_curve() -> None:
    curve = fit([-3.0, -2.0, -1.0, -0.5], [False, False, True, True])
    assert 0 < curve(-2.0) < 0.5 < curve(-1.0) < 1


def test_auroc_counts_pairs_and_ties() -> None:
    assert auroc([1, 2, 3, 4], [False, False, True, True]) == 1
    assert auroc([1, 2, 2], [False, True, False]) == 0.75
    assert np.isnan(auroc([1, 2], [True, True]))


def test_curves_belong_to_the_weights_they_were_measured_with(tmp_path: Path) -> None:
    assert read_curves(tmp_path, "a") == {}
    save_curves(tmp_path, {"raw": Curve(1.0, 2.0)}, "a")
    assert read_curves(tmp_path, "a") == {"raw": Curve(1.0, 2.0)}
    assert read_curves(tmp_path, "b") == {}
    assert confidence(-1.0, None) == pytest.approx(np.exp(-1))
    assert confidence(-1.0, Curve(1.0, 1.0)) == 0.5
