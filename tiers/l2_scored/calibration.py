"""Maps a model's raw scores to what they mean: the expected rating, or the probability of being good.

Ratings are mapped by isotonic regression, labels of two values by Platt's sigmoid; both keep the order of the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ROUNDS = 100


@dataclass(frozen=True)
class Isotonic:
    """The rising function that is closest to the ratings, straight between the centres of its steps.

    Equal scores are pooled first, then adjacent violators (Ayer et al. 1955), with centres joined as by Oron and
    Flournoy (2017), so that scores which differ stay apart. Beyond the outermost centres it goes on with the slope of
    the least-squares line.

    Attributes:
        x, y: The centres, both ascending.
        slope: Beyond them.
    """

    x: Floats
    y: Floats
    slope: float

    @classmethod
    def fit(cls, scores: Floats, ratings: Floats) -> Self:
        """Fits it to raw scores (N,) and the ratings of the same texts (N,)."""
        order = np.lexsort((ratings, scores))  # sums differ in their last digits with the order
        scores, ratings = scores[order], ratings[order]
        x_U, first, weights = np.unique(scores, return_index=True, return_counts=True)
        steps: list[list[float]] = []  # mean score, mean rating, weight
        for step in zip(x_U, np.add.reduceat(ratings, first) / weights, weights, strict=True):
            steps.append(list(map(float, step)))
            while len(steps) > 1 and (steps[-2][1] >= steps[-1][1] or steps[-2][0] >= steps[-1][0]):
                x, y, weight = steps.pop()
                total = steps[-1][2] + weight
                steps[-1] = [(steps[-1][0] * steps[-1][2] + x * weight) / total,
                             (steps[-1][1] * steps[-1][2] + y * weight) / total, total]  # fmt: skip
        spread = float(scores.var())
        slope = max(0.0, float(np.cov(scores, ratings, bias=True)[0, 1]) / spread) if spread else 0.0
        x_S, y_S, _ = np.array(steps).T
        return cls(x_S, y_S, slope)

    def __call__(self, scores: Floats) -> Floats:
        """The expected ratings."""
        beyond = np.minimum(0, scores - self.x[0]) + np.maximum(0, scores - self.x[-1])
        return np.asarray(np.interp(scores, self.x, self.y) + self.slope * beyond)

    def numbers(self) -> Floats:
        """All that it is made of."""
        return np.concatenate([[self.slope], self.x, self.y])

    @classmethod
    def of(cls, numbers: Floats) -> Self:
        """What is made of these `numbers`."""
        x_S, y_S = numbers[1:].reshape(2, -1)
        return cls(x_S, y_S, float(numbers[0]))


@dataclass(frozen=True)
class Platt:
    """The probability 1 / (1 + exp(-(slope · score + shift))).

    Platt, "Probabilistic outputs for support vector machines" (1999), section 2.2, with its smoothed targets; found by
    Newton's method (Lin et al. 2007). Scores that fall as labels rise give each text the smoothed share of good ones.
    """

    slope: float
    shift: float

    @classmethod
    def fit(cls, scores: Floats, labels: Floats) -> Self:
        """Fits it to raw scores (N,) and labels 0 and 1 (N,)."""
        good = float(labels.sum())
        targets = np.where(labels > 0.5, (good + 1) / (good + 2), 1 / (len(labels) - good + 2))
        middle, spread = float(scores.mean()), float(scores.std()) or 1.0
        z_N2 = np.stack([(scores - middle) / spread, np.ones(len(scores))], axis=1)
        base = float(np.log((good + 1) / (len(labels) - good + 1)))
        w_2 = np.array([0.0, base])
        for _ in range(_ROUNDS):
            p_N = _sigmoid(z_N2 @ w_2)
            curve = (z_N2 * (p_N * (1 - p_N))[:, None]).T @ z_N2 + 1e-9 * np.eye(2)
            change = np.clip(np.linalg.solve(curve, z_N2.T @ (p_N - targets)), -2, 2)
            w_2 -= change
            if np.abs(change).max() < 1e-10:
                break
        slope = float(w_2[0]) / spread
        return cls(slope, float(w_2[1]) - slope * middle) if slope > 0 else cls(0.0, base)

    def __call__(self, scores: Floats) -> Floats:
        """The probabilities."""
        return _sigmoid(self.slope * scores + self.shift)

    def numbers(self) -> Floats:
        """All that it is made of."""
        return np.array([self.slope, self.shift])

    @classmethod
    def of(cls, numbers: Floats) -> Self:
        """What is made of these `numbers`."""
        return cls(*numbers.tolist())


Calibration = Isotonic | Platt


def calibrate(scores: Floats, truth: Floats) -> Calibration:
    """Platt's sigmoid where the truth is 0 or 1 and both occur, isotonic regression otherwise."""
    return Platt.fit(scores, truth) if set(np.unique(truth)) == {0.0, 1.0} else Isotonic.fit(scores, truth)


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)))
