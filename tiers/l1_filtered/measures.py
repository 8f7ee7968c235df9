"""What the quality rules measure of a text, taken from it once.

A text's words become one table of fixed-width records: a 64-bit hash of the word, its length and what kind of word
it is. Records of a chunk (what stands between white space) are remembered, so most text is looked up and not split;
they depend on the chunk alone, and the memory is emptied when full, so what it holds never changes a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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


def _records(chunk: str) -> bytes:
    words = chunk_words(chunk)
    return np.array([(word_hash(word), len(word), _kind(word)) for word in words], RECORD).tobytes()


LINE_BREAK_RECORD = np.array([(0, 0, LINE_BREAK)], RECORD).tobytes()


class WordMemory(dict[str, bytes]):
    """The records of chunks that have been seen, at most `limit` of them (about 250 bytes each)."""

    def __init__(self, limit: int = 1 << 17) -> None:
        super().__init__()
        self.limit = limit

    def __missing__(self, chunk: str) -> bytes:
        records = _records(chunk)
        if len(chunk) <= _LONGEST_REMEMBERED:
            if len(self) >= self.limit:
                self.clear()
            self[chunk] = records
        return records

    def table(self, chunks: Sequence[str]) -> npt.NDArray[np.void]:
        """The records [words] of `chunks`, in order."""
        return np.frombuffer(b"".join([self[chunk] for chunk in chunks]), RECORD)


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


def top_run(ngrams: Ngrams, n: int, at_least: int) -> int:
    """Characters in the most frequent run of `n` words times its count; of equally frequent ones the first counts.

    The words of a run are counted with one space between them.

    Args:
        ngrams: The text's runs.
        n: Words in a run.
        at_least: Stop early, with 0, when the result can't be more than this.
    """
    hashes = ngrams.hashes(n)
    if not len(hashes):
        return 0
    ordered = np.sort(hashes)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(starts, append=len(ordered))
    most = int(counts.max())
    lengths = ngrams.lengths(n)
    if most * (int(lengths.max()) + n - 1) <= at_least:
        return 0
    candidates = ordered[starts[counts == most]]
    first = int(np.argmax(np.isin(hashes, candidates)))
    return most * (int(lengths[first]) + n - 1)


def repeats(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Positions, ascending, whose hash occurred at an earlier position."""
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return np.empty(0, np.int64)
    order = np.argsort(hashes, kind="stable")
    same = hashes[order[1:]] == hashes[order[:-1]]
    return np.sort(order[1:][same])


def covered(positions: npt.NDArray[np.int64], n: int, offsets: npt.NDArray[np.int64]) -> int:
    """Characters that lie in at least one run of `n` words beginning at `positions`."""
    ends = np.minimum(positions + n, len(offsets) - 1)
    begins = np.maximum(positions, np.concatenate(([0], ends[:-1])))
    return int((offsets[ends] - offsets[begins]).sum())


def duplicated(hashes: npt.NDArray[np.uint64], n: int, lengths: npt.NDArray[np.int64]) -> int:
    """Characters in runs of `n` words that occurred before, read from the left without overlap.

    A run that occurred before is counted and skipped; any other is remembered, and reading goes on one word later.
    """
    seen: set[int] = set()
    at = total = 0
    runs = hashes.tolist()
    while at < len(runs):
        if runs[at] in seen:
            total += int(lengths[at])
            at += n
        else:
            seen.add(runs[at])
            at += 1
    return total
