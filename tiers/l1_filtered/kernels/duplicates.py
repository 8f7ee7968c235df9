"""Compiled loops over texts and over pairs of documents. They know arrays alone; `shingles` and others call them.

Texts are UTF-8 as Arrow keeps it: `data` and the `offsets` at which documents begin [D + 1]. Arrays carry their shape
as a suffix: D documents, S shingles, B bands, P permutations, N candidates, E pairs of candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tiers.kernel import compiled

FOLDED = 0x20000
"""Code points below this one are folded by table; beyond there are ideographs, and nothing else that is a word."""
ALONE = 1 << 31
"""Marks a character that is a word of its own."""
SKIPPED = 1 << 30
"""Marks a character that neither belongs to a word nor ends one."""
LONGEST = 64
"""Characters after which a word is cut."""
EVERYTHING = 1 << 32
"""The bound below which all shingles lie."""

_LAST_IDEOGRAPH = 0x323AF
_ALONE = np.uint32(ALONE)
_SKIPPED = np.uint32(SKIPPED)
_ONE = np.uint32(1)
_BASIS = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_ROLL = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@compiled
def mix(value: Any) -> Any:
    """Spreads 64 bits: the finaliser of SplitMix64 (Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled
def code_point(data: Any, at: int, end: int) -> tuple[Any, int]:
    """The code point of two or more bytes at `at`, and where the next begins; of what is no UTF-8, any."""
    byte = np.uint32(data[at])
    size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    code = byte & np.uint32(0xFF >> (size + 1))
    for k in range(at + 1, min(at + size, end)):
        code = np.uint32((code << np.uint32(6)) | (np.uint32(data[k]) & np.uint32(0x3F)))
    return code, at + size


@compiled
def words(data: Any, start: int, end: int, folding: Any, out: Any) -> int:
    """Writes a 64-bit hash (FNV-1a over folded characters) of each word of data[start:end]; gives their number."""
    count, length, value, at = 0, 0, _BASIS, start
    while at < end:
        if data[at] < 0x80:
            folded = folding[data[at]]
            at += 1
        else:
            code, at = code_point(data, at, end)
            if code < FOLDED:
                folded = folding[code]
            else:
                folded = np.uint32(code | _ALONE) if code <= _LAST_IDEOGRAPH else np.uint32(0)
        if folded - _ONE < _SKIPPED - _ONE and length < LONGEST:
            value = (value ^ np.uint64(folded)) * _PRIME
            length += 1
            continue
        if folded == _SKIPPED:
            continue
        if length:
            out[count] = mix(value)
            count, length, value = count + 1, 0, _BASIS
        if folded >= _ALONE:
            out[count] = mix(_BASIS ^ np.uint64(folded))
            count += 1
        elif folded != 0:
            value = (value ^ np.uint64(folded)) * _PRIME
            length = 1
    if length:
        out[count] = mix(value)
        count += 1
    return count


@compiled
def runs(hashes: Any, count: int, n: int, out: Any) -> int:
    """Writes a 32-bit hash of each run of `n` words, by a rolling polynomial; gives their number."""
    if count == 0:
        return 0
    n = min(n, count)
    leaving = np.uint64(1)
    for _ in range(n):
        leaving = leaving * _ROLL
    value = np.uint64(0)
    for i in range(count):
        value = value * _ROLL + hashes[i]
        if i >= n:
            value = value - hashes[i - n] * leaving
        if i >= n - 1:
            out[i - n + 1] = np.uint32(mix(value) >> _HALF)
    return count - n + 1


@compiled
def room(offsets_D: Any) -> int:
    """Words that the longest document can have: between two of one byte there is a third, others take three."""
    longest = 0
    for d in range(len(offsets_D) - 1):
        longest = max(longest, offsets_D[d + 1] - offsets_D[d])
    return longest // 2 + 2


@compiled
def signatures(
    data: Any, offsets_D: Any, folding: Any, n: int, factors_P: Any, terms_P: Any, keys_DB: Any, sizes_D: Any
) -> None:
    """Fills in one 64-bit key for each document and band, and the shingles of each document."""
    hashes, shingles = np.empty(room(offsets_D), np.uint64), np.empty(room(offsets_D), np.uint32)
    bands, rows = keys_DB.shape[1], len(factors_P) // keys_DB.shape[1]
    for d in range(len(offsets_D) - 1):
        count = runs(hashes, words(data, offsets_D[d], offsets_D[d + 1], folding, hashes), n, shingles)
        sizes_D[d] = count
        for band in range(bands):
            key = np.uint64(band + 1)
            for p in range(band * rows, band * rows + rows):
                factor, term, least = factors_P[p], terms_P[p], np.uint32(0xFFFFFFFF)
                for s in range(count):
                    least = min(least, np.uint32(shingles[s] * factor + term))
                key = mix(key ^ np.uint64(least)) * _ROLL
            keys_DB[d, band] = key


@compiled
def insert(seen: Any, mask: int, value: Any) -> bool:
    """Puts `value` into an open hash table of `mask` + 1 places, of which 0 is empty; says whether it was new."""
    entry, at = np.uint64(value) + np.uint64(1), np.int64(value) & mask
    while seen[at] != 0:
        if seen[at] == entry:
            return False
        at = (at + 1) & mask
    seen[at] = entry
    return True


@compiled
def places(count: int) -> int:
    """The size of a hash table for `count` values: the power of two that leaves half of it empty."""
    size = 16
    while size < 2 * count:
        size *= 2
    return size


@compiled
def distinct(data: Any, offsets_D: Any, folding: Any, n: int, limit: int, out: Any, sizes_D: Any, bounds_D: Any) -> int:
    """Writes the distinct shingles of each document; of one with more than `limit` those below a bound.

    Gives the number of all, and fills in how many each document has and the bound below which they lie.
    """
    hashes, shingles = np.empty(room(offsets_D), np.uint64), np.empty(room(offsets_D), np.uint32)
    seen = np.empty(places(room(offsets_D)), np.uint64)
    total = 0
    for d in range(len(offsets_D) - 1):
        count = runs(hashes, words(data, offsets_D[d], offsets_D[d + 1], folding, hashes), n, shingles)
        size = places(count)
        seen[:size] = 0
        first = total
        for s in range(count):
            if insert(seen, size - 1, shingles[s]):
                out[total] = shingles[s]
                total += 1
        bound = EVERYTHING
        if total - first > limit:
            bound = int(limit / (total - first) * EVERYTHING)
            kept = first
            for s in range(first, total):
                if out[s] < bound:
                    out[kept] = out[s]
                    kept += 1
            total = kept
        sizes_D[d], bounds_D[d] = total - first, bound
    return total


@compiled
def similarity(seen: Any, mask: int, first_S: Any, second_S: Any, bound: int) -> float:
    """The Jaccard similarity below `bound` of two sets of shingles, of which `seen` holds the first."""
    ours, theirs, shared = 0, 0, 0
    for s in range(len(first_S)):
        ours += first_S[s] < bound
    for s in range(len(second_S)):
        if second_S[s] < bound:
            theirs += 1
            entry, at = np.uint64(second_S[s]) + np.uint64(1), np.int64(second_S[s]) & mask
            while seen[at] != 0:
                if seen[at] == entry:
                    shared += 1
                    break
                at = (at + 1) & mask
    union = ours + theirs - shared
    return shared / union if union else 0.0


@compiled
def bucket_pairs(keys: Any, nodes: Any, reach: int, fixed: int) -> Any:
    """Pairs worse << 32 | better of the nodes that share a key; the smaller a node, the more it is preferred.

    Every node is paired with the best of its bucket and with the `reach` that come before it in order of preference,
    so that the pairs grow with the bucket and not with its square. Nodes below `fixed` are never the worse.
    """
    out = np.empty((reach + 1) * len(keys), np.uint64)
    size, start = 0, 0
    while start < len(keys):
        end = start + 1
        while end < len(keys) and keys[end] == keys[start]:
            end += 1
        bucket = np.sort(nodes[start:end])
        for i in range(1, len(bucket)):
            if bucket[i] >= fixed:
                worse = np.uint64(bucket[i]) << _HALF
                out[size] = worse | np.uint64(bucket[0])
                size += 1
                for j in range(max(1, i - reach), i):
                    out[size] = worse | np.uint64(bucket[j])
                    size += 1
        start = end
    return out[:size]


@compiled
def components(worse_E: Any, better_E: Any, roots_N: Any) -> None:
    """Fills in the smallest node that each node is connected with (union by the smaller, path halving)."""
    for node in range(len(roots_N)):
        roots_N[node] = node
    for e in range(len(worse_E)):
        first, second = worse_E[e], better_E[e]
        while roots_N[first] != first:
            roots_N[first] = roots_N[roots_N[first]]
            first = roots_N[first]
        while roots_N[second] != second:
            roots_N[second] = roots_N[roots_N[second]]
            second = roots_N[second]
        roots_N[max(first, second)] = min(first, second)
    for node in range(len(roots_N)):
        roots_N[node] = roots_N[roots_N[node]]


@compiled
def settle(
    nodes: Any,
    firsts_N: Any,
    better_E: Any,
    slots_N: Any,
    shingles: Any,
    starts: Any,
    bounds: Any,
    threshold: float,
    keepers_N: Any,
    similarities_N: Any,
) -> None:
    """Decides on `nodes` in their order, the preferred ones of each component first.

    Each is compared with what it was paired with or, where that is dropped already, with what was kept in its stead;
    it goes for the most similar of these if the similarity reaches the threshold.

    Args:
        nodes: The nodes to decide on.
        firsts_N: Where each node's pairs begin in `better_E` [N + 1].
        better_E: The preferred node of each pair.
        slots_N: Where each node that may be needed is in memory.
        shingles: The distinct shingles of what is in memory, one after the other.
        starts: Where they begin, by slot.
        bounds: The bound below which they lie, by slot.
        threshold: The similarity from which a node goes.
        keepers_N: Filled in: the node that is kept instead, -1 for none.
        similarities_N: Filled in: how similar that is.
    """
    seen = np.empty(16, np.uint64)
    for node in nodes:
        first, end = firsts_N[node], firsts_N[node + 1]
        if first == end:
            continue
        slot = slots_N[node]
        mine = shingles[starts[slot] : starts[slot + 1]]
        size = places(len(mine))
        if size > len(seen):
            seen = np.empty(size, np.uint64)
        seen[:size] = 0
        for s in range(len(mine)):
            insert(seen, size - 1, mine[s])
        best, chosen = 0.0, np.int64(-1)
        for e in range(first, end):
            rival = np.int64(better_E[e])
            if keepers_N[rival] >= 0:
                rival = np.int64(keepers_N[rival])
            other = slots_N[rival]
            theirs = shingles[starts[other] : starts[other + 1]]
            found = similarity(seen, size - 1, mine, theirs, min(bounds[slot], bounds[other]))
            if found > best or (found == best and rival < chosen):
                best, chosen = found, rival
        if best >= threshold:
            keepers_N[node], similarities_N[node] = chosen, best


@compiled
def parts(
    data: Any, offsets_D: Any, folding: Any, paragraphs: bool, documents: Any, starts: Any, ends: Any, keys: Any,
    sizes: Any,
) -> int:  # fmt: skip
    """Cuts documents into lines, or into paragraphs, which an empty line ends; gives the number of those with words.

    Fills in of each part its document, where it begins, where the next one begins, the hash of its words, and how many.
    """
    hashes = np.empty(room(offsets_D), np.uint64)
    total = 0
    for d in range(len(offsets_D) - 1):
        start, end = offsets_D[d], offsets_D[d + 1]
        at = start
        while at < end:
            while at < end and data[at] != 10:
                at += 1
            at += 1
            if paragraphs:
                blank = at
                while blank < end and (data[blank] == 32 or data[blank] == 9 or data[blank] == 13):
                    blank += 1
                if blank < end and data[blank] != 10:
                    continue
                while blank < end and (data[blank] <= 32):
                    blank += 1
                at = blank
            at = min(at, end)
            count = words(data, start, at, folding, hashes)
            if count:
                key = np.uint64(count)
                for i in range(count):
                    key = mix(key ^ hashes[i]) * _ROLL
                documents[total], starts[total], ends[total], keys[total], sizes[total] = d, start, at, key, count
                total += 1
            start = at
    return total
