"""Kernels that count hashes in a table with open addressing, which is emptied in no time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tiers.l1_filtered.kernels.text import Counts, Hashes, compiled

_HALF = np.uint64(32)


class Tally(NamedTuple):
    """Attributes:
    hashes: What is counted [slots].
    counts: How often [slots].
    rounds: In which round a slot was taken; those of earlier rounds are free [slots].
    present: The present round, and the slots that it uses, less one [2].
    """

    hashes: Hashes
    counts: Counts
    rounds: Counts
    present: Counts


@compiled
def new_tally(most: int) -> Tally:
    """A tally for at most so many hashes at a time."""
    slots = 4
    while slots < 2 * most:
        slots *= 2
    return Tally(
        np.empty(slots, np.uint64), np.empty(slots, np.int64), np.zeros(slots, np.int64), np.zeros(2, np.int64)
    )


@compiled
def empty_tally(tally: Tally, most: int) -> None:
    """Forgets all counts, and gets ready for at most so many hashes."""
    slots = 4
    while slots < 2 * most:
        slots *= 2
    tally.present[0] += 1
    tally.present[1] = slots - 1


@compiled
def count_in(tally: Tally, hashed: np.uint64) -> int:
    """Counts a hash once more and gives its slot."""
    slot = int(np.int64(hashed >> _HALF)) & int(tally.present[1])
    while tally.rounds[slot] == tally.present[0]:
        if tally.hashes[slot] == hashed:
            tally.counts[slot] += 1
            return slot
        slot = (slot + 1) & int(tally.present[1])
    tally.hashes[slot], tally.counts[slot], tally.rounds[slot] = hashed, 1, tally.present[0]
    return slot
