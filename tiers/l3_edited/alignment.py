"""Which lines of a text became which lines of another, and what changed within a line, in near-linear time.

Equal lines that occur once on both sides anchor the rest (Bram Cohen's patience diff, here a few levels deep), then
lines that are equal but for spaces, punctuation and case. What is left between anchors is paired by how similar the
lines are, in the best order-preserving way, block by block. UltraX compares all lines with all, character by character,
which takes minutes for a few hundred of them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tiers.l3_edited.edit_program import changed_span
from tiers.l3_edited.protected import Span

Pair = tuple[int, int]
"""A position on one side and the one on the other that belongs to it, counted from 0."""

_LEVELS = 8
_BLOCK = 1024
"""So many lines on either side are compared with each other; larger gaps are cut in proportion."""

_DIMENSIONS = 512
_GRAM = 4
_SIMILAR = 0.4
"""UltraX pairs lines from the same similarity on, of difflib."""

_TOKEN = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff]+|[\s\S]")
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_SMALL_GAP = 4096
_NEAR = 20
"""Changes fewer characters apart become one: an operation of its own takes about twice as many."""


def align_lines(raw: Sequence[str], refined: Sequence[str]) -> list[Pair]:
    """Pairs lines that are equal or similar, in ascending order on both sides."""
    pairs = matches(raw, refined)
    keys = [_key(line) for line in raw], [_key(line) for line in refined]
    pairs += [pair for gap in gaps(pairs, len(raw), len(refined)) for pair in _within(gap, *keys)]
    pairs.sort()
    for a, b in list(gaps(pairs, len(raw), len(refined))):
        for part_a, part_b in _blocks(a, b):
            found = _similar(raw[part_a.start : part_a.stop], refined[part_b.start : part_b.stop])
            pairs += [(part_a.start + i, part_b.start + j) for i, j in found]
    return sorted(pairs)


def changes(old: str, new: str, kept: Sequence[Span] = ()) -> list[tuple[int, int, str]]:
    """What became of a line: (from, to, replacement) of each changed piece of `old`, as short as can be.

    Pieces that are near each other are one piece, but for those with a span in `kept` between them.
    """
    tokens = _TOKEN.findall(old), _TOKEN.findall(new)
    ends = [np.cumsum([0, *map(len, side)]) for side in tokens]
    pieces: list[list[int]] = []
    for a, b in gaps(_token_pairs(*tokens), len(tokens[0]), len(tokens[1]), empty=True):
        piece = [int(ends[0][a.start]), int(ends[0][a.stop]), int(ends[1][b.start]), int(ends[1][b.stop])]
        before = pieces[-1] if pieces else None
        if before and piece[0] - before[1] < _NEAR and not any(before[1] < e and s < piece[0] for s, e in kept):
            before[1], before[3] = piece[1], piece[3]
        else:
            pieces.append(piece)
    return [changed_span(old[start:end], new[first:last], start) for start, end, first, last in pieces]


def gaps(pairs: Sequence[Pair], n: int, m: int, empty: bool = False) -> Iterator[tuple[range, range]]:
    """What lies between `pairs` on both sides, of `n` and `m` positions.

    Args:
        pairs: In ascending order.
        n: How many positions there are on the one side.
        m: How many there are on the other.
        empty: Whether to give those that are empty on one side, too.
    """
    i = j = 0
    for next_i, next_j in (*pairs, (n, m)):
        a, b = range(i, next_i), range(j, next_j)
        if (a and b) or (empty and (a or b)):
            yield a, b
        i, j = next_i + 1, next_j + 1


def matches(a: Sequence[str], b: Sequence[str]) -> list[Pair]:
    """Pairs of equal strings: common beginnings and ends, and in between what is unique on both sides, repeatedly.

    Strings of spaces alone don't anchor.
    """
    pairs: list[Pair] = []
    todo = [(0, len(a), 0, len(b), _LEVELS)]
    while todo:
        i, end_i, j, end_j, level = todo.pop()
        while i < end_i and j < end_j and a[i] == b[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        while i < end_i and j < end_j and a[end_i - 1] == b[end_j - 1]:
            end_i, end_j = end_i - 1, end_j - 1
            pairs.append((end_i, end_j))
        if level and i < end_i and j < end_j and (found := _unique(a, b, range(i, end_i), range(j, end_j))):
            pairs += found
            corners = [(i - 1, j - 1), *found, (end_i, end_j)]
            for (p, q), (next_p, next_q) in pairwise(corners):
                todo.append((p + 1, next_p, q + 1, next_q, level - 1))
    return sorted(pairs)


def _unique(a: Sequence[str], b: Sequence[str], in_a: range, in_b: range) -> list[Pair]:
    """The longest ascending run of pairs of strings that are unique in both ranges."""
    counts = Counter(a[i] for i in in_a), Counter(b[j] for j in in_b)
    place = {b[j]: j for j in in_b if counts[1][b[j]] == 1}
    pairs = [(i, place[a[i]]) for i in in_a if counts[0][a[i]] == 1 and a[i] in place and a[i].strip()]
    return _ascending(pairs)


def _ascending(pairs: Sequence[Pair]) -> list[Pair]:
    """The longest subsequence of `pairs`, ascending on the left, that ascends on the right (patience sorting)."""
    tops: list[int] = []
    piles: list[int] = []
    before: list[int] = []
    for number, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        before.append(piles[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [j]
        piles[pile : pile + 1] = [number]
    run = []
    at = piles[-1] if piles else -1
    while at >= 0:
        run.append(pairs[at])
        at = before[at]
    return run[::-1]


def _within(gap: tuple[range, range], a: Sequence[str], b: Sequence[str]) -> list[Pair]:
    """The matches of two ranges."""
    in_a, in_b = gap
    found = matches(a[in_a.start : in_a.stop], b[in_b.start : in_b.stop])
    return [(in_a.start + i, in_b.start + j) for i, j in found]


def _key(line: str) -> str:
    """What a line has in common with those that differ from it in spaces, punctuation and case alone."""
    return _NOT_ALPHANUMERIC.sub("", line).casefold() or line


def _blocks(a: range, b: range) -> Iterator[tuple[range, range]]:
    """A gap, or the parts of one that is too large, cut in proportion."""
    count = -(-max(len(a), len(b)) // _BLOCK)
    corners = [(len(a) * k // count, len(b) * k // count) for k in range(count + 1)]
    for (i, j), (next_i, next_j) in pairwise(corners):
        yield a[i:next_i], b[j:next_j]


def _similar(a: Sequence[str], b: Sequence[str]) -> list[Pair]:
    """The ascending pairs of similar lines with the most characters in common.

    Similarity is the cosine between the sets of the lines' character 4-grams, estimated from their signed hashes
    (Weinberger et al., arXiv 0902.2206); a pair counts as much as its shorter line is long.
    """
    if not a or not b:
        return []
    vectors = _vectors([*a, *b])
    worth = vectors[: len(a)] @ vectors[len(a) :].T
    worth[worth < _SIMILAR] = 0
    lengths = [np.array([len(line) for line in side], np.float32) for side in (a, b)]
    worth *= np.minimum.outer(*lengths)
    blank = [np.array([not line.strip() for line in side]) for side in (a, b)]
    worth[np.logical_and.outer(*blank)] = 0.5
    worth[np.logical_and.outer(lengths[0] == 0, lengths[1] > 0)] = 0  # nothing in an empty line can be replaced
    return _best_path(worth)


def _vectors(lines: Sequence[str]) -> npt.NDArray[np.float32]:
    """Unit vectors [lines, _DIMENSIONS] whose products are about the cosines between the lines' sets of n-grams."""
    text = np.frombuffer(("\n" + "\n".join(lines) + "\n" * _GRAM).encode("utf-32-le", "surrogatepass"), np.uint32)
    row_of = np.cumsum(text == ord("\n")) - 1
    grams = np.zeros(len(text) - _GRAM, np.uint64)
    for k in range(_GRAM):
        grams = (grams + text[k : k + len(grams)]) * np.uint64(0x9E3779B97F4A7C15)
        grams ^= grams >> np.uint64(29)
    rows = row_of[: len(grams)]
    held = rows < len(lines)
    # One entry for each n-gram of a line: the row above, its hash below.
    distinct = np.unique(rows[held].astype(np.uint64) << np.uint64(32) | grams[held] >> np.uint64(32))
    signs = np.where(distinct & np.uint64(1 << 31), 1.0, -1.0)
    cells = (distinct >> np.uint64(32)) * np.uint64(_DIMENSIONS) + distinct % np.uint64(_DIMENSIONS)
    sums = np.bincount(cells.astype(np.int64), signs, len(lines) * _DIMENSIONS).reshape(len(lines), _DIMENSIONS)
    norms = np.sqrt((sums**2).sum(axis=1, keepdims=True))
    unit: npt.NDArray[np.float32] = (sums / np.maximum(norms, 1)).astype(np.float32)
    return unit


def _best_path(worth: npt.NDArray[np.float32]) -> list[Pair]:
    """The ascending pairs whose `worth` [n, m] is together the greatest."""
    n, m = worth.shape
    best = np.zeros((n + 1, m + 1), np.float32)
    for i in range(n):
        np.maximum(best[i, 1:], best[i, :-1] + worth[i], out=best[i + 1, 1:])
        np.maximum.accumulate(best[i + 1], out=best[i + 1])
    pairs = []
    i, j = n, m
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def _token_pairs(a: Sequence[str], b: Sequence[str]) -> list[Pair]:
    """Equal tokens of two lines; where many of them repeat, not all that could be paired."""
    pairs = matches(a, b)
    for in_a, in_b in list(gaps(pairs, len(a), len(b))):
        if len(in_a) * len(in_b) <= _SMALL_GAP:
            parts = a[in_a.start : in_a.stop], b[in_b.start : in_b.stop]
            for i, j, size in SequenceMatcher(None, *parts, autojunk=False).get_matching_blocks():
                pairs += [(in_a.start + i + k, in_b.start + j + k) for k in range(size)]
    return sorted(pairs)
