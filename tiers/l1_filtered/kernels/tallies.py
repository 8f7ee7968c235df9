"""Functions of kernels that count hashes in a table with open addressing, which is emptied in no time.

A tally is an array [1 + slots, 3]: of each slot a hash, how often it was counted, and the round in which it was; slots
of earlier rounds are free. The first row holds the present round, and the number of slots that it uses, less one.
"""

from __future__ import annotations

import numpy as np

from tiers.kernel import inlined
from tiers.l1_filtered.kernels.text import Counts

_HALF = np.uint64(32)
Tally = Counts


@inlined
def _slots(most: int) -> int:
    """Slots for so many hashes, at most half of them taken: a power of two."""
    slots = 4
    while slots < 2 * most:
        slots *= 2
    return slots


@inlined
def new_tally(most: int) -> Tally:
    """A tally for at most so many hashes at a time."""
    return np.zeros((1 + _slots(most), 3), np.int64)


@inlined
def empty_tally(tally: Tally, most: int) -> None:
    """Forgets all counts, and gets ready for at most so many hashes."""
    tally[0, 0] += 1
    tally[0, 1] = _slots(most) - 1


@inlined
def count_in(tally: Tally, hashed: np.uint64) -> int:
    """Counts a hash once more and gives its slot."""
    key, mask = np.int64(hashed), int(tally[0, 1])
    slot = 1 + (int(np.int64(hashed >> _HALF)) & mask)
    while tally[slot, 2] == tally[0, 0]:
        if tally[slot, 0] == key:
            tally[slot, 1] += 1
            return slot
        slot = 1 + (slot & mask)
    tally[slot, 0], tally[slot, 1], tally[slot, 2] = key, 1, tally[0, 0]
    return slot
