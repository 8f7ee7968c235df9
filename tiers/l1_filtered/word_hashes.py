"""Words of single texts and their hashes, for stages that must know where in a text a word stands.

Arrays carry their shape as a suffix: W words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import xxhash

Hashes = npt.NDArray[np.uint64]

WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]{1,64}")
_MIX = np.uint64(0x9E3779B97F4A7C15)


@lru_cache(maxsize=1 << 16)
def _digest(word: str) -> bytes:
    return xxhash.xxh3_64_digest(word.encode("utf-8", "surrogatepass"))


def hash_words(words: Sequence[str]) -> Hashes:
    """The 64-bit hash of each word [W]."""
    return np.frombuffer(b"".join(map(_digest, words)), ">u8").astype(np.uint64)


def hash_runs(words_W: Hashes, n: int) -> Hashes:
    """The 64-bit hash of the `n` words from each word on, of all that have so many behind them [W - n + 1]."""
    runs = words_W[: max(0, len(words_W) - n + 1)].copy()
    for k in range(1, n):
        runs = (runs * _MIX) ^ (runs >> np.uint64(29)) ^ words_W[k : k + len(runs)]
    return runs
