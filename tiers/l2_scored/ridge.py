"""A linear model of a judge's scores, and how well it holds on what it hasn't seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tiers.l2_scored.features import BITS, FORMS, Features

Floats = npt.NDArray[np.float64]

MODEL = pa.schema(
    [pa.field("name", pa.string(), nullable=False), pa.field("values", pa.list_(pa.float64()), nullable=False)]
)
"""A model as a table: `mean`, `spread` and `slopes` of the measures of form, `weights` of the hashed features,
`bias`, and what was measured, under `report.NAME`."""


@dataclass(frozen=True)
class Ridge:
    """score = bias + slopes · (forms - mean) / spread + weights · hashed features."""

    mean: Floats
    spread: Floats
    slopes: Floats
    weights: Floats
    bias: float

    @classmethod
    def fit(cls, seen: Features, scores: Floats, penalty: float) -> Ridge:
        """Least squares with `penalty` times the squared norm of slopes and weights (Hoerl and Kennard 1970)."""
        mean = seen.forms.mean(axis=0, dtype=np.float64)
        spread = np.maximum(seen.forms.std(axis=0, dtype=np.float64), 1e-6)
        x_ND = np.hstack([_standard(seen.forms, mean, spread), _dense(seen)])
        bias, centre_D = float(scores.mean()), x_ND.mean(axis=0)
        x_ND = x_ND - centre_D
        y_N = scores - bias
        n, d = x_ND.shape
        if n <= d:
            slope_D = x_ND.T @ np.linalg.solve(x_ND @ x_ND.T + penalty * np.eye(n), y_N)
        else:
            slope_D = np.linalg.solve(x_ND.T @ x_ND + penalty * np.eye(d), x_ND.T @ y_N)
        # in single precision, the last bits of the solver are no part of the model
        slope_D = slope_D.astype(np.float32).astype(np.float64)
        bias = float(np.float32(bias - centre_D @ slope_D))
        return cls(mean, spread, slope_D[: len(FORMS)], slope_D[len(FORMS) :], bias)

    def predict(self, seen: Features) -> npt.NDArray[np.float32]:
        """The score of each text."""
        hashed = np.bincount(seen.owners(), seen.weights * self.weights[seen.places], minlength=len(seen))
        formed = (_standard(seen.forms, self.mean, self.spread) * self.slopes).sum(axis=1)
        result: npt.NDArray[np.float32] = (self.bias + formed + hashed).astype(np.float32)
        return result

    def table(self, report: dict[str, float]) -> pa.Table:
        """The model and its report in the form of `MODEL`."""
        rows: dict[str, Any] = {name: getattr(self, name).tolist() for name in ("mean", "spread", "slopes", "weights")}
        rows |= {"bias": [self.bias]} | {f"report.{name}": [value] for name, value in report.items()}
        return pa.table([pa.array(rows), pa.array(rows.values(), pa.list_(pa.float64()))], schema=MODEL)

    @classmethod
    def from_table(cls, table: pa.Table) -> Ridge:
        """The model in a table that `table` made."""
        rows = dict(zip(table["name"].to_pylist(), table["values"].to_pylist(), strict=True))
        arrays = {name: np.array(rows[name]) for name in ("mean", "spread", "slopes", "weights")}
        return cls(**arrays, bias=rows["bias"][0])


def held_out(seen: Features, scores: Floats, penalty: float, folds: int) -> dict[str, float]:
    """How the model's predictions agree with scores that it wasn't fitted to, by cross-validation.

    Args:
        seen: Features of N texts, in an order that has nothing to do with their scores.
        scores: N scores.
        penalty: As for `Ridge.fit`.
        folds: Text i is predicted by the model that was fitted to all texts but i, i ± folds, i ± 2 folds, ...

    Returns:
        `judged` (N), `spearman` (rank correlation) and `auc` (how often a text of the upper half, by the scores,
        is predicted above one of the lower half).
    """
    predicted = np.zeros(len(scores))
    fold = np.arange(len(scores)) % folds
    for k in range(folds):
        model = Ridge.fit(_take(seen, np.flatnonzero(fold != k)), scores[fold != k], penalty)
        predicted[fold == k] = model.predict(_take(seen, np.flatnonzero(fold == k)))
    return {
        "judged": float(len(scores)),
        "spearman": spearman(predicted, scores),
        "auc": auc(predicted, scores > np.median(scores)),
    }


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


def _standard(forms: npt.NDArray[np.float32], mean: Floats, spread: Floats) -> Floats:
    """Measures of form in standard deviations from the mean, at most 4, so that no odd text runs away."""
    return np.clip((forms - mean) / spread, -4, 4)


def _dense(seen: Features) -> Floats:
    x_ND = np.zeros((len(seen), 1 << BITS))
    x_ND[seen.owners(), seen.places] = seen.weights
    return x_ND


def _take(seen: Features, rows: npt.NDArray[np.int64]) -> Features:
    chosen = np.isin(seen.owners(), rows)
    offsets = np.concatenate([[0], np.cumsum(np.diff(seen.offsets)[rows])]).astype(np.int64)
    return Features(offsets, seen.places[chosen], seen.weights[chosen], seen.forms[rows])
