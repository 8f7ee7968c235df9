"""Kernels that measure how much of a text lies in runs of words that it repeats."""

from __future__ import annotations

import numpy as np

from tiers.kernel import compiled, inlined
from tiers.l1_filtered.kernels.tallies import Tally, count_in, empty_tally, new_tally
from tiers.l1_filtered.kernels.text import Counts, Hashes, Shares
from tiers.l1_filtered.kernels.words import Words

_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


@compiled
def repeated_runs(words: Words, sizes: Counts, top: Counts, duplicate: Counts) -> tuple[Shares, Shares]:
    """Shares of texts' characters in their most frequent runs of n words, and in runs that they repeat.

    A run can only recur where the shorter one that it begins with does; so from one n to the next fewer are looked at.

    Args:
        words: Of all texts.
        sizes: Characters of each text, above 0 where it has words [texts].
        top: For which n the most frequent run is sought, ascending.
        duplicate: For which n repeated runs are counted, ascending.

    Returns:
        [texts, top]: occurrences of the most frequent run times its length with one space between words; of equally
        frequent ones, the first counts. [texts, duplicate]: characters in repeated runs, without spaces.
    """
    hashes, lengths, bounds = words.hashes, words.lengths, words.bounds
    tops, duplicates = np.zeros((len(sizes), len(top))), np.zeros((len(sizes), len(duplicate)))
    most = 0
    for text in range(len(sizes)):
        most = max(most, bounds[text + 1] - bounds[text])
    tally, reach = new_tally(most), np.zeros(most + 1, np.int64)
    runs = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64)
    for text in range(len(sizes)):
        begin, end = bounds[text], bounds[text + 1]
        for word in range(begin, end):
            reach[word - begin + 1] = reach[word - begin] + lengths[word]
        _characters_in_runs(hashes[begin:end], reach, top, duplicate, runs, tally, tops[text], duplicates[text])
        for at in range(len(top)):
            tops[text, at] /= max(sizes[text], 1)
        for at in range(len(duplicate)):
            duplicates[text, at] /= max(sizes[text], 1)
    return tops, duplicates


@inlined
def _characters_in_runs(
    words: Hashes,
    reach: Counts,
    top: Counts,
    duplicate: Counts,
    runs: tuple[Hashes, Counts, Counts],
    tally: Tally,
    tops: Shares,
    duplicates: Shares,
) -> None:
    """Characters in runs of one text, for each n, into `tops` and `duplicates`.

    Args:
        words: The hashes of its words.
        reach: Characters before each word, and in all [words + 1].
        top: As above.
        duplicate: As above.
        runs: Room for hashes of runs, for the words that they begin with, and for where they are counted.
        tally: Counts runs.
        tops: [top].
        duplicates: [duplicate].
    """
    hashes, starts, slots = runs
    for word in range(len(words)):
        starts[word], hashes[word] = word, words[word]
    count, at_top, at_duplicate, n = len(words), 0, 0, 1
    while at_top < len(top) or at_duplicate < len(duplicate):
        is_top = at_top < len(top) and top[at_top] == n
        is_duplicate = at_duplicate < len(duplicate) and duplicate[at_duplicate] == n
        if is_top or is_duplicate:
            empty_tally(tally, count)
            for run in range(count):
                slots[run] = count_in(tally, hashes[run])
            if is_top and n <= len(words):
                tops[at_top] = _most_frequent(starts, slots, count, n, reach, tally)
            count = _recurring(hashes, starts, slots, count, tally)
            if is_duplicate:
                duplicates[at_duplicate] = _repeated(starts, slots, count, n, reach, tally)
        at_top += is_top
        at_duplicate += is_duplicate
        n += 1
        count = _lengthen(hashes, starts, count, n, words)


@inlined
def _lengthen(hashes: Hashes, starts: Counts, count: int, n: int, words: Hashes) -> int:
    """Takes one word more into each run, so that it has `n`, and gives how many runs are left."""
    left = 0
    for run in range(count):
        last = starts[run] + n - 1
        if last < len(words):
            mixed = hashes[run] * _MIX ^ words[last]
            starts[left], hashes[left] = starts[run], mixed ^ (mixed >> _SHIFT)
            left += 1
    return left


@inlined
def _most_frequent(starts: Counts, slots: Counts, count: int, n: int, reach: Counts, tally: Tally) -> int:
    """Occurrences of the most frequent run, the first of several, times its length with spaces."""
    most, start = 1, 0
    for run in range(count):
        if tally[slots[run], 1] > most:
            most, start = tally[slots[run], 1], starts[run]
    return int(most * (reach[start + n] - reach[start] + n - 1))


@inlined
def _recurring(hashes: Hashes, starts: Counts, slots: Counts, count: int, tally: Tally) -> int:
    """Forgets runs that occur once, and gives how many are left."""
    left = 0
    for run in range(count):
        if tally[slots[run], 1] > 1:
            hashes[left], starts[left], slots[left] = hashes[run], starts[run], slots[run]
            left += 1
    return left


@inlined
def _repeated(starts: Counts, slots: Counts, count: int, n: int, reach: Counts, tally: Tally) -> int:
    """Characters in runs that occurred before, read from the left without overlap.

    A run that occurred before is counted and skipped; any other is remembered, and reading goes on one word later.
    """
    characters = free = 0
    for run in range(count):
        start = starts[run]
        if start >= free:
            if tally[slots[run], 1]:
                tally[slots[run], 1] = 0
            else:
                characters += reach[start + n] - reach[start]
                free = start + n
    return characters
