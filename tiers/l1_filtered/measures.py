"""What the quality rules measure of a text, taken from it once.

A text's words become one table of fixed-width records: a 64-bit hash of the word, its length and what kind of word
it is. Records of a chunk (what stands between white space) are remembered, so most text is looked up and not split;
they depend on the chunk alone, and the memory is emptied when full, so what it holds never changes a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from struct import Struct

import numpy as np
import numpy.typing as npt
import xxhash

from tiers.l1_filtered.words import SENTENCE_ENDS, SYMBOLS, chunk_words, is_punctuation

RECORD = np.dtype([("word", "<u8"), ("length", "<u4"), ("kind", "<u4")])
"""One word: its hash, its length in characters, and the kinds below."""

SYMBOLIC = 1
"""Every character is a symbol, so that the word doesn't count towards a document's length."""
ALPHABETIC = 2
"""At least one character is a letter."""
ENDS_SENTENCE = 4
"""It is a mark that ends a sentence."""
PUNCTUATION = 8
"""Every character is punctuation."""
LINE_BREAK = 16
"""Not a word: stands between lines that are counted apart."""

_LONGEST_REMEMBERED = 64
_PACK = Struct("<QII").pack


def word_hash(word: str) -> int:
    """64-bit hash of a word, the same on every machine and in every version."""
    return xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))


def _kind(word: str) -> int:
    return (
        (SYMBOLIC if SYMBOLS.issuperset(word) else 0)
        | (ALPHABETIC if any(map(str.isalpha, word)) else 0)
        | (ENDS_SENTENCE if word in SENTENCE_ENDS else 0)
        | (PUNCTUATION if is_punctuation(word) else 0)
    )


def _record(word: str) -> bytes:
    return _PACK(word_hash(word), len(word), _kind(word))


_remembered_record = lru_cache(maxsize=1 << 15)(_record)


LINE_BREAK_RECORD = _PACK(0, 0, LINE_BREAK)


class WordMemory(dict[str, bytes]):
    """The records of chunks that have been seen lately, at most `2 * limit` of them (about 250 bytes each).

    When it is full, what it holds becomes the older half, and that of before is forgotten; what is asked for again
    comes back from there.
    """

    def __init__(self, limit: int = 1 << 17) -> None:
        super().__init__()
        self.limit = limit
        self._older: dict[str, bytes] = {}

    def __missing__(self, chunk: str) -> bytes:
        if len(chunk) > _LONGEST_REMEMBERED:
            return b"".join(map(_record, chunk_words(chunk)))
        records = self._older.get(chunk)
        if records is None:
            records = b"".join(map(_remembered_record, chunk_words(chunk)))
        if len(self) >= self.limit:
            self._older = dict(self)
            self.clear()
        self[chunk] = records
        return records

    def table(self, chunks: Sequence[str]) -> npt.NDArray[np.void]:
        """The records [words] of `chunks`, in order."""
        return np.frombuffer(b"".join(map(self.__getitem__, chunks)), RECORD)


@dataclass(frozen=True)
class Measures:
    """A text and what has been measured of it; each measure is taken when it is first asked for."""

    text: str
    memory: WordMemory

    @cached_property
    def records(self) -> npt.NDArray[np.void]:
        """One record for each word [words]."""
        return self.memory.table(self.text.split())

    @property
    def words(self) -> int:
        """How many words there are, punctuation included."""
        return len(self.records)

    @cached_property
    def kinds(self) -> npt.NDArray[np.uint32]:
        """The kinds of the words [words]."""
        return np.ascontiguousarray(self.records["kind"])

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The lengths of the words, in characters [words]."""
        return self.records["length"].astype(np.int64)

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """The hashes of the words [words]."""
        return np.ascontiguousarray(self.records["word"])

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """How many characters the words before each word have in all [words + 1]."""
        return np.concatenate(([0], np.cumsum(self.lengths)))


