"""Word shingles, MinHash signatures and Jaccard similarity, on numpy arrays.

Arrays carry their shape as a suffix: W words, S distinct shingles of a document, B bands, R rows of a band, P = B * R.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import xxhash

Hashes = npt.NDArray[np.uint64]

WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]{1,64}")
_MIX = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 2048


@lru_cache(maxsize=1 << 16)
def _digest(word: str) -> bytes:
    return xxhash.xxh3_64_digest(word.encode("utf-8", "surrogatepass"))


def shingles(text: str, n: int) -> Hashes:
    """64-bit hashes of all runs of `n` words, ascending and distinct [S].

    Words are runs of letters and digits, in lower case, so that neither punctuation nor case nor layout sets two
    copies apart; a run of more than 64 is cut. In scripts that put no space between words each character is one. A
    text of fewer than `n` words has one shingle, an empty one none.
    """
    hashes = hash_words(WORD.findall(text.lower()))
    return np.unique(hash_runs(hashes, min(n, len(hashes))))


def hash_words(words: Sequence[str]) -> Hashes:
    """The 64-bit hash of each word [W]."""
    return np.frombuffer(b"".join(map(_digest, words)), ">u8").astype(np.uint64)


def hash_runs(words_W: Hashes, n: int) -> Hashes:
    """The 64-bit hash of the `n` words from each word on, of all that have so many behind them [W - n + 1]."""
    runs = words_W[: max(0, len(words_W) - n + 1)].copy()
    for k in range(1, n):
        runs = (runs * _MIX) ^ (runs >> np.uint64(29)) ^ words_W[k : k + len(runs)]
    return runs


def jaccard(first: Hashes, second: Hashes, limit: int) -> float:
    """Shared shingles over all shingles of two documents, in [0, 1]; exact up to `limit` shingles.

    Of larger documents, both are reduced to the shingles whose hash lies below one common bound, chosen so that the
    larger keeps about `limit`. Hashes being uniform, that is the same random sample of the union for both, and the
    estimate is unbiased.
    """
    largest = max(len(first), len(second))
    if largest > limit:
        bound = np.uint64(int(limit / largest * 2**64))
        first, second = first[: np.searchsorted(first, bound)], second[: np.searchsorted(second, bound)]
    shared = len(np.intersect1d(first, second, assume_unique=True))
    union = len(first) + len(second) - shared
    return shared / union if union else 0.0


@dataclass(frozen=True)
class MinHash:
    """MinHash signatures cut in bands (Broder 1997; Leskovec et al., Mining of Massive Datasets, section 3.4).

    Each permutation is a multiplication by a fixed odd 64-bit number of which the high half counts (Dietzfelbinger
    et al. 1997), so a signature is the same on every machine and in every version.

    Attributes:
        bands: Groups of rows; two documents become candidates where all rows of one group agree.
        rows: Rows in a band.
    """

    bands: int
    rows: int

    def keys(self, shingles_S: Hashes) -> Hashes:
        """One 64-bit key for each band [B]."""
        multipliers_P = _multipliers(self.bands * self.rows)
        least_P = np.full(len(multipliers_P), np.iinfo(np.uint64).max)
        for start in range(0, len(shingles_S), _BLOCK):
            permuted_PS = shingles_S[None, start : start + _BLOCK] * multipliers_P[:, None]
            np.minimum(least_P, permuted_PS.min(axis=1), out=least_P)
        rows_BR = (least_P >> np.uint64(32)).reshape(self.bands, self.rows)
        keys_B = np.zeros(self.bands, np.uint64)
        for r in range(self.rows):
            keys_B = (keys_B * _MIX) ^ (keys_B >> np.uint64(29)) ^ rows_BR[:, r]
        return keys_B


def _multipliers(count: int) -> Hashes:
    """`count` odd 64-bit numbers, drawn by hashing their positions [P]."""
    drawn = [xxhash.xxh3_64_intdigest(b"minhash" + i.to_bytes(4, "little")) | 1 for i in range(count)]
    return np.array(drawn, np.uint64)
