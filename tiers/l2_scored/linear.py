"""A linear model of scores on the features of texts: ridge regression, fitted by conjugate gradients.

A fastText classifier of two classes scores a text by the same kind of sum: the mean of its n-grams' vectors, times the
difference of the two output vectors, is the mean of one number for each n-gram (Joulin et al. 2017, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tiers.l2_scored import kernels
from tiers.l2_scored.features import BATCH, BITS, Features, reading
from tiers.text_buffers import text_buffers

Floats = npt.NDArray[np.float64]

_LEVELS = 1 << 20
"""The largest weight in whole steps: what lies below a step depends on the machine's arithmetic."""
_ROUNDS = 500
_EXACT = 1e-7
_LEAST_DOCUMENTS = 2


@dataclass(frozen=True)
class Linear:
    """score = bias + slopes · vector + step / √places · sum of the weights of the places; K scores a text.

    Attributes:
        slopes: (V, K).
        weights: int32, (2**BITS, K), in steps.
        step: (K,).
        bias: (K,).
    """

    slopes: Floats
    weights: npt.NDArray[np.int32]
    step: Floats
    bias: Floats

    @classmethod
    def fit(cls, seen: Features, scores: Floats, penalty: float) -> Linear:
        """Least squares with `penalty` times the squared norm of slopes and weights (Hoerl and Kennard 1970).

        A place that only one text has gets no weight.

        Args:
            seen: Features of N texts.
            scores: (N, K).
            penalty: Above 0.
        """
        rows = _Rows(seen)
        fitted = [rows.solve(column, penalty) for column in scores.T]
        slopes = np.stack([slope for slope, _ in fitted], axis=1).astype(np.float32).astype(np.float64)
        exact = np.stack([place for _, place in fitted], axis=1)
        step = np.maximum(np.abs(exact).max(axis=0), 1e-12).astype(np.float32).astype(np.float64) / _LEVELS
        model = cls(slopes, np.rint(exact / step).astype(np.int32), step, np.zeros(scores.shape[1]))
        bias = (scores - model.predict(seen)).mean(axis=0).astype(np.float32).astype(np.float64)
        return cls(slopes, model.weights, step, bias)

    def predict(self, seen: Features) -> Floats:
        """The scores of texts whose features are there (N, K)."""
        sums = np.empty((len(seen), len(self.bias)))
        for k in range(len(self.bias)):
            kernels.gather(seen.starts, seen.places, self.weights[:, k].astype(np.float64), sums[:, k])
        scores = self._scores(sums, np.diff(seen.starts))
        for vector_N, slope_K in zip(
            seen.vectors.T, self.slopes, strict=True
        ):  # no BLAS, whose sums depend on the rows
            scores += vector_N[:, None] * slope_K
        return scores

    def score(self, texts: pa.ChunkedArray, limit: int) -> Floats:
        """The scores of the first `limit` bytes of each text (N, K), in one pass over them."""
        cells = np.concatenate([np.zeros((len(self.weights), 1), np.int32), self.weights], axis=1)
        scores = [np.empty((0, len(self.bias)))]
        for data, offsets in text_buffers(texts, BATCH, limit):
            count = len(offsets) - 1
            sums, places = np.empty((count, len(self.bias)), np.int64), np.empty(count, np.int64)
            kernels.score(data, offsets, limit, *reading(), cells, sums, places)
            scores.append(self._scores(sums, places))
        return np.concatenate(scores)

    def _scores(self, sums: npt.NDArray[np.int64] | Floats, places: npt.NDArray[np.int64]) -> Floats:
        return np.asarray(self.bias + sums * self.step / np.sqrt(np.maximum(places, 1))[:, None])

    def numbers(self) -> dict[str, Floats]:
        """All that it is made of."""
        arrays = {name: getattr(self, name) for name in ("slopes", "weights", "step", "bias")}
        return {name: array.reshape(-1).astype(np.float64) for name, array in arrays.items()}

    @classmethod
    def of(cls, numbers: Mapping[str, Floats]) -> Linear:
        """What is made of these `numbers`."""
        outputs = len(numbers["bias"])
        weights = numbers["weights"].astype(np.int32).reshape(-1, outputs)
        return cls(numbers["slopes"].reshape(-1, outputs), weights, numbers["step"], numbers["bias"])


class _Rows:
    """The matrix X that has a row for each text, its vector and its places, as products with it.

    U of the places are in enough texts to be worth anything.
    """

    def __init__(self, seen: Features) -> None:
        self._vectors_NV = seen.vectors
        self._scale_N = 1 / np.sqrt(np.maximum(np.diff(seen.starts), 1))
        self._used = np.flatnonzero(np.bincount(seen.places, minlength=1 << BITS) >= _LEAST_DOCUMENTS)
        number_P = np.full(1 << BITS, -1)
        number_P[self._used] = np.arange(len(self._used))
        numbers = number_P[seen.places]
        self._places = numbers[numbers >= 0]
        self._starts = np.concatenate([[0], np.cumsum(numbers >= 0)])[seen.starts]

    def solve(self, scores_N: Floats, penalty: float) -> tuple[Floats, Floats]:
        """What vectors and places are worth: Xᵀa, where (CXXᵀC + penalty) a = C scores and C takes the mean away.

        By conjugate gradients (Hestenes and Stiefel 1952) in as many numbers as there are texts.
        """
        a_N, rest_N = np.zeros(len(scores_N)), scores_N - scores_N.mean()
        way_N, size = rest_N.copy(), float(rest_N @ rest_N)
        least = size * _EXACT**2
        for _ in range(_ROUNDS):
            if size <= least:
                break
            image_N = self._times(*self._transposed(way_N))
            image_N += penalty * way_N - image_N.mean()
            length = size / float(way_N @ image_N)
            a_N += length * way_N
            rest_N -= length * image_N
            size, before = float(rest_N @ rest_N), size
            way_N = rest_N + size / before * way_N
        slopes_V, places_U = self._transposed(a_N)
        places_P = np.zeros(1 << BITS)
        places_P[self._used] = places_U
        return slopes_V, places_P

    def _transposed(self, vector_N: Floats) -> tuple[Floats, Floats]:
        places_U = np.zeros(len(self._used))
        kernels.scatter(self._starts, self._places, vector_N * self._scale_N, places_U)
        return self._vectors_NV.T @ vector_N, places_U

    def _times(self, slopes_V: Floats, places_U: Floats) -> Floats:
        sums_N = np.empty(len(self._scale_N))
        kernels.gather(self._starts, self._places, places_U, sums_N)
        return np.asarray(self._vectors_NV @ slopes_V + sums_N * self._scale_N)