def repeated(elements: Sequence[str]) -> tuple[int, int]:
    """How many of `elements` occurred before, and how many characters those have."""
    if len(set(elements)) == len(elements):
        return 0, 0
    seen: set[str] = set()
    count = characters = 0
    for element in elements:
        if element in seen:
            count += 1
            characters += len(element)
        else:
            seen.add(element)
    return count, characters


_MIX = np.uint64(0x9E3779B97F4A7C15)


class Ngrams:
    """Hashes of all runs of n words, for one n after another.

    Args:
        measures: The text's words.
    """

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        self._n = 1
        self._hashes = measures.hashes

    def hashes(self, n: int) -> npt.NDArray[np.uint64]:
        """One hash for each run of `n` words [words - n + 1]; ask for ascending `n`."""
        while self._n < n:
            words = self._measures.hashes[self._n :]
            self._hashes = (self._hashes[: len(words)] * _MIX) ^ words
            self._hashes ^= self._hashes >> np.uint64(29)
            self._n += 1
        return self._hashes

    def lengths(self, n: int) -> npt.NDArray[np.int64]:
        """Characters in each run of `n` words, without the spaces between them [words - n + 1]."""
        offsets = self._measures.offsets
        return offsets[n:] - offsets[:-n]

    def longest(self, n: int) -> int:
        """Characters in the longest run of `n` words, with one space between words; 0 if there is none."""
        lengths = self.lengths(n)
        return int(lengths.max()) + n - 1 if len(lengths) else 0


def _grouped(hashes: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Positions ordered by hash and then by position, and whether each is the first of its hash.

    Position and hash are sorted as one number, the position in as many low bits as it needs; the upper bits of the
    hash tell runs apart well enough (44 bits in a text of a million words).
    """
    low = np.uint64((1 << len(hashes).bit_length()) - 1)
    keys = np.sort((hashes & ~low) | np.arange(len(hashes), dtype=np.uint64))
    first = np.ones(len(keys), np.bool_)
    first[1:] = (keys[1:] ^ keys[:-1]) > low
    return (keys & low).astype(np.int64), first


def top_run(ngrams: Ngrams, n: int) -> tuple[int, int]:
    """How often the most frequent run of `n` words occurs; of equally frequent ones, how long the first is.

    The length is in characters, with one space between words. A text with fewer words has no run: (0, 0).
    """
    hashes = ngrams.hashes(n)
    if not len(hashes):
        return 0, 0
    positions, first = _grouped(hashes)
    starts = np.flatnonzero(first)
    counts = np.diff(starts, append=len(positions))
    most = int(counts.max())
    position = positions[starts[counts == most]].min()
    return most, int(ngrams.lengths(n)[position]) + n - 1


def repeats(hashes: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions, ascending, whose hash occurs more than once, and those of them where it occurred before."""
    positions, first = _grouped(hashes)
    if first.all():
        return positions[:0], positions[:0]
    recurs = ~first
    recurs[:-1] |= ~first[1:]
    return np.sort(positions[recurs]), np.sort(positions[~first])


def covered(positions: npt.NDArray[np.int64], n: int, offsets: npt.NDArray[np.int64]) -> int:
    """Characters that lie in at least one run of `n` words beginning at `positions`."""
    ends = np.minimum(positions + n, len(offsets) - 1)
    begins = np.maximum(positions, np.concatenate(([0], ends[:-1])))
    return int((offsets[ends] - offsets[begins]).sum())


def duplicated(
    hashes: npt.NDArray[np.uint64],
    n: int,
    positions: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
) -> int:
    """Characters in runs of `n` words that occurred before, read from the left without overlap.

    A run that occurred before is counted and skipped; any other is remembered, and reading goes on one word later.

    Args:
        hashes: One for each run.
        n: Words in a run.
        positions: Where runs begin that occur more than once, ascending; the others can't matter.
        lengths: Characters in each run.
    """
    seen: set[int] = set()
    at = total = 0
    for position, run in zip(positions.tolist(), hashes[positions].tolist(), strict=True):
        if position < at:
            continue
        if run in seen:
            total += int(lengths[position])
            at = position + n
        else:
            seen.add(run)
    return total
