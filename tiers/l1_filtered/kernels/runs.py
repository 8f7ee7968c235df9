"""Kernels that measure how much of a text lies in runs of words that it repeats."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tiers.l1_filtered.kernels.tallies import Tally, count_in, empty_tally, new_tally
from tiers.l1_filtered.kernels.text import Counts, Hashes, compiled
from tiers.l1_filtered.kernels.words import Words

_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)

Shares = npt.NDArray[np.float64]


class Runs(NamedTuple):
    """Runs of n words of one text; a kernel is told how many there are.

    Attributes:
        starts: The words that they begin with, ascending.
        hashes: One for each run.
        slots: Where each is counted.
        reach: Characters before each word, and all [words + 1].
    """

    starts: Counts
    hashes: Hashes
    slots: Counts
    reach: Counts


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
    tops, duplicates = np.zeros((len(sizes), len(top))), np.zeros((len(sizes), len(duplicate)))
    most = 0
    for text in range(len(sizes)):
        most = max(most, words.bounds[text + 1] - words.bounds[text])
    tally, reach = new_tally(most), np.zeros(most + 1, np.int64)
    runs = Runs(np.empty(most, np.int64), np.empty(most, np.uint64), np.empty(most, np.int64), reach)
    for text in range(len(sizes)):
        begin, end = words.bounds[text], words.bounds[text + 1]
        for word in range(begin, end):
            reach[word - begin + 1] = reach[word - begin] + words.lengths[word]
        _characters_in_runs(words.hashes[begin:end], top, duplicate, runs, tally, tops[text], duplicates[text])
        tops[text] /= max(sizes[text], 1)
        duplicates[text] /= max(sizes[text], 1)
    return tops, duplicates


@compiled
def _characters_in_runs(
    hashes: Hashes, top: Counts, duplicate: Counts, runs: Runs, tally: Tally, tops: Shares, duplicates: Shares
) -> None:
    """Characters in runs of one text, for each n, into `tops` and `duplicates`."""
    for word in range(len(hashes)):
        runs.starts[word], runs.hashes[word] = word, hashes[word]
    count, at_top, at_duplicate, n = len(hashes), 0, 0, 1
    while at_top < len(top) or at_duplicate < len(duplicate):
        is_top = at_top < len(top) and top[at_top] == n
        is_duplicate = at_duplicate < len(duplicate) and duplicate[at_duplicate] == n
        if is_top or is_duplicate:
            _tally(runs, count, tally)
            if is_top and n <= len(hashes):
                tops[at_top] = _most_frequent(runs, count, n, tally)
            count = _recurring(runs, count, tally)
            if is_duplicate:
                duplicates[at_duplicate] = _repeated(runs, count, n, tally)
        at_top += is_top
        at_duplicate += is_duplicate
        n += 1
        count = _lengthen(runs, count, n, hashes)


@compiled
def _lengthen(runs: Runs, count: int, n: int, hashes: Hashes) -> int:
    """Takes one word more into each run, so that it has `n`, and gives how many runs are left."""
    left = 0
    for run in range(count):
        last = runs.starts[run] + n - 1
        if last < len(hashes):
            mixed = runs.hashes[run] * _MIX ^ hashes[last]
            runs.starts[left], runs.hashes[left] = runs.starts[run], mixed ^ (mixed >> _SHIFT)
            left += 1
    return left


@compiled
def _tally(runs: Runs, count: int, tally: Tally) -> None:
    empty_tally(tally, count)
    for run in range(count):
        runs.slots[run] = count_in(tally, runs.hashes[run])


@compiled
def _most_frequent(runs: Runs, count: int, n: int, tally: Tally) -> int:
    """Occurrences of the most frequent run, the first of several, times its length with spaces."""
    most, start = 1, 0
    for run in range(count):
        if tally.counts[runs.slots[run]] > most:
            most, start = tally.counts[runs.slots[run]], runs.starts[run]
    return int(most * (runs.reach[start + n] - runs.reach[start] + n - 1))


@compiled
def _recurring(runs: Runs, count: int, tally: Tally) -> int:
    """Forgets runs that occur once, and gives how many are left."""
    left = 0
    for run in range(count):
        if tally.counts[runs.slots[run]] > 1:
            runs.starts[left], runs.hashes[left], runs.slots[left] = runs.starts[run], runs.hashes[run], runs.slots[run]
            left += 1
    return left


@compiled
def _repeated(runs: Runs, count: int, n: int, tally: Tally) -> int:
    """Characters in runs that occurred before, read from the left without overlap.

    A run that occurred before is counted and skipped; any other is remembered, and reading goes on one word later.
    """
    characters = free = 0
    for run in range(count):
        start = runs.starts[run]
        if start < free:
            continue
        if tally.counts[runs.slots[run]]:
            tally.counts[runs.slots[run]] = 0
        else:
            characters += runs.reach[start + n] - runs.reach[start]
            free = start + n
    return characters
