"""A read-only map from 64-bit hashes to small numbers, for lookups by the batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_SLOTS_PER_HASH = 16
_MAX_SLOT_BITS = 27


class HashIndex:
    """Sorted hashes and their values, behind a sieve that spares the search for nearly all hashes that aren't there.

    It takes two bytes for each hash beside the hash and its value. Of a hash that is given twice, the first value
    counts.

    Args:
        hashes: Uniform 64-bit hashes [N].
        values: One number for each [N].
    """

    def __init__(self, hashes: npt.NDArray[np.uint64], values: npt.NDArray[np.integer]) -> None:
        self._hashes, first = np.unique(hashes, return_index=True)
        self._values = values[first]
        bits = min(_MAX_SLOT_BITS, max(10, (_SLOTS_PER_HASH * len(hashes)).bit_length()))
        self._shift = np.uint64(64 - bits)
        slots = np.zeros(1 << bits, np.bool_)
        slots[self._hashes >> self._shift] = True
        self._sieve = np.packbits(slots, bitorder="little")

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return self._hashes.nbytes + self._values.nbytes + self._sieve.nbytes

    def find(self, hashes: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.integer]]:
        """Which of `hashes` are there, as places in it, and their values."""
        slots = hashes >> self._shift
        bits = self._sieve[slots >> np.uint64(3)] >> (slots & np.uint64(7)).astype(np.uint8)
        passed = np.flatnonzero(bits & np.uint8(1))
        if not len(passed):
            return passed, self._values[:0]
        at = np.searchsorted(self._hashes, hashes[passed])
        at[at == len(self._hashes)] = 0
        there = self._hashes[at] == hashes[passed]
        return passed[there], self._values[at[there]]
