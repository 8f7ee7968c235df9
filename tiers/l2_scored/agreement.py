"""How well scores agree with what they should be: rank correlation, AUC, calibration, and how sure these are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BOOTSTRAPS = 500
BINS = 10
"""Of the calibration curve, equally many texts in each."""
THRESHOLDS = 21


def report(scores: Floats, truth: Floats) -> dict[str, list[float]]:
    """How scores of N texts agree with the truth.

    Returns:
        `judged`: N.
        `spearman`: the rank correlation, and the ends of its interval.
        `auc`: how often a text of the better half, by the truth, is scored above one of the other, and its interval.
            Where the truth is of two values, the greater one is the better half.
        `calibration_error`: the mean distance of the calibration curve from the diagonal, in the truth's scale.
        `curve.scored`, `curve.true`: the means of the scores and of the truth in each bin of the calibration curve.
        `keep.threshold`, `keep.share`: thresholds, ascending, and the share of the texts that are not below each.
    """
    better = truth > np.median(truth)
    if not better.any():
        better = truth > truth.min()
    scored, true, counts = calibration_curve(scores, truth)
    thresholds = np.unique(np.quantile(scores, np.linspace(0, 1, THRESHOLDS)))
    return {
        "judged": [float(len(scores))],
        "spearman": with_interval(spearman, scores, truth),
        "auc": with_interval(lambda some, kind: auc(some, kind > 0.5), scores, better.astype(np.float64)),
        "calibration_error": [float(np.average(np.abs(scored - true), weights=counts))],
        "curve.scored": scored.tolist(),
        "curve.true": true.tolist(),
        "keep.threshold": thresholds.tolist(),
        "keep.share": [float((scores >= threshold).mean()) for threshold in thresholds],
    }


def calibration_curve(scores: Floats, truth: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean score, mean truth and number of the texts in each bin, by ascending score; equal scores share a bin."""
    ascending = np.sort(scores)
    edges = np.unique(ascending[[len(scores) * k // BINS for k in range(1, BINS)]])
    found = np.searchsorted(edges, scores, side="right")
    counts = np.bincount(found, minlength=len(edges) + 1)
    filled = counts > 0
    sums = (np.bincount(found, values, minlength=len(edges) + 1) for values in (scores, truth))
    scored, true = (total[filled] / counts[filled] for total in sums)
    return scored, true, counts[filled].astype(np.float64)


def with_interval(measure: Callable[[Floats, Floats], float], a: Floats, b: Floats) -> list[float]:
    """A measure of pairs, and the middle 95 % of what it is on bootstrap samples of them (Efron 1979)."""
    random = np.random.default_rng(0)
    samples = (random.integers(0, len(a), len(a)) for _ in range(BOOTSTRAPS))
    values = [measure(a[rows], b[rows]) for rows in samples]
    return [measure(a, b), *np.quantile(values, [0.025, 0.975]).tolist()]


def spearman(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation; 0 where one of them is constant."""
    ranks_a, ranks_b = _ranks(a), _ranks(b)
    if not ranks_a.std() or not ranks_b.std():
        return 0.0
    return float(np.corrcoef(ranks_a, ranks_b)[0, 1])


def auc(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """How often a positive is scored above a negative, ties as half; 0.5 where there is only one kind."""
    ranks, n = _ranks(scores), int(positive.sum())
    rest = len(scores) - n
    if not n or not rest:
        return 0.5
    return float((ranks[positive].sum() - n * (n - 1) / 2) / (n * rest))


def _ranks(values: Floats) -> Floats:
    """Ranks from 0, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    mean: Floats = last - (counts - 1) / 2
    return mean[inverse]
